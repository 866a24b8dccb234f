"""What a latent space does: active units, rates of dimensions, information, collapse."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import require
from dgmjax.objectives.aggregate import aggregated_log_prob
from dgmjax.objectives.divergences import kl_terms
from dgmjax.objectives.elbo import elbo, given
from dgmjax.types import Array, Batch, Key, Metrics


def posterior_means(
    mean: Callable[[Array], Array], arrays: Mapping[str, np.ndarray], batch_size: int
) -> np.ndarray:
    """E[z | x] of every example, `[N, latent]`; `mean` maps a batch of x and is compiled here."""
    compiled = jax.jit(mean)
    parts = [
        np.asarray(compiled(batch["x"]))[batch["mask"] > 0]
        for batch in evaluation_batches(arrays, batch_size)
    ]
    return np.concatenate(parts)


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Number of dimensions u with Var_x(E[z_u | x]) > threshold.

    Args:
      means: posterior means `[N, latent]` over a split (say which).
      threshold: 0.01 in the paper.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2.

    >>> active_units(np.array([[0.0, 1.0], [0.01, -1.0]]))
    1
    """
    return int((np.var(np.asarray(means, np.float64), axis=0) > threshold).sum())


def dimension_rates(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """KL(q(z_d | x) || p(z_d)) of every dimension, an objective to be averaged, in nats.

    Returns:
      the sum over dimensions `[B]`, and the metric `dimension_kl` `[B, *latent]`.

    Raises:
      DgmjaxError: dimensions that are not independent of each other.
    """
    model = given(model, batch)
    q, p = model.posterior(batch["x"]), model.prior()
    z = q.sample(seed=key, sample_shape=(1,))
    (rates,) = kl_terms(q, p, z, dimensions=True).values()
    return rates.reshape(len(rates), -1).sum(-1), {"dimension_kl": rates}


def rate_and_distortion(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """One point of the rate-distortion plane: R = KL(q(z | x) || p(z)), D = -E_q[log p(x | z)].

    Returns:
      R + D, the negative ELBO, `[B]`; metrics `rate` and `distortion`, in nats.

    Source: Alemi, Poole, Fischer, Dillon, Saurous & Murphy, "Fixing a Broken ELBO", 2018,
    section 2.
    """
    loss, metrics = elbo(model, batch, key)
    return loss, {"rate": metrics["kl"], "distortion": -metrics["log_likelihood"]}


def index_code_information(
    model, x: Array, key: Key, *, num_samples: int = 1, chunk: int = 100
) -> tuple[Array, Array]:
    """I_q(n; z) = E[log q(z | x_n) - log q(z)] over the rows of `x`, and KL(q(z) || p(z)).

    The rate is their sum (the "surgery" of the ELBO). q(z) is the mixture over the rows given, so
    the information is at most log N: it is a lower bound on that over a larger data set.

    Args:
      x: `[N, *event]`; the cost is N^2 densities.
      chunk: rows whose samples are compared to all posteriors at a time; must divide N.

    Returns:
      two scalars, in nats.

    Source: Hoffman & Johnson, "ELBO Surgery: Yet Another Way to Carve up the Variational Evidence
    Lower Bound", 2016, equation 5.
    """
    rule = f"must divide the number of rows, {len(x)}"
    require(chunk >= 1 and len(x) % chunk == 0, "chunk", rule, chunk)
    q, p = model.posterior(x), model.prior()
    z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
    rows = z.reshape(-1, chunk, *z.shape[2:])
    log_aggregate = jax.lax.map(lambda part: aggregated_log_prob(q, part), rows)
    log_aggregate = log_aggregate.reshape(log_q.shape)
    return (log_q - log_aggregate).mean(), (log_aggregate - p.log_prob(z)).mean()
