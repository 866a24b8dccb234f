"""Variational inference on a density that is known up to a constant."""

from collections.abc import Callable

from dgmjax.types import Array, Batch, Key, Metrics


def reverse_kl(
    model, batch: Batch, key: Key, *, log_density: Callable[[Array], Array], beta: float = 1.0
) -> tuple[Array, Metrics]:
    """log q(x) - beta log p~(x) with x ~ q, in nats; its mean is KL(q || p) - log Z at beta = 1.

    Gradients go through the samples (reparameterised), so the model must be one whose sampling
    is differentiable: a flow.

    Args:
      model: `model(context)` returns a distribution with `sample_and_log_prob`.
      batch: gives the number of samples (that of its rows), and a `context` where there is one.
      log_density: log p~(x) for `x[..., *event]`, unnormalised; p = p~ / Z.
      beta: inverse temperature, which annealing moves from 0 to 1.

    Returns:
      loss `[B]`; metrics `log_model` (log q) and `log_target` (log p~), each `[B]`.

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Eq. 15 and 20,
    https://arxiv.org/abs/1505.05770.
    """
    conditional = "context" in batch
    q = model(batch["context"]) if conditional else model()
    shape = () if conditional else (batch["x"].shape[0],)
    x, log_model = q.sample_and_log_prob(seed=key, sample_shape=shape)
    log_target = log_density(x)
    metrics = {"log_model": log_model, "log_target": log_target}
    return log_model - beta * log_target, metrics
