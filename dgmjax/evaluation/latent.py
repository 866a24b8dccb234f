"""Measures of a latent space: active units, rates of dimensions, information, collapse."""

from collections.abc import Callable, Mapping

import distrax
import jax
import numpy as np

from dgmjax.contracts import given
from dgmjax.data.batches import evaluation_batches
from dgmjax.errors import DataError, require
from dgmjax.objectives.variational.aggregate import aggregated_log_prob
from dgmjax.objectives.variational.divergences import kl_terms
from dgmjax.objectives.variational.elbo import elbo
from dgmjax.types import Array, Batch, Key, Metrics, PyTree

MEAN_SAMPLES = 1000
"""Samples that stand for the mean of a posterior without a closed form, see `posterior_mean`."""

_AT_A_TIME = 50
_MEAN_SEED = 0


def posterior_mean(model, x: Array) -> PyTree:
    """E[z | x], the code of x `[B, *event]`: what traversals, probes and `active_units` read.

    In closed form where the posterior has one, else (a flow) the average of `MEAN_SAMPLES` samples
    from a fixed seed. Such an average varies by Var(z | x) / S beyond the mean itself, and an
    uninformative dimension has Var(z | x) = 1: with S = 100 it would pass the threshold of
    `active_units`, 0.01, by noise alone; 1000 samples add a tenth of it. They come 50 at a time.

    Of a chain of latents (`distributions.Ancestral`) it is the path of conditional means.
    """
    q = model.posterior(x)
    try:
        return q.mean()
    except NotImplementedError:
        return _sample_mean(q)


def _sample_mean(q) -> PyTree:
    def part(key):
        z = q.sample(seed=key, sample_shape=(_AT_A_TIME,))
        return jax.tree.map(lambda leaf: leaf.mean(0), z)

    # A fixed seed: the mean is a property of the model, and must not differ from call to call.
    keys = jax.random.split(jax.random.key(_MEAN_SEED), MEAN_SAMPLES // _AT_A_TIME)
    return jax.tree.map(lambda leaf: leaf.mean(0), jax.lax.map(part, keys))


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


def active_dimensions(means: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Which dimensions u have Var_x(E[z_u | x]) > threshold, `[*latent]`.

    Args:
      means: posterior means `[N, *latent]` over a split.
      threshold: 0.01 in the paper.

    Raises:
      DataError: no examples or no dimensions, NaN or infinity: none of these is a collapse.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2,
    https://arxiv.org/abs/1509.00519.
    """
    means = np.asarray(means, np.float64)
    table = means.ndim >= 2 and means.size > 0
    require(table, "means", "must be [N, *latent] and not empty", means.shape, "", DataError)
    finite = bool(np.isfinite(means).all())
    require(finite, "means", "must be finite", "NaN or infinity", "", DataError)
    return np.var(means, axis=0) > threshold


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Number of `active_dimensions`.

    >>> active_units(np.array([[0.0, 1.0], [0.01, -1.0]]))
    1
    """
    return int(active_dimensions(means, threshold).sum())


def dimension_rates(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """KL(q(z_d | x) || p(z_d)) of every dimension, an objective to be averaged, in nats.

    Returns:
      the sum over dimensions `[B]`, and the metric `dimension_kl` `[B, *latent]`.

    Raises:
      DgmjaxError: dimensions that are not independent of each other.
    """
    model = given(model, batch)
    q, p = model.posterior(batch["x"]), model.prior()
    apart = isinstance(q, distrax.Independent) and isinstance(p, distrax.Independent)
    rule = "must have a posterior and a prior of independent dimensions (distrax.Independent)"
    require(apart, "model", rule, f"{q.name} and {p.name}")
    z = q.sample(seed=key, sample_shape=(1,))
    (rates,) = kl_terms(q, p, z, dimensions=True).values()
    return rates.reshape(len(rates), -1).sum(-1), {"dimension_kl": rates}


def rate_and_distortion(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """One point of the rate-distortion plane: R = KL(q(z | x) || p(z)), D = -E_q[log p(x | z)].

    Returns:
      R + D, the negative ELBO, `[B]`; metrics `rate` and `distortion`, in nats.

    Source: Alemi, Poole, Fischer, Dillon, Saurous & Murphy, "Fixing a Broken ELBO", 2018,
    section 2, https://arxiv.org/abs/1711.00464.
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
    Lower Bound", 2016, Eq. 5, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    """
    require(num_samples >= 1, "num_samples", "must be at least 1", num_samples)
    require(len(x) >= 1, "x", "must have at least one row", f"shape {x.shape}", "", DataError)
    rule = f"must divide the number of rows, {len(x)}"
    require(chunk >= 1 and len(x) % chunk == 0, "chunk", rule, chunk)
    q, p = model.posterior(x), model.prior()
    z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(num_samples,))
    # In turn, so that chunk x N densities are in memory at a time instead of N^2.
    rows = z.reshape(-1, chunk, *z.shape[2:])
    log_aggregate = jax.lax.map(lambda part: aggregated_log_prob(q, part), rows)
    log_aggregate = log_aggregate.reshape(log_q.shape)
    return (log_q - log_aggregate).mean(), (log_aggregate - p.log_prob(z)).mean()
