"""Score matching of unnormalised densities: implicit, sliced, denoising; noise contrast."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import check_batch
from dgmjax.distributions.base import sum_event
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Batch, Key, Metrics


def implicit_score_matching(model, batch: Batch, key: Key | None = None) -> tuple[Array, Metrics]:
    """1/2 |s(x)|^2 + tr ds/dx: up to a constant the squared error of the score s, halved.

    Costs a product with the Jacobian for each dimension.

    Args:
      model: with `score(x)` -> `[B, *event]`, the gradient of its log-density.

    Returns:
      loss `[B]`; metric `squared_norm` of the score.

    Source: Hyvarinen, "Estimation of Non-Normalized Statistical Models by Score Matching", 2005,
    theorem 1, https://jmlr.org/papers/v6/hyvarinen05a.html.
    """
    del key
    x = _data(batch)
    basis = jnp.eye(x[0].size, dtype=x.dtype).reshape(-1, 1, *x.shape[1:])
    return _matching(model, x, jnp.broadcast_to(basis, (len(basis), *x.shape)), 1)


def sliced_score_matching(
    model, batch: Batch, key: Key, *, projections: int = 1
) -> tuple[Array, Metrics]:
    """1/2 |s(x)|^2 + e^T (ds/dx) e, e random signs: `implicit_score_matching` in expectation.

    Args:
      projections: number of vectors e that are averaged.

    Source: Song, Garg, Shi & Ermon, "Sliced Score Matching: A Scalable Approach to Density and
    Score Estimation", 2019, Eq. 8, https://arxiv.org/abs/1905.07088.
    """
    require_sizes(projections=projections)
    x = _data(batch)
    signs = jax.random.rademacher(key, (projections, *x.shape), x.dtype)
    return _matching(model, x, signs, projections)


def _matching(model: Any, x: Array, directions: Array, average: int) -> tuple[Array, Metrics]:
    score, push = jax.linearize(model.score, x)
    ndims = x.ndim - 1
    traces = sum_event(jax.vmap(push)(directions) * directions, ndims).sum(0) / average
    norm = sum_event(score**2, ndims)
    return 0.5 * norm + traces, {"squared_norm": norm}


def denoising_score_matching(
    model, batch: Batch, key: Key, *, scale: float
) -> tuple[Array, Metrics]:
    """scale^2 |s(x + scale e) + e / scale|^2 with e ~ N(0, I): the score of smoothed data.

    Its minimum is the score of p * N(0, scale^2 I). The mean over e and -e is taken, in which the
    terms of order 1 / scale cancel: otherwise their noise drowns the gradient at small scales. At
    many scales at once it is `objectives.denoising`.

    Args:
      scale: of the noise, positive.

    Source: Vincent, "A Connection Between Score Matching and Denoising Autoencoders", 2011, Eq. 11,
    https://doi.org/10.1162/NECO_a_00142.
    """
    require(scale > 0, "scale", "must be positive", scale)
    x = _data(batch)
    noise = jax.random.normal(key, x.shape, x.dtype)
    noise = jnp.stack([noise, -noise])
    score = model.score(x + scale * noise)
    loss, norm = (sum_event(a**2, x.ndim - 1).mean(0) for a in (scale * score + noise, score))
    return loss, {"squared_norm": norm}


def noise_contrastive_estimation(
    model, batch: Batch, key: Key, *, noise: Callable[[], Any], ratio: int = 1
) -> tuple[Array, Metrics]:
    """Logistic regression between data and noise, whose logit is log p(x) - log(ratio p_n(x)).

    -log sigmoid(h(x)) - sum_{j <= ratio} log sigmoid(-h(y_j)) with y_j ~ p_n. The normaliser is one
    more parameter, and the estimate is normalised where it is consistent.

    Args:
      model: with `log_unnormalised(x)`, such as `models.EnergyModel`.
      noise: makes a distribution of events like x, which can be sampled and has a density.
      ratio: noise samples for each example.

    Returns:
      loss `[B]`; metric `accuracy` `[B]` of the classification.

    Source: Gutmann & Hyvarinen, "Noise-Contrastive Estimation of Unnormalized Statistical Models,
    with Applications to Natural Image Statistics", 2012, Eq. 8,
    https://jmlr.org/papers/v13/gutmann12a.html.
    """
    require_sizes(ratio=ratio)
    x, known = _data(batch), noise()
    y = known.sample(seed=key, sample_shape=(ratio, len(x)))
    require(y.shape[1:] == x.shape, "noise", f"must have events {x.shape[1:]}", y.shape[2:])
    event = x.ndim - 1

    def logit(x: Array) -> Array:
        unnormalised, log_noise = model.log_unnormalised(x), known.log_prob(x)
        for of_what, found in (("model", unnormalised), ("noise", log_noise)):
            rule = f"must give the log-density of each example, {x.shape[: x.ndim - event]}"
            require(found.shape == x.shape[: x.ndim - event], of_what, rule, found.shape)
        return unnormalised - log_noise - math.log(ratio)

    of_data, of_noise = logit(x), logit(y)
    loss = jax.nn.softplus(-of_data) + jax.nn.softplus(of_noise).sum(0)
    right = jnp.concatenate([(of_data > 0)[None], of_noise < 0])
    return loss, {"accuracy": right.astype(x.dtype).mean(0)}


def _data(batch: Batch) -> Array:
    check_batch(batch)
    x = jnp.asarray(batch["x"])
    real = jnp.issubdtype(x.dtype, jnp.floating)
    require(real, "x", "must be real: densities of whole numbers have no score", x.dtype)
    return x
