"""Restoration by a generative model: CSGM, and Sparse-Gen, which adds a sparse deviation."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax

from dgmjax.applications.sensing.bases import Basis, synthesis
from dgmjax.applications.sensing.operators import Operator
from dgmjax.contracts import generates, is_latent_variable_model, pushes_forward
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key, PyTree


class Generator(NamedTuple):
    """x = decode(z) with z ~ prior: what restoration needs of a model.

    Attributes:
      prior: of z, an array.
      decode: `z[..., *latent]` -> `x[..., *event]`.
    """

    prior: distrax.Distribution
    decode: Callable[[Array], Array]


def generator_of(model: Any, to_data: Callable[[Array], Array] = lambda x: x) -> Generator:
    """The generator of a GAN, of a latent-variable model (E[x | z]) or of a flow.

    Args:
      model: with `prior()` and `generate(z)`; with `prior()`, `posterior(x)` and `likelihood(z)`;
        or a flow, with `bijector()`.
      to_data: from the model's values to those that are measured.
    """
    if generates(model):
        prior, decode = model.prior(), model.generate
    elif is_latent_variable_model(model):
        prior, decode = model.prior(), lambda z: model.likelihood(z).mean()
    else:
        rule = "must have `prior()` with `generate(z)` or `likelihood(z)`, or be a flow"
        remedy = "Restoration moves the latents of a decoder: a VAE, a GAN or a flow."
        require(pushes_forward(model), "model", rule, type(model).__name__, remedy)
        flow = model()
        prior, decode = flow.base, flow.bijector.forward
    one = isinstance(prior.event_shape, tuple)
    require(one, "model", "must have latents that are one array", f"{prior.event_shape}")
    return Generator(prior, lambda z: to_data(decode(z)))


class Deviation(NamedTuple):
    """A sparse difference B nu of an image from what the model can generate.

    Attributes:
      basis: B, see `synthesis`.
      weight: of |nu|_1.
    """

    basis: Basis = "wavelet"
    weight: Array | float = 0.01


class Restored(NamedTuple):
    """The best of the restarts.

    Attributes:
      x: decode(z) + B nu, `[..., *event]`.
      z: `[..., *latent]`.
      nu: coefficients of the deviation, `[..., *event]`; zeros where there is none.
      objectives: of every restart, `[restarts, ...]`; the lowest was taken.
    """

    x: Array
    z: Array
    nu: Array
    objectives: Array


def restore(
    generator: Generator,
    operator: Operator,
    y: Array,
    key: Key,
    *,
    deviation: Deviation | None = None,
    restarts: int = 4,
    num_steps: int = 500,
    learning_rate: float = 0.05,
    prior_weight: float = 0.1,
) -> Restored:
    """The x that explains the measurements y and that the model finds likely.

    Minimises |y - A (G(z) + B nu)|^2 - 2 prior_weight log p(z) + weight |nu|_1 over z and nu, for
    all examples and restarts in one compiled loop: z by Adam, whose rate falls to zero along a
    cosine, nu by accelerated proximal gradients. For a fixed z the steps of nu are those of the
    Lasso. Without a `deviation` nu is zero, which is CSGM; with one it is Sparse-Gen, whose nu
    joins after half of the steps: from the start it would explain what z can. With p(z) = N(0, I)
    the prior's term is prior_weight |z|^2 and a constant.

    Args:
      y: `[..., m]`.
      key: of the starts, z ~ p(z).
      deviation: None for CSGM.
      restarts: starts of z for each example.
      num_steps: steps of each.
      learning_rate: of Adam, at the start.
      prior_weight: scale^2 of the noise makes it the maximum of the posterior density.

    Sources: Bora, Jalal, Price & Dimakis, "Compressed Sensing using Generative Models", 2017,
    section 4 and 6, https://arxiv.org/abs/1703.03208; Dhar, Grover & Ermon, "Modeling Sparse
    Deviations for Compressed Sensing using Generative Models", 2018, Eq. 5,
    https://arxiv.org/abs/1807.01442; the steps of nu: Beck & Teboulle, "A Fast Iterative
    Shrinkage-Thresholding Algorithm for Linear Inverse Problems", 2009, section 4,
    https://doi.org/10.1137/080716542.

    >>> prior = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
    >>> generator = Generator(prior, lambda z: z @ jnp.ones((2, 6)))
    >>> operator = Operator("entries", (6,), jnp.array([0, 3, 4]))
    >>> restore(generator, operator, jnp.ones((5, 3)), jax.random.key(0), num_steps=2).x.shape
    (5, 6)
    """
    operator.check(y)
    require_sizes(restarts=restarts, num_steps=num_steps)
    require(0.0 < learning_rate < math.inf, "learning_rate", "must be positive", learning_rate)
    rule = "must be a finite number, at least 0"
    made = synthesis("pixel" if deviation is None else deviation.basis, operator.event_shape)
    weight = 0.0 if deviation is None else deviation.weight
    for name, value in {"prior_weight": prior_weight, "weight": weight}.items():
        known = not isinstance(value, jax.core.Tracer)
        require(not known or bool(0.0 <= value < math.inf), name, rule, value)
    batch = jnp.shape(y)[:-1]
    z = generator.prior.sample(seed=key, sample_shape=(restarts, *batch))
    nu = jnp.zeros((restarts, *batch, *operator.event_shape), z.dtype)

    def smooth(z: Array, nu: Array) -> Array:
        """Everything but the norm of nu, `[restarts, ...]`."""
        x = generator.decode(z)
        x = x if deviation is None else x + made(nu)
        misfit = ((y - operator(x)) ** 2).sum(-1)
        return misfit - 2.0 * prior_weight * generator.prior.log_prob(z)

    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
    # |y - A B nu|^2 has a gradient of Lipschitz constant 2 |A|^2, as B is orthonormal.
    step_size = 0.5 / largest_squared_singular_value(operator)

    def body(carry: PyTree, step: Array) -> tuple[PyTree, None]:
        z, moments, nu, ahead, inertia = carry
        by_z, by_nu = jax.grad(lambda *a: smooth(*a).sum(), argnums=(0, 1))(z, ahead)
        update, moments = optimiser.update(by_z, moments)
        z = optax.apply_updates(z, update)
        if deviation is not None:
            moved = soft_threshold(ahead - step_size * by_nu, step_size * weight)
            last, moved = nu, moved.astype(nu.dtype)
            nu = jnp.where(step >= num_steps // 2, moved, nu)
            grown = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * inertia**2))
            ahead = nu + (inertia - 1.0) / grown * (nu - last)
            inertia = jnp.where(step >= num_steps // 2, grown, inertia)
        return (z, moments, nu, ahead, inertia), None

    begin = (z, optimiser.init(z), nu, nu, jnp.ones((), z.dtype))
    (z, _, nu, _, _), _ = jax.lax.scan(body, begin, jnp.arange(num_steps))
    axes = tuple(range(1 + len(batch), nu.ndim))
    objectives = smooth(z, nu) + weight * jnp.abs(nu).sum(axes)
    # A restart that diverged must not win.
    best = jnp.argmin(jnp.where(jnp.isfinite(objectives), objectives, jnp.inf), axis=0)
    chosen = partial(_chosen, best)
    z, nu = chosen(z), chosen(nu)
    return Restored(generator.decode(z) + made(nu), z, nu, objectives)


def soft_threshold(x: Array, threshold: Array | float) -> Array:
    """sign(x) max(|x| - threshold, 0): the proximal map of threshold |x|_1.

    >>> soft_threshold(jnp.array([-2.0, 0.5, 3.0]), 1.0).tolist()
    [-1.0, 0.0, 2.0]
    """
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0.0)


def largest_squared_singular_value(operator: Operator, num_steps: int = 50) -> Array:
    """|A|^2 by power iteration, with a margin of 5% as it is approached from below."""

    def body(_: int, x: Array) -> Array:
        moved = operator.adjoint(operator(x))
        return moved / jnp.sqrt((moved**2).sum())

    x = jax.random.normal(jax.random.key(0), operator.event_shape)
    x = jax.lax.fori_loop(0, num_steps, body, x / jnp.sqrt((x**2).sum()))
    return 1.05 * (operator(x) ** 2).sum()


def _chosen(best: Array, every: Array) -> Array:
    """The restart `best[...]` of `every[restarts, ..., *event]`."""
    index = best.reshape(1, *best.shape, *[1] * (every.ndim - 1 - best.ndim))
    return jnp.take_along_axis(every, index, 0)[0]
