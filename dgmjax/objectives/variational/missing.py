"""Bounds on the likelihood of the observed entries, when entries of x are missing."""

import distrax
import jax.numpy as jnp

from dgmjax.contracts import given, is_initialising, scores_sites
from dgmjax.distributions.base import sum_event
from dgmjax.errors import DataError, require, require_sizes
from dgmjax.objectives.variational.importance import iwae, weights
from dgmjax.types import Array, Batch, Key, Metrics, Objective, PyTree


class ObservedPart:
    """A latent-variable model of the observed entries of x: p(z) prod_{s observed} p(x_s | z).

    Where entries are missing at random, this is the model's own marginal of the observed entries,
    since the likelihood's sites are independent given z: the factors of missing sites integrate to
    1. The posterior reads x with zeros in place of missing entries.

    Any objective takes it in place of the model: `elbo`, `iwae`, `importance_bound`. A model whose
    joint does not split into prior and likelihood (`log_joint`) is not covered.

    Args:
      model: with `prior()`, `posterior(x)` and `likelihood(z)`.
      observed: `[B, *event]`, 1 where an entry was observed and 0 where it is missing.
    """

    def __init__(self, model, observed: Array):
        self.model, self.observed = model, jnp.asarray(observed) > 0

    def is_initializing(self) -> bool:
        """Whether the model's parameters are being made."""
        return is_initialising(self.model)

    def prior(self) -> distrax.Distribution:
        return self.model.prior()

    def posterior(self, x: Array) -> distrax.Distribution:
        return self.model.posterior(zero_filled(x, self.observed))

    def likelihood(self, z: PyTree) -> "ObservedSites":
        return ObservedSites(self.model.likelihood(z), self.observed)


class ObservedSites:
    """log p(x_observed | z): the sum over the observed sites of a likelihood.

    A site of several channels counts where all of them were observed.
    """

    def __init__(self, likelihood: distrax.Distribution, observed: Array):
        self.likelihood, self.observed = likelihood, observed

    def log_prob(self, value: Array) -> Array:
        """In nats, `[..., B]`; missing entries of `value` are not read."""
        # Zeros go in before the density is computed: to drop its value afterwards would leave a NaN
        # in the gradient.
        per_site = _site_log_prob(self.likelihood, zero_filled(value, self.observed))
        ndims = per_site.ndim - len(self.likelihood.batch_shape)
        channels = range(ndims - len(self.likelihood.event_shape), 0)
        observed = self.observed.all(tuple(channels)) if channels else self.observed
        return sum_event(jnp.where(observed, per_site, 0.0), ndims)


def _site_log_prob(likelihood: distrax.Distribution, x: Array) -> Array:
    """log p of each site of `x`, for likelihoods whose sites are independent."""
    if isinstance(likelihood, distrax.Independent):
        return likelihood.distribution.log_prob(x)
    require(
        scores_sites(likelihood),
        "model",
        "must have a likelihood of independent sites, since missing ones are left out",
        type(likelihood).__name__,
        "Use a decoder that returns `Factorised` or `distrax.Independent`.",
    )
    return likelihood.site_log_prob(x)


def zero_filled(x: Array, observed: Array) -> Array:
    """`x` with zeros, not NaN, where it was not observed."""
    # A choice, not a product with the mask: 0 times NaN is NaN.
    return jnp.where(observed, x, jnp.zeros((), jnp.result_type(x)))


def observed_part(model, batch: Batch) -> ObservedPart:
    """The model of what `batch["observed"]` says was observed.

    Raises:
      DataError: no mask, a mask of another shape than x, or a batch with a `log_det`, which is
        that of all entries.
    """
    require("observed" in batch, "batch", "must hold `observed`", sorted(batch), "", DataError)
    shape, mask = jnp.shape(batch["x"]), jnp.shape(batch["observed"])
    require(mask == shape, "observed", f"must have the shape of `x`, {shape}", mask, "", DataError)
    require(
        "log_det" not in batch,
        "batch",
        "must not hold the `log_det` of a transform, which counts missing entries too",
        sorted(batch),
        "Transform the data before entries are removed.",
        DataError,
    )
    return ObservedPart(given(model, batch), batch["observed"])


def miwae(
    model, batch: Batch, key: Key, *, num_samples: int = 20, objective: Objective = iwae
) -> tuple[Array, Metrics]:
    """-log (1/K) sum_k p(x_o | z_k) p(z_k) / q(z_k | x_o), z_k ~ q(z | x_o), in nats per example.

    A lower bound on log p(x_o), the likelihood of the observed entries x_o, that rises with K. A
    row in which nothing was observed has the bound of an empty product, at most 0.

    Args:
      model: with `prior()`, `posterior(x)` and a `likelihood(z)` of independent sites.
      batch: `x[B, *event]` and `observed` of the same shape, 1 where an entry was observed and 0
        where it is missing; what x holds there is not read.
      num_samples: K, at least 1.
      objective: `iwae`, or another that takes `num_samples` (`importance_bound` for large K).

    Returns:
      The loss and the metrics of `objective`, for the observed entries.

    Raises:
      DataError: a mask that is absent or of another shape. That it holds only 0 and 1 is checked
        where data enter (`data.FillMissing`).

    Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
    Sets", 2019, Eq. 4, https://arxiv.org/abs/1812.02633.
    """
    require_sizes(num_samples=num_samples)
    part = observed_part(model, batch)
    return objective(part, batch, key, num_samples=num_samples)


def importance_samples(
    part: ObservedPart, x: Array, key: Key, num_samples: int
) -> tuple[PyTree, Array]:
    """z_k ~ q(z | x_o) and log w_k = log p(x_o, z_k) - log q(z_k | x_o), `[K, B, ...]`, in nats."""
    found = weights(part, {"x": x}, key, num_samples=num_samples)
    return found.samples.z, found.counted
