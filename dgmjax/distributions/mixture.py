"""Mixtures of whole events, with responsibilities."""

import math

import distrax
import jax
import jax.numpy as jnp

from dgmjax.distributions.base import Distribution, draw_batch
from dgmjax.errors import require
from dgmjax.types import Array, Key

LOG_2_PI = math.log(2.0 * math.pi)
LARGEST = 2**24
"""Most differences z - mu_k that are kept (64 MB); beyond it they are recomputed."""


class Mixture(Distribution):
    """p(z) = sum_k softmax(logits)_k p_k(z) over events of any shape.

    Args:
      logits: `[..., K]`, unnormalised log weights.
      components: distribution of batch shape `[..., K]`.

    >>> import distrax
    >>> normals = distrax.Independent(distrax.Normal(jnp.zeros((3, 2)), jnp.ones((3, 2))), 1)
    >>> mixture = Mixture(jnp.zeros(3), normals)
    >>> mixture.sample(seed=0, sample_shape=(5,)).shape, mixture.batch_shape
    ((5, 2), ())
    """

    def __init__(self, logits: Array, components):
        super().__init__()
        require(
            components.batch_shape[-1:] == jnp.shape(logits)[-1:] and jnp.ndim(logits) >= 1,
            "logits",
            f"must have one entry for each component, {components.batch_shape[-1:]}",
            f"shape {jnp.shape(logits)}",
        )
        self.logits, self.components = logits, components

    @property
    def num_components(self) -> int:
        """K."""
        return self.logits.shape[-1]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.components.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(self.components.batch_shape, self.logits.shape)[:-1]

    def joint_log_prob(self, value: Array) -> Array:
        """log p(z, k) for every k, `[..., K]`, in nats."""
        each = log_prob_of_each(self.components, jnp.asarray(value))
        return jax.nn.log_softmax(self.logits, -1) + each

    def log_prob(self, value: Array) -> Array:
        return jax.nn.logsumexp(self.joint_log_prob(value), axis=-1)

    def responsibilities(self, value: Array) -> Array:
        """p(k | z), `[..., K]`: the clusters of a mixture prior."""
        return jax.nn.softmax(self.joint_log_prob(value), axis=-1)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        which_key, key = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        which = jax.random.categorical(which_key, self.logits, shape=shape)
        batch = (*self.batch_shape, self.num_components)
        each = draw_batch(self.components, key, sample_shape, batch)
        index = which.reshape(*shape, *[1] * (1 + len(self.event_shape)))
        return jnp.take_along_axis(each, index, axis=len(shape)).squeeze(len(shape))

    def mean(self) -> Array:
        weights = jax.nn.softmax(self.logits, -1)
        weights = weights.reshape(*weights.shape, *[1] * len(self.event_shape))
        return (weights * self.components.mean()).sum(-1 - len(self.event_shape))


def log_prob_of_each(components: distrax.Distribution, value: Array) -> Array:
    """log p_k(z), `[..., K]`, of K components over the same events, in nats.

    Diagonal normals that do not depend on the batch (a mixture prior's) have a derivative of their
    own: in the plain one XLA on CPU sums over the batch and over the components at 15 ns per
    number.

    Args:
      components: of batch shape `[..., K]`.
      value: z, `[..., *event_shape]`.
    """
    ndims = len(components.event_shape)
    shape = (*components.batch_shape, *components.event_shape)
    if isinstance(components, distrax.Independent) and ndims == 1 and len(shape) == 2:
        normal, kept = components.distribution, value.size * shape[0]
        # A size that is not known yet (`jax.export`) may be any.
        if isinstance(normal, distrax.Normal) and isinstance(kept, int) and kept <= LARGEST:
            loc, scale = (jnp.broadcast_to(a, shape) for a in (normal.loc, normal.scale))
            value = value.astype(jnp.promote_types(value.dtype, loc.dtype))
            each = _normals(value.reshape(math.prod(value.shape[:-1]), value.shape[-1]), loc, scale)
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
    # With s = (z - mu) / sigma, log N has the derivatives -s / sigma by z, s / sigma by mu, and
    # (s^2 - 1) / sigma by sigma.
    slope = scaled / scale
    by_component = lambda a, b: jnp.einsum("nkd,kd->nk", a, b, precision="highest")
    change = by_component(slope, of_loc) + by_component(scaled * slope, of_scale)
    change -= jnp.einsum("nkd,nd->nk", slope, of_value, precision="highest")
    return _normals(*primals), change - (of_scale / scale).sum(-1)
