"""Losses of a generative adversarial network, one for each player."""

import jax
import jax.numpy as jnp

from dgmjax.distributions.bernoulli import softplus
from dgmjax.errors import require
from dgmjax.types import Array, Batch, Key, Metrics


def discriminator_loss(
    model, batch: Batch, key: Key, *, gradient_penalty: float = 0.0
) -> tuple[Array, Metrics]:
    """-log D(x) - log(1 - D(G(z))) + gamma / 2 ||grad_x logit(x)||^2, in nats per example.

    Args:
      model: with `sample(key, shape)` and `logit(x)`, the logit of "x is data".
      gradient_penalty: gamma, at least 0. The penalty on data (R1) makes the game converge
        locally; without it the generator tends to drop modes or to circle around them.

    Returns:
      loss `[B]`; metrics `accuracy` (of the discriminator on both halves), `logit_data` and, with
      a penalty, `gradient_penalty`.

    Sources: Goodfellow et al., "Generative Adversarial Nets", 2014, Eq. 1,
    https://arxiv.org/abs/1406.2661; Mescheder, Geiger & Nowozin, "Which Training Methods for GANs
    do actually Converge?", 2018, Eq. 9, https://arxiv.org/abs/1801.04406.
    """
    require(gradient_penalty >= 0, "gradient_penalty", "must be at least 0", gradient_penalty)
    x = batch["x"]
    samples = jax.lax.stop_gradient(model.sample(key, (x.shape[0],)))
    data, model_logit = model.logit(x), model.logit(samples)
    accuracy = 0.5 * ((data > 0) * 1.0 + (model_logit <= 0) * 1.0)
    loss = softplus(-data) + softplus(model_logit)
    metrics = {"accuracy": accuracy, "logit_data": data}
    if gradient_penalty:
        slope = jax.grad(lambda x: model.logit(x).sum())(x)
        penalty = 0.5 * gradient_penalty * jnp.square(slope).reshape(len(x), -1).sum(-1)
        return loss + penalty, {**metrics, "gradient_penalty": penalty}
    return loss, metrics


def generator_loss(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log D(G(z)), the non-saturating loss, in nats per example.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3, last paragraph,
    https://arxiv.org/abs/1406.2661.
    """
    logit = model.logit(model.sample(key, (batch["x"].shape[0],)))
    return softplus(-logit), {"logit_samples": logit}
