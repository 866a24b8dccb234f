"""Hamiltonian dynamics over sums of terms: the step that HMC, Langevin, AIS and SMC share.

A log-density is a sum of terms with coefficients, sum_i c_i f_i(z). Annealing changes coefficients
only, so values and gradients of the terms at a point outlive a change of temperature.

Chains are batch axes: positions are pytrees with leaves `[*chains, *event]`, a term maps positions
to values `[*chains]`, and each chain is accepted on its own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import fori_loop
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree

Term = Callable[[PyTree], Array]

DIVERGENT = 1000.0
"""Nats of energy that a trajectory may gain; Stan and blackjax draw the line there, too."""


class Point(NamedTuple):
    """Chains at rest: positions, and value and gradient of every term there."""

    position: PyTree
    values: tuple[Array, ...]
    gradients: tuple[PyTree, ...]

    def log_density(self, coefficients: Sequence[Array | float]) -> Array:
        """sum_i c_i f_i, `[*chains]`."""
        return sum((c * v for c, v in zip(coefficients, self.values)), jnp.zeros(()))

    def gradient(self, coefficients: Sequence[Array | float]) -> PyTree:
        """sum_i c_i grad f_i, of the position's dtype.

        Coefficients may be wider, where values are or `jax_enable_x64` is set; were the gradients
        to follow them, so would the position, and a loop of steps must carry one type.
        """

        def total(*leaves: Array) -> Array:
            terms = (jnp.asarray(c, leaf.dtype) * leaf for c, leaf in zip(coefficients, leaves))
            return sum(terms, jnp.zeros((), leaves[0].dtype))

        return jax.tree.map(total, *self.gradients)


class Info(NamedTuple):
    """Statistics of a step, `[*chains]`.

    Attributes:
      acceptance: probability min(1, exp(H - H')) that the proposal was accepted; 0 if it diverged.
      accepted: whether it was.
      divergent: the energy of the trajectory grew by more than `DIVERGENT` nats or was not finite.
    """

    acceptance: Array
    accepted: Array
    divergent: Array


def evaluated(terms: Sequence[Term], position: PyTree) -> Point:
    """The point at `position`. Chains do not see each other, so one pull-back serves them all."""
    values, gradients = [], []
    for term in terms:
        value, pull_back = jax.vjp(term, position)
        values.append(value)
        gradients.append(pull_back(jnp.ones_like(value))[0])
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(position)]
    chains = values[0].shape
    rule = "must return a number for each chain, in the leading axes of the position"
    found = f"shapes {[value.shape for value in values]} at {shapes}"
    each = all(value.shape == chains for value in values)
    each = each and all(shape[: len(chains)] == chains for shape in shapes)
    # Of another shape, coordinates would be accepted one by one.
    require(each, "log_density", rule, found, "Sum over the axes of an event alone.")
    return Point(position, tuple(values), tuple(gradients))


def leapfrog(
    terms: Sequence[Term],
    coefficients: Sequence[Array | float],
    point: Point,
    momentum: PyTree,
    step_size: Array | float,
    num_steps: int,
    inverse_mass: PyTree | float = 1.0,
) -> tuple[Point, PyTree]:
    """`num_steps` leapfrog steps of H(z, p) = -sum_i c_i f_i(z) + p^T M^-1 p / 2.

    Volume is preserved and the flow is reversible: negate the momentum and it comes back.

    Args:
      step_size: a number, or one for each chain.
      inverse_mass: diagonal of M^-1: a number, or a pytree like the position without chains.
    """
    chains = point.values[0].ndim

    def kicked(point, momentum, scale):
        return jax.tree.map(
            lambda p, g: p + _wide(scale * step_size, chains, p) * g,
            momentum,
            point.gradient(coefficients),
        )

    def drifted(point, momentum):
        mass = _diagonal(momentum, inverse_mass)
        move = lambda z, p, m: z + _wide(step_size, chains, p) * m * p
        return jax.tree.map(move, point.position, momentum, mass)

    def body(_, carry):
        point, momentum = carry
        point = evaluated(terms, drifted(point, momentum))
        return point, kicked(point, momentum, 1.0)

    # Half kicks at both ends: the loop makes whole ones, of which the last is half too much.
    momentum = kicked(point, momentum, 0.5)
    point, momentum = fori_loop(0, num_steps, body, (point, momentum))
    return point, kicked(point, momentum, -0.5)


def hamiltonian_step(
    terms: Sequence[Term],
    coefficients: Sequence[Array | float],
    key: Key,
    point: Point,
    step_size: Array | float,
    num_steps: int,
    inverse_mass: PyTree | float = 1.0,
    *,
    adjusted: bool = True,
) -> tuple[Point, Info]:
    """A fresh momentum, a trajectory, and a Metropolis test, for each chain.

    A proposal of which anything is not finite is refused, so that a chain never leaves its support.
    With `adjusted=False` every finite proposal is taken, `divergent` or not: without a test, the
    energy that a stable step gains grows with the dimensions.
    """
    momentum_key, accept_key = jax.random.split(key)
    chains = point.values[0].ndim
    mass = _diagonal(point.position, inverse_mass)
    leaves, structure = jax.tree.flatten(point.position)
    keys = jax.random.split(momentum_key, len(leaves))
    noise = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]
    momentum = jax.tree.map(
        # p ~ N(0, M), and `mass` is the diagonal of M^-1.
        lambda n, m: n / jnp.sqrt(m),
        jax.tree.unflatten(structure, noise),
        mass,
    )

    def energy(point, momentum):
        squares = jax.tree.map(
            lambda p, m: (m * p**2).sum(tuple(range(chains, p.ndim))), momentum, mass
        )
        return sum(jax.tree.leaves(squares)) / 2 - point.log_density(coefficients)

    proposal, new_momentum = leapfrog(
        terms, coefficients, point, momentum, step_size, num_steps, inverse_mass
    )
    proposed = energy(proposal, new_momentum)
    # The gradient at the proposal is a part of its momentum.
    finite = jnp.isfinite(proposed)
    gained = proposed - energy(point, momentum)
    divergent = ~(finite & (gained < DIVERGENT))
    acceptance = jnp.where(divergent, 0.0, jnp.exp(jnp.minimum(-gained, 0.0)))
    draw = jax.random.uniform(accept_key, acceptance.shape, acceptance.dtype)
    # Uniform draws are below 1 and may be 0, so that an acceptance of 1 always accepts and one of 0
    # never does. The energy is even in p and every step draws p anew, so the sign that
    # reversibility asks for never shows.
    accepted = draw < acceptance if adjusted else finite
    choose = lambda new, old: jnp.where(_wide(accepted, chains, new), new, old)
    return jax.tree.map(choose, proposal, point), Info(acceptance, accepted, divergent)


def _diagonal(position: PyTree, inverse_mass: PyTree | float) -> PyTree:
    """The inverse mass as a tree like the position, whose leaves broadcast against events."""
    same: bool = jax.tree.structure(inverse_mass) == jax.tree.structure(position)  # type: ignore
    if same:
        return inverse_mass
    return jax.tree.map(lambda leaf: jnp.asarray(inverse_mass, leaf.dtype), position)


def _wide(values: Array | float, chains: int, leaf: Array) -> Array:
    """Values `[*chains]` (or a number) that broadcast against `[*chains, *event]`."""
    values = jnp.asarray(values)
    values = values.astype(leaf.dtype) if values.dtype != bool else values
    return values.reshape(values.shape + (1,) * (leaf.ndim - chains)) if values.ndim else values
