"""Regularised autoencoders: codes without noise, and a smooth decoder in place of a posterior."""

import math

import jax
import jax.numpy as jnp

from dgmjax.contracts import given
from dgmjax.errors import require
from dgmjax.types import Array, Batch, Key, Metrics


def regularised_autoencoder(
    model, batch: Batch, key: Key, *, weight: float = 1e-2, gradient_penalty: float = 0.0
) -> tuple[Array, Metrics]:
    """-log p(x | z) + weight |z|^2 / 2 + gradient_penalty |dE[x | z] / dz|_F^2 / 2 at z = E[z | x].

    The second term keeps codes together. The decoder is kept smooth by the third one (RAE-GP), or
    by weight decay of its parameters in the optimiser (RAE-L2). Codes then follow no known
    distribution: `lab.fit_prior` fits one after training.

    The squared norm of the Jacobian is estimated without bias as |J^T v|^2 with v ~ N(0, I).

    Args:
      model: a latent-variable model, whose prior is not used; `models.PointMass` is a posterior
        without noise.
      weight: of the codes' norm, at least 0.
      gradient_penalty: of the decoder's Jacobian, at least 0.

    Returns:
      loss `[B]`; metrics `log_likelihood`, `code_norm` (|z|^2) and, with a gradient penalty,
      `decoder_slope`, the squared norm of the Jacobian, each `[B]`.

    Source: Ghosh, Sajjadi, Vergari, Black & Schoelkopf, "From Variational to Deterministic
    Autoencoders", 2020, Eq. 9 and 11, https://arxiv.org/abs/1903.12436.
    """
    for name, number in {"weight": weight, "gradient_penalty": gradient_penalty}.items():
        require(0.0 <= number < math.inf, name, "must be a number of at least 0", number)
    model, x = given(model, batch), batch["x"]
    z = model.posterior(x).mean()
    log_likelihood = model.likelihood(z).log_prob(x)
    norm = _per_example(jnp.square(z))
    loss = 0.5 * weight * norm - log_likelihood
    metrics = {"log_likelihood": log_likelihood, "code_norm": norm}
    if gradient_penalty > 0.0:
        mean, pull = jax.vjp(lambda z: model.likelihood(z).mean(), z)
        (slope,) = pull(jax.random.normal(key, mean.shape, mean.dtype))
        metrics["decoder_slope"] = _per_example(jnp.square(slope))
        loss = loss + 0.5 * gradient_penalty * metrics["decoder_slope"]
    return loss, metrics


def _per_example(values: Array) -> Array:
    return values.reshape(len(values), -1).sum(-1)
