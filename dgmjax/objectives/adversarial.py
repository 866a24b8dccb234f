"""The game of generative adversarial networks, one loss for each player."""

import jax

from dgmjax.distributions.bernoulli import softplus
from dgmjax.types import Array, Batch, Key, Metrics


def discriminator_loss(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log D(x) - log(1 - D(G(z))), in nats per example.

    Args:
      model: with `sample(key, shape)` and `logit(x)`, the logit of "x is data".

    Returns:
      loss `[B]`; metrics `accuracy` (of the discriminator on both halves) and `logit_data`.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1.
    """
    x = batch["x"]
    samples = jax.lax.stop_gradient(model.sample(key, (x.shape[0],)))
    data, model_logit = model.logit(x), model.logit(samples)
    accuracy = 0.5 * ((data > 0) * 1.0 + (model_logit <= 0) * 1.0)
    return softplus(-data) + softplus(model_logit), {"accuracy": accuracy, "logit_data": data}


def generator_loss(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log D(G(z)), the non-saturating loss, in nats per example.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """
    logit = model.logit(model.sample(key, (batch["x"].shape[0],)))
    return softplus(-logit), {"logit_samples": logit}
