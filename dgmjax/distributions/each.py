"""log p_k(z) of every component of a mixture, with gradients that processors compute fast."""

import math

import distrax
import jax
import jax.numpy as jnp

from dgmjax.types import Array

LOG_2_PI = math.log(2.0 * math.pi)
LARGEST = 2**24
"""Differences z - mu_k that are kept at most (64 MB); above it they are computed again."""


def log_prob_of_each(components: distrax.Distribution, value: Array) -> Array:
    """log p_k(z), `[..., K]`, of K components over the same events, in nats.

    Diagonal normals that do not depend on the batch (a mixture prior's) have a derivative of their
    own: in the plain one XLA on CPU sums over the batch and over the components at 15 ns a number.

    Args:
      components: of batch shape `[..., K]`.
      value: z, `[..., *event_shape]`.
    """
    ndims = len(components.event_shape)
    shape = (*components.batch_shape, *components.event_shape)
    if isinstance(components, distrax.Independent) and ndims == 1 and len(shape) == 2:
        normal = components.distribution
        if isinstance(normal, distrax.Normal) and value.size * shape[0] <= LARGEST:
            loc, scale = (jnp.broadcast_to(a, shape) for a in (normal.loc, normal.scale))
            each = _normals(value.reshape(-1, value.shape[-1]), loc, scale)
            return each.reshape(*value.shape[:-1], shape[0])
    return components.log_prob(jnp.expand_dims(value, -1 - ndims))


@jax.custom_jvp
def _normals(value: Array, loc: Array, scale: Array) -> Array:
    """log N(z_n; mu_k, sigma_k^2) `[N, K]` of `[N, D]` and `[K, D]`."""
    scaled = (value[:, None] - loc) / scale
    constant = jnp.log(scale).sum(-1) + 0.5 * LOG_2_PI * loc.shape[-1]
    return -0.5 * jnp.square(scaled).sum(-1) - constant


@_normals.defjvp
def _normals_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """Products of matrices for each n or k, whose transposes are such products as well."""
    value, loc, scale = primals
    of_value, of_loc, of_scale = tangents
    scaled = (value[:, None] - loc) / scale
    slope = scaled / scale
    by_component = lambda a, b: jnp.einsum("nkd,kd->nk", a, b, precision="highest")
    change = by_component(slope, of_loc) + by_component(scaled * slope, of_scale)
    change -= jnp.einsum("nkd,nd->nk", slope, of_value, precision="highest")
    return _normals(*primals), change - (of_scale / scale).sum(-1)
