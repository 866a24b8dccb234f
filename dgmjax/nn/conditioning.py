"""Contexts of causal networks: one vector, or one for every site."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, PyTree


class AddContext(nn.Module):
    """h_t + V c and, where `local_features` is F > 0, h_t + V c + U l_t.

    The context is one vector `[*batch, C + T F]`: C numbers c for the whole event, then the
    vectors l_0 .. l_{T-1} of the sites in raster order (`join_context`). With neither, h_t. With a
    `hop` above 1, `hop` sites in a row share a vector, and there are ceil(T / hop) of them.

    Attributes:
      features: of h.
      context_features: C, 0 for none.
      local_features: F, 0 for none.
      site_ndims: number of axes of the sites as the layers see them: 1 for sequences.
      hop: sites that share a local vector (the samples of a frame of sound).
    """

    features: int
    context_features: int = 0
    local_features: int = 0
    site_ndims: int = 1
    hop: int = 1

    def setup(self):
        if self.context_features:
            self.shared = Dense(self.features, use_bias=False)
        if self.local_features:
            self.local = Dense(self.features, use_bias=False)

    def _terms(self, context: Array | None) -> Array | None:
        """The term to add, `[*batch, 1 or ceil(T / hop), features]`, or None."""
        conditioned = self.context_features + self.local_features > 0
        require(context is not None or not conditioned, "context", "must be given", "none")
        if context is None or not conditioned:
            return None
        terms = None
        if self.context_features:
            terms = self.shared(context[..., : self.context_features])[..., None, :]
        if self.local_features:
            local = context[..., self.context_features :]
            size = self.local_features
            local = local.reshape(*local.shape[:-1], local.shape[-1] // size, size)
            local = self.local(local)
            terms = local if terms is None else terms + local
        return terms

    def __call__(self, h: Array, context: Array | None = None) -> Array:
        terms = self._terms(context)
        if terms is None:
            return h
        batch, sites = h.shape[: -1 - self.site_ndims], h.shape[-1 - self.site_ndims : -1]
        flat = h.reshape(*batch, math.prod(sites), h.shape[-1])
        # A single vector broadcasts over all sites; frames are repeated, and the last is cut to
        # length.
        if self.hop > 1 and terms.shape[-2] > 1:
            terms = jnp.repeat(terms, self.hop, axis=-2)[..., : flat.shape[-2], :]
        flat = flat + terms
        return flat.reshape(*flat.shape[:-2], *sites, self.features)

    def init_carry(self, batch_shape: tuple[int, ...], context: Array | None = None) -> PyTree:
        return self._terms(context)

    def step(self, carry: PyTree, h: Array, index: Array) -> tuple[PyTree, Array]:
        if carry is None:
            return carry, h
        # A context of one vector is the same at every site; one of frames is read at its own.
        site = jnp.minimum(index // self.hop, carry.shape[-2] - 1)
        return carry, h + jax.lax.dynamic_index_in_dim(carry, site, -2, keepdims=False)


def class_context(label: Array, num_classes: int) -> Array:
    """One-hot classes `[..., C]` of whole numbers 0 .. C - 1.

    Raises:
      DgmjaxError: another number, where it is known (not under `jit`).
    """
    if not isinstance(label, jax.core.Tracer):
        given = np.asarray(label)
        wrong = given[~((given >= 0) & (given < num_classes) & (given == given // 1))]
        rule = f"must be whole numbers in 0 .. {num_classes - 1}"
        require(wrong.size == 0, "label", rule, wrong.ravel()[:3].tolist())
    return jax.nn.one_hot(label, num_classes)


def join_context(shared: Array | None, local: Array) -> Array:
    """The context `[*batch, C + T F]` of `shared[*batch, C]` and `local[*batch, T, F]`."""
    flat = local.reshape(*local.shape[:-2], math.prod(local.shape[-2:]))
    if shared is None:
        return flat
    batch = jnp.broadcast_shapes(shared.shape[:-1], flat.shape[:-1])
    parts = [jnp.broadcast_to(part, (*batch, part.shape[-1])) for part in (shared, flat)]
    return jnp.concatenate(parts, -1)
