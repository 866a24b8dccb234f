"""Multimodal VAE given the modalities that are seen."""

from collections.abc import Mapping
from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import Categorical
from dgmjax.distributions.mixture import Mixture
from dgmjax.distributions.normal_product import product_of_normals
from dgmjax.masks import kept
from dgmjax.types import Array, Key


class GivenModalities:
    """A multimodal VAE and the modalities that are seen, with flags of their presence.

    `posterior(x)` and `likelihood(z).log_prob(x)` are of what is seen, whatever `x` is.
    """

    def __init__(
        self,
        model: Any,
        values: Mapping[str, Array],
        present: Mapping[str, Array | None],
        log_det: Array | float = 0.0,
    ):
        self.model, self.values, self.present = model, values, present
        self.log_det = log_det

    def in_original_units(self, log_det: Array) -> "GivenModalities":
        """The same for a modality "x" that was transformed, with this log-determinant `[B]`."""
        return GivenModalities(self.model, self.values, self.present, log_det)

    def without(self, absent: Mapping[str, Array | float]) -> "GivenModalities":
        """The model without the modalities whose weight (`[B]` or a number) is 0."""
        flags = {key: self._flag(key) * absent.get(key, 1.0) for key in self.values}
        return GivenModalities(self.model, self.values, flags, self.log_det)

    def _flag(self, key: str) -> Array:
        """1. where the modality is there, `[B]`."""
        flag, modality = self.present[key], self.model.modality(key)
        batch = self.values[key].shape[: self.values[key].ndim - len(modality.event_shape)]
        return jnp.ones(batch) if flag is None else jnp.broadcast_to(as_float(flag > 0), batch)

    def prior(self) -> distrax.Distribution:
        """N(0, I)."""
        return self.model.prior()

    def posterior(self, x: Array | None = None) -> distrax.Distribution:
        """q(z | what is seen): a normal, or a mixture with a component for each modality."""
        flags = {key: self._flag(key) for key in self.values}
        experts = [
            self.model.modality(key).expert(kept(value, flags[key] > 0))
            for key, value in self.values.items()
        ]
        prior = distrax.Normal(jnp.zeros(self.model.latent), jnp.ones(self.model.latent))
        if self.model.experts == "product":
            # The prior is an expert that is never absent: where nothing is seen, the product is the
            # prior.
            present = [None, *(flag[..., None] for flag in flags.values())]
            return distrax.Independent(product_of_normals([prior, *experts], present), 1)
        # The mixture has the prior as a component only where there is no other. Components of
        # weight 0 leave by a logit of -inf; those that stay have equal weights, which a softmax of
        # zeros gives.
        nothing = sum(flags.values(), jnp.zeros(())) == 0
        weights = jnp.stack([as_float(nothing), *flags.values()], -1)
        parts = [prior, *experts]
        batch = experts[0].batch_shape
        loc, scale = (
            jnp.stack([jnp.broadcast_to(getattr(p, name), batch) for p in parts], -2)
            for name in ("loc", "scale")
        )
        if all(flag is None for flag in self.present.values()):  # the prior has no weight
            weights, loc, scale = weights[..., 1:], loc[..., 1:, :], scale[..., 1:, :]
        logits = jnp.where(weights > 0, 0.0, -jnp.inf)
        return Mixture(logits, distrax.Independent(distrax.Normal(loc, scale), 1))

    def likelihood(self, z: Array) -> "SeenParts":
        """prod_m p(x_m | z) over what is seen."""
        return SeenParts(self, z)

    def log_likelihoods(self, z: Array) -> dict[str, Array]:
        """log p(x_m | z) in nats of each modality, 0 where it is absent."""
        found = {}
        for key, value in self.values.items():
            flag = self._flag(key) > 0
            log_prob = self.model.modality(key).likelihood(z).log_prob(kept(value, flag))
            log_det = self.log_det if key == "x" else 0.0
            found[key] = jnp.where(flag, log_prob + log_det, 0.0)
        return found

    def generate(self, key: Key, target: str, num_samples: int = 1) -> Array:
        """E[target | z] with z ~ q(z | what is seen), `[num_samples, *batch, *event]`.

        Of a label, the probabilities of the classes, `[num_samples, *batch, C]`.
        """
        z = self.posterior().sample(seed=key, sample_shape=(num_samples,))
        likelihood = self.model.modality(target).likelihood(z)
        family = self.model.modality(target).observation
        if isinstance(family, Categorical):
            return jax.nn.softmax(likelihood.params, -1)
        return likelihood.mean()


class SeenParts:
    """The likelihood of what is seen; `log_prob(x)` sums the modalities, in nats."""

    def __init__(self, seen: GivenModalities, z: Array):
        self.seen, self.z = seen, z

    def log_prob(self, x: Array | None = None) -> Array:
        """log p(what is seen | z), `[..., B]`."""
        return sum(self.seen.log_likelihoods(self.z).values(), jnp.zeros(()))
