"""Exact negative log-likelihood."""

import jax
import jax.numpy as jnp

from dgmjax.contracts import log_density
from dgmjax.types import Array, Batch, Key, Metrics


def negative_log_likelihood(model, batch: Batch, key: Key | None = None) -> tuple[Array, Metrics]:
    """-log p(x) - log_det, in nats per example.

    Args:
      model: anything with `log_prob(x)`, or `log_prob(x, context)` where the batch holds a
        `context`.
      batch: `x`, and where the data were transformed `log_det` (see `dgmjax.types.Batch`).

    Returns:
      loss `[B]` and the metric `nll_nats` (the same).
    """
    del key
    nll = -log_density(model, batch)
    return nll, {"nll_nats": nll}


def sampled_ordering(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-log p_m(x) for one order m drawn uniformly for the whole batch.

    In expectation this is the order- and connectivity-agnostic loss of MADE, which by Jensen's
    inequality is an upper bound on the ensemble's negative log-likelihood.

    Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
    Estimation", 2015, section 4.2, https://arxiv.org/abs/1502.03509.

    Args:
      model: with `num_orders` and `log_prob(x, order=m)`, the log-density of order m, or
        `log_prob(x, context, order=m)` where the batch holds a `context`.
    """
    order = jax.random.randint(key, (), 0, model.num_orders)
    nll = -log_density(model, batch, order=order)
    return nll, {"nll_one_order": nll, "order": jnp.float32(order)}
