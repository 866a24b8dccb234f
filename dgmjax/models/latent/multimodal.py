"""VAEs of several modalities, any of which may be missing."""

from collections.abc import Mapping, Sequence
from typing import Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import Factorised, decoded_shape
from dgmjax.distributions.families import Bernoulli, Categorical, Family, Normal
from dgmjax.errors import DataError, as_sizes, require, require_sizes
from dgmjax.masks import kept
from dgmjax.models.base import StandardNormal
from dgmjax.models.latent.base import start_at_marginals
from dgmjax.models.latent.given_modalities import GivenModalities
from dgmjax.nn.embeddings import OneHot, network_input
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array, Batch, Key

Experts = Literal["product", "mixture"]


class Modality(nn.Module):
    """One modality: its encoder, decoder and family.

    Attributes:
      key: its name in a batch: "x", "label", ...
      encoder: value `[..., *event]` to parameters of a normal, `[..., latent, 2]`.
      decoder: z `[..., latent]` to `[..., *event, observation.num_params]`.
      observation: family of a site.
      event_shape: of the value; () for a label.
    """

    key: str
    encoder: nn.Module
    decoder: nn.Module
    observation: Family
    event_shape: tuple[int, ...]

    def expert(self, value: Array) -> distrax.Normal:
        """N(z; m, s^2), the estimate of z from this modality, batch shape `[..., latent]`."""
        read = network_input(value, self.observation) if self.event_shape else value
        return Normal()(as_float(self.encoder(read)))

    def likelihood(self, z: Array) -> Factorised:
        """p(value | z)."""
        return Factorised(self.observation, self.decoder(z), self.event_shape)

    def start_at_marginals(self, value: Array, z: Array) -> None:
        """The decoder's first parameters, see `start_at_marginals`."""
        event_ndims = len(self.event_shape)
        start_at_marginals(self.decoder, self.observation, value, event_ndims, z)


class MultimodalVAE(nn.Module):
    """p(z) prod_m p(x_m | z), with a posterior made of one expert for each modality present.

    "product" (MVAE): q(z | x) proportional to p(z) prod_m q(z | x_m), a normal whose precision is
    1 + sum_m s_m^-2. "mixture" (MMVAE): q(z | x) = mean_m q(z | x_m), of which the objectives draw
    from every component. A modality that is absent is left out; where all are, q is the prior.

    Objectives call `given(batch)`: a batch holds the modalities by name, one of them "x", and may
    hold `present` `[B, M]`, 1 where a modality is there. A batch without an entry for a modality
    misses it in every row. What is absent is neither read nor scored, so that `objectives.elbo`
    is a bound on log p of what is present.

    Attributes:
      latent: length of z; the prior is N(0, I).
      modalities: at least one, of different keys.
      experts: "product" or "mixture".
      marginal_start: as in `VAE`, for the modalities of the batch that parameters are made with.

    Sources: Wu & Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning",
    2018, section 2, https://arxiv.org/abs/1802.05335; Shi, Siddharth, Paige & Torr, "Variational
    Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models", 2019, section 3 (with
    normals for Laplace densities), https://arxiv.org/abs/1911.03393.
    """

    latent: int
    modalities: tuple[Modality, ...]
    experts: Experts = "product"
    marginal_start: bool = True

    def setup(self):
        require_sizes(latent=self.latent)
        kinds = ("product", "mixture")
        require(self.experts in kinds, "experts", f"must be one of {kinds}", self.experts)
        keys = [modality.key for modality in self.modalities]
        distinct = len(keys) >= 1 and len(set(keys)) == len(keys)
        require(distinct, "modalities", "must have different keys, at least one", keys)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(modality.key for modality in self.modalities)

    def modality(self, key: str) -> Modality:
        """The modality of that name."""
        rule = f"must be one of {self.keys}"
        require(key in self.keys, "key", rule, repr(key), error=DataError)
        return self.modalities[self.keys.index(key)]

    def data_rules(self, batch: Batch) -> Mapping[str, Family | range | str]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        del batch
        return {**{one.key: one.observation for one in self.modalities}, "present": "present"}

    def given(self, batch: Batch) -> GivenModalities:
        """The model of what this batch holds.

        Raises:
          DataError: no modality at all, or arrays of other shapes.
        """
        values = {key: batch[key] for key in self.keys if key in batch}
        if "present" not in batch:
            return self.seen(values)
        present, wanted = batch["present"], (*self._batch_shape(values), len(self.keys))
        rule = f"must have shape {wanted}, a column for each of {self.keys}"
        given = f"shape {jnp.shape(present)}"
        require(jnp.shape(present) == wanted, "present", rule, given, error=DataError)
        return self.seen(values, dict(zip(self.keys, jnp.moveaxis(present, -1, 0))))

    def _batch_shape(self, values: Mapping[str, Array]) -> tuple[int, ...]:
        """The leading shape of the modalities, of which there must be one, and the same."""
        some = len(values) >= 1
        require(some, "values", "must hold at least one modality", "none", "", DataError)
        first, value = next(iter(values.items()))
        batch = jnp.shape(value)[: jnp.ndim(value) - len(self.modality(first).event_shape)]
        for key, value in values.items():
            wanted = (*batch, *self.modality(key).event_shape)
            rule, given = f"must have shape {wanted}", f"shape {jnp.shape(value)}"
            require(jnp.shape(value) == wanted, key, rule, given, error=DataError)
        return batch

    def seen(
        self, values: Mapping[str, Array], present: Mapping[str, Array | None] | None = None
    ) -> GivenModalities:
        """The model given some modalities: `model.seen({"label": y}).posterior()`.

        Args:
          values: by name, with the same leading shape.
          present: for each, weights `[B]` that are 1 where it is there; 1 everywhere if absent.

        Raises:
          DataError: names that no modality has, or values of other shapes than theirs.
        """
        self._batch_shape(values)
        flags = dict(present or {})
        if self.is_initializing():
            seen = {key: flag for key, flag in flags.items() if flag is not None}
            # What stands in rows without a modality is filler, and is read as zeros.
            self.make_all({k: kept(x, seen[k]) if k in seen else x for k, x in values.items()})
        return GivenModalities(self, dict(values), {key: flags.get(key) for key in values})

    def make_all(self, values: Mapping[str, Array]) -> None:
        """Makes the parameters of every modality; decoders start at the marginals of `values`."""
        for modality in self.modalities:
            # Even of modalities that a batch lacks: the parameters of a model must not depend on
            # its first batch.
            modality.expert(jnp.zeros((1, *modality.event_shape)))
            z = jnp.zeros((1, self.latent))
            if self.marginal_start and modality.key in values:
                modality.start_at_marginals(values[modality.key], z)
            else:
                modality.likelihood(z)

    def prior(self) -> distrax.Distribution:
        """N(0, I)."""
        if self.is_initializing():
            self.make_all({})
        return StandardNormal((self.latent,), parent=None)()

    def sample_all(self, key: Key, sample_shape: tuple[int, ...] = ()) -> dict[str, Array]:
        """Every modality, of one z ~ p(z)."""
        z_key, key = jax.random.split(key)
        z = self.prior().sample(seed=z_key, sample_shape=sample_shape)
        keys = dict(zip(self.keys, jax.random.split(key, len(self.keys))))
        return {k: self.modality(k).likelihood(z).sample(seed=keys[k]) for k in self.keys}

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """The modality "x" of z ~ p(z)."""
        return self.sample_all(key, sample_shape)["x"]

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | z] with z ~ p(z)."""
        z = self.prior().sample(seed=key, sample_shape=sample_shape)
        return self.modality("x").likelihood(z).mean()


def ImageLabelVAE(
    event_shape: Sequence[int],
    num_classes: int,
    latent: int,
    hidden: Sequence[int],
    *,
    experts: Experts = "product",
    activation: Activation = nn.relu,
    observation: Family | None = None,
) -> MultimodalVAE:
    """A VAE of images "x" and classes "label", of MLPs.

    >>> model = ImageLabelVAE((2, 2, 1), 3, latent=2, hidden=(8,))
    >>> batch = {"x": jnp.zeros((5, 2, 2, 1)), "label": jnp.zeros(5, int)}
    >>> variables = model.init(jax.random.key(0), batch,
    ...                        method=lambda model, batch: model.given(batch) and None)
    >>> images = lambda model, y: model.seen({"label": y}).generate(jax.random.key(0), "x")
    >>> model.apply(variables, jnp.arange(3), method=images).shape
    (1, 3, 2, 2, 1)
    """
    event, units = as_sizes("event_shape", event_shape), as_sizes("hidden", hidden)
    require(len(units) >= 1, "hidden", "must name at least one layer", units)
    family: Family = observation or Bernoulli()
    back = tuple(reversed(units))
    image = Modality(
        key="x",
        encoder=MLP(units, (latent, 2), activation, event_ndims=len(event)),
        decoder=MLP(back, decoded_shape(family, event), activation),
        observation=family,
        event_shape=event,
    )
    label = Modality(
        key="label",
        encoder=nn.Sequential((OneHot(num_classes), MLP(units, (latent, 2), activation))),
        decoder=MLP(back, (num_classes,), activation),
        observation=Categorical(num_classes),
        event_shape=(),
    )
    return MultimodalVAE(latent, (image, label), experts)
