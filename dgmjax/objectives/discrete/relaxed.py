"""Relaxed gradients of discrete latents: Concrete (Gumbel-softmax) and straight-through."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from dgmjax.contracts import given
from dgmjax.distributions.base import sum_event
from dgmjax.distributions.bernoulli import Bernoulli
from dgmjax.distributions.concrete import (
    RelaxedBernoulli,
    RelaxedCategorical,
    checked_temperature,
)
from dgmjax.distributions.relaxation import discrete_sites
from dgmjax.errors import require, require_sizes
from dgmjax.objectives.schedules import Scheduled, scheduled
from dgmjax.types import Array, Batch, Key, Metrics


def concrete(
    model,
    batch: Batch,
    key: Key,
    *,
    temperature: Scheduled = 2 / 3,
    prior_temperature: Scheduled | None = None,
    kl: Literal["relaxed", "discrete"] = "relaxed",
    num_samples: int = 1,
) -> tuple[Array, Metrics]:
    """-(log p(x | y) - KL), y a Concrete relaxation of z ~ q(z | x), differentiated through y.

    With `kl="relaxed"` the prior is relaxed as well, and the KL is log q(y | x) - log p(y) of the
    two Concrete densities: a bound of the relaxed model, in which y and not z is latent. With
    "discrete" it is the closed form of the discrete distributions, and the loss is no bound.
    Either way the gradient is a biased one of the discrete model's ELBO, less so at lower
    temperatures, where its variance is larger. Evaluate by `elbo` or `importance_bound`, which
    draw discrete latents.

    Args:
      model: whose posterior has independent Bernoulli or one-hot categorical latents; the decoder
        reads y where it reads z.
      temperature: of the posterior's relaxation, above 0: a number or a schedule.
      prior_temperature: of the prior's; the same if None.
      num_samples: samples of y that the expectation averages over.

    Returns:
      loss `[B]`; metrics `relaxed_bound` (-loss), `log_likelihood` and `kl` `[B]`, and
      `temperature`.

    Sources: Maddison, Mnih & Teh, "The Concrete Distribution: A Continuous Relaxation of Discrete
    Random Variables", 2017, Eq. 20 to 22, https://arxiv.org/abs/1611.00712; Jang, Gu & Poole,
    "Categorical Reparameterization with Gumbel-Softmax", 2017, for the discrete KL,
    https://arxiv.org/abs/1611.01144.
    """
    require(kl in ("relaxed", "discrete"), "kl", "must be relaxed or discrete", repr(kl))
    require_sizes(num_samples=num_samples)
    value = checked_temperature(scheduled(temperature, batch))
    prior_value = value
    if prior_temperature is not None:
        prior_value = checked_temperature(scheduled(prior_temperature, batch))
    model = given(model, batch)
    q, p = model.posterior(batch["x"]), model.prior()
    _, sites, ndims = discrete_sites(q)
    relaxed_q = _relaxed(sites, value)
    t = relaxed_q.sample(seed=key, sample_shape=(num_samples,))
    if kl == "relaxed":
        _, prior_sites, _ = discrete_sites(p)
        log_ratio = relaxed_q.log_prob(t) - _relaxed(prior_sites, prior_value).log_prob(t)
        divergence = sum_event(log_ratio, ndims).mean(0)
    else:
        # Not the KL of what the decoder reads: smooth and without noise, at the price of the bound.
        divergence = discrete_kl(q, p)
    log_likelihood = model.likelihood(relaxed_q.bounded(t)).log_prob(batch["x"]).mean(0)
    return _bound(log_likelihood, divergence, value)


def straight_through(
    model,
    batch: Batch,
    key: Key,
    *,
    temperature: Scheduled = 1.0,
    through: Literal["relaxed", "probabilities"] = "relaxed",
    num_samples: int = 1,
) -> tuple[Array, Metrics]:
    """-ELBO at discrete z ~ q(z | x), differentiated as if z were a smooth function of q.

    z = z + y - stop_gradient(y), which is z itself; y is the relaxation from the same noise
    (straight-through Gumbel-softmax) or q's probabilities (Bengio et al.; the temperature is then
    not used). The value is an unbiased estimate of the discrete bound, the posterior's gradient
    is biased. The KL is the closed form.

    Args: see `concrete`.

    Returns:
      loss `[B]`; metrics `elbo`, `log_likelihood` and `kl` `[B]`, and `temperature`.

    Sources: Bengio, Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic
    Neurons for Conditional Computation", 2013, section 4, https://arxiv.org/abs/1308.3432; Jang, Gu
    & Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017, section 2.2,
    https://arxiv.org/abs/1611.01144.
    """
    known = ("relaxed", "probabilities")
    require(through in known, "through", f"must be one of {known}", repr(through))
    require_sizes(num_samples=num_samples)
    value = checked_temperature(scheduled(temperature, batch))
    model = given(model, batch)
    q = model.posterior(batch["x"])
    # The closed-form KL has an exact gradient; only the likelihood goes through the estimator.
    z = straight_through_sample(q, key, value, (num_samples,), through)
    log_likelihood = model.likelihood(z).log_prob(batch["x"]).mean(0)
    divergence = discrete_kl(q, model.prior())
    return _bound(log_likelihood, divergence, value, "elbo")


def straight_through_sample(
    q, key: Key, temperature: Array | float, sample_shape: tuple[int, ...] = (), through="relaxed"
) -> Array:
    """Discrete samples of q, whose values are exact, with the gradient of a smooth function."""
    relaxation, sites, _ = discrete_sites(q)
    zeta = relaxation.perturb(key, sites.logits, sample_shape)
    soft = (
        sites.mean()
        if through == "probabilities"
        else relaxation.soften(zeta, jnp.asarray(temperature))
    )
    # The bracket is exactly 0, so that z stays exactly 0 or 1. (harden + soft) - soft would round.
    return relaxation.harden(zeta) + (soft - jax.lax.stop_gradient(soft))


def discrete_kl(q, p) -> Array:
    """KL(q || p) in nats of two products of Bernoulli or one-hot categorical variables.

    Raises:
      DgmjaxError: other distributions, or events of different shapes.
    """
    (_, q_sites, ndims), (_, p_sites, _) = discrete_sites(q), discrete_sites(p)
    require(
        type(q_sites) is type(p_sites) and q.event_shape == p.event_shape,
        "model",
        "must have a prior of the posterior's kind and event shape",
        f"{type(q_sites).__name__} {q.event_shape} and {type(p_sites).__name__} {p.event_shape}",
    )
    return sum_event(q_sites.kl_divergence(p_sites), ndims)


def _relaxed(sites, temperature: Array) -> RelaxedBernoulli | RelaxedCategorical:
    # Densities of unbounded events stay finite where y rounds to 0 or 1, and their ratios are those
    # of y: the Jacobian of the map between them cancels.
    make = RelaxedBernoulli if isinstance(sites, Bernoulli) else RelaxedCategorical
    return partial(make, unbounded=True)(temperature, sites.logits)


def _bound(
    log_likelihood: Array, divergence: Array, temperature: Array, name: str = "relaxed_bound"
) -> tuple[Array, Metrics]:
    bound = log_likelihood - divergence
    metrics = {"log_likelihood": log_likelihood, "kl": divergence, "temperature": temperature}
    return -bound, {name: bound, **metrics}
