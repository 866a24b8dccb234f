"""Markov kernels, each a pair `(init, step)` over arrays and callables, with state and info apart.

`kernel.init(position)` makes a state, `kernel.step(key, state)` returns the next one and an `Info`.
Positions are pytrees with leaves `[*chains, *event]`; a log-density maps them to `[*chains]`. Flax
is not needed. Kernels compose with `jit`, `vmap` and `scan`; `run` is the scan.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import is_concrete
from dgmjax.errors import require, require_sizes
from dgmjax.inference.hamiltonian import Info, Point, Term, evaluated, hamiltonian_step
from dgmjax.types import Array, Key, PyTree


class Kernel(NamedTuple):
    """A Markov kernel: `init(position) -> state`, `step(key, state) -> (state, info)`."""

    init: Callable[[PyTree], Any]
    step: Callable[..., tuple[Any, Any]]


def hmc(
    log_density: Term,
    step_size: Array | float,
    num_steps: int = 10,
    inverse_mass: PyTree | float = 1.0,
    *,
    jitter: float = 0.0,
) -> Kernel:
    """Hamiltonian Monte Carlo with a diagonal mass matrix.

    Momenta p ~ N(0, M), `num_steps` leapfrog steps, acceptance with min(1, exp(H - H')). The target
    is invariant for any step size; `adaptation.warm_up` finds a good one.

    Args:
      log_density: positions to log-densities `[*chains]`, up to a constant.
      step_size: positive; a number, or one for each chain.
      num_steps: leapfrog steps of a trajectory.
      inverse_mass: diagonal of M^-1, ideally the variances of the target: a number, or a pytree
        like a position without its chains.
      jitter: share in [0, 1) of the step size that is left to chance: each chain and trajectory has
        a size drawn uniformly from [1 - jitter, 1] times `step_size`. Trajectories of one length
        may all end near where they began (half a period or a whole one of some coordinate): few
        latents then hardly mix, though nearly every proposal is accepted.

    Source: Neal, "MCMC using Hamiltonian dynamics", 2011, sections 3 and 3.2 (jitter),
    https://arxiv.org/abs/1206.1901.

    >>> kernel = hmc(lambda z: -0.5 * (z**2).sum(-1), step_size=0.5)
    >>> state, info = kernel.step(jax.random.key(0), kernel.init(jnp.zeros((4, 2))))
    >>> state.position.shape, info.accepted.shape
    ((4, 2), (4,))
    """
    require(0.0 <= jitter < 1.0, "jitter", "must be in [0, 1)", jitter)
    return _kernel(log_density, step_size, num_steps, inverse_mass, jitter, adjusted=True)


def mala(log_density: Term, step_size: Array | float, inverse_mass: PyTree | float = 1.0) -> Kernel:
    """Metropolis-adjusted Langevin: z' = z + e^2/2 M^-1 grad + e M^-1/2 n, then a Metropolis test.

    It is HMC with one leapfrog step, for whose energy the test is that of the two proposals.

    Source: Roberts & Tweedie, "Exponential convergence of Langevin distributions and their discrete
    approximations", 1996, section 1.4.1, https://doi.org/10.2307/3318418.
    """
    return _kernel(log_density, step_size, 1, inverse_mass, 0.0, adjusted=True)


def ula(log_density: Term, step_size: Array | float, inverse_mass: PyTree | float = 1.0) -> Kernel:
    """Unadjusted Langevin: `mala` without the test, biased by the order of `step_size`^2.

    A proposal that is not finite is left out and counted in `Info.divergent`.
    """
    return _kernel(log_density, step_size, 1, inverse_mass, 0.0, adjusted=False)


def _kernel(log_density, step_size, num_steps, inverse_mass, jitter, *, adjusted) -> Kernel:
    require_sizes(num_steps=num_steps)
    for name, given in (("step_size", step_size), ("inverse_mass", inverse_mass)):
        for leaf in jax.tree.leaves(given):
            if is_concrete(leaf):
                # NumPy's comparison: JAX's would be traced where a scan adapts the kernel.
                require(bool((np.asarray(leaf) > 0).all()), name, "must be positive", leaf)

    def init(position: PyTree) -> Point:
        check_real(position)
        return evaluated([log_density], position)

    def step(key: Key, state: Point) -> tuple[Point, Info]:
        size = step_size
        if jitter:
            key, size_key = jax.random.split(key)
            chains, kind = state.values[0].shape, jax.tree.leaves(state.position)[0].dtype
            size *= jax.random.uniform(size_key, chains, kind, 1.0 - jitter, 1.0)
        return hamiltonian_step(
            [log_density], [1.0], key, state, size, num_steps, inverse_mass, adjusted=adjusted
        )

    return Kernel(init, step)


def run(
    kernel: Kernel,
    key: Key,
    state: Any,
    num_steps: int,
    collect: Callable[[Any], Any] = lambda state: state.position,
) -> tuple[Any, Any, Any]:
    """`num_steps` steps as one scan: the last state, the collected values, and the infos."""
    require_sizes(num_steps=num_steps)

    def body(state, key):
        state, info = kernel.step(key, state)
        return state, (collect(state), info)

    state, (collected, infos) = jax.lax.scan(body, state, jax.random.split(key, num_steps))
    return state, collected, infos


def check_real(position: PyTree) -> None:
    """Raises `DgmjaxError` unless every leaf is an array of real numbers, which gradients need."""
    for leaf in jax.tree.leaves(position):
        dtype = jnp.result_type(leaf)
        require(
            jnp.issubdtype(dtype, jnp.floating),
            "position",
            "must hold real numbers: kernels that use gradients cannot move discrete latents",
            dtype,
            "Sum over discrete latents, or use objectives and samplers made for them.",
        )
