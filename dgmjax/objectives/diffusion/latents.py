"""Latent diffusion: objectives of a denoiser that is the prior of a latent-variable model."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax

from dgmjax.contracts import given, is_initialising, log_likelihood
from dgmjax.types import Array, Batch, Key, Metrics, Objective


def with_prior(model: Any, prior: Callable[[], Any]) -> Any:
    """The latent-variable model with another prior, and its own posterior and likelihood."""
    return SimpleNamespace(
        prior=prior,
        posterior=model.posterior,
        likelihood=model.likelihood,
        is_initializing=lambda: is_initialising(model),
    )


def on_latents(
    model, batch: Batch, key: Key, *, objective: Objective, **options: Any
) -> tuple[Array, Metrics]:
    """An objective of the prior, whose data are draws z ~ q(z | x) that are held fixed.

    Args:
      model: a latent-variable model with a `prior_module`, such as `models.VAE`.
      objective: of a denoiser, such as `objectives.flow_matching`; its options follow.

    Source: Rombach, Blattmann, Lorenz, Esser & Ommer, "High-Resolution Image Synthesis with Latent
    Diffusion Models", 2022, section 3.2, https://arxiv.org/abs/2112.10752.
    """
    z_key, key = jax.random.split(key)
    z = jax.lax.stop_gradient(model.posterior(batch["x"]).sample(seed=z_key))
    return objective(model.prior_module, {"x": z}, key, **options)


def latent_diffusion(model, batch: Batch, key: Key, **options: Any) -> tuple[Array, Metrics]:
    """-log p(x | z) + log q(z | x) + the variational bound on -log p(z), z ~ q(z | x), in nats.

    An upper bound on -log p(x), by which encoder, decoder and prior train together. The ELBO itself
    has log p(z) along the ODE, at many network calls.

    Args:
      model: a latent-variable model whose `prior_module` is a denoiser.
      options: of the denoiser's `bound_terms`.

    Returns:
      loss `[B]`; metrics `log_likelihood`, `log_posterior` and `prior_bound`, `[B]`.

    Source: Vahdat, Kreis & Kautz, "Score-based Generative Modeling in Latent Space", 2021, Eq. 2,
    https://arxiv.org/abs/2106.05931.
    """
    whole, x = given(model, batch), batch["x"]
    z_key, key = jax.random.split(key)
    z, log_posterior = whole.posterior(x).sample_and_log_prob(seed=z_key)
    likelihood = log_likelihood(with_prior(whole, lambda: None), x, z)
    prior_bound = model.prior_module.bound_terms(z, key, **options).total
    metrics = {
        "log_likelihood": likelihood,
        "log_posterior": log_posterior,
        "prior_bound": prior_bound,
    }
    return log_posterior + prior_bound - likelihood, metrics
