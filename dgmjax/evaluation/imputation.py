"""Imputation of missing entries by a latent-variable model, in bounded memory.

Arrays and batches hold `x` and `observed` of the same shape: 1 observed, 0 missing.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.batches import evaluation_batches
from dgmjax.data.dataset import num_rows
from dgmjax.data.missing import check_observed
from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.objectives.variational.missing import importance_samples, observed_part, zero_filled
from dgmjax.types import Array, Batch, Key, PyTree


class Imputed(NamedTuple):
    """Completed data; observed entries are as they were.

    Attributes:
      single: `[B, *event]`, missing entries at E[x_missing | x_observed].
      multiple: `[B, M, *event]`, missing entries drawn from p(x_missing | x_observed).
      effective_sample_size: `[B]`, (sum w)^2 / sum w^2 of the K importance weights. Where it is
        near 1, one sample decides: take more samples, or trust the row less.
      from_prior: `[B]`, 1 where nothing was observed, so that the row comes from the prior.
    """

    single: Any
    multiple: Any
    effective_sample_size: Any
    from_prior: Any


class _Running(NamedTuple):
    """Running sums over all samples so far; weights are relative to exp(maximum)."""

    maximum: Array  # [B]
    total: Array  # [B]
    squares: Array  # [B]
    mean: Array  # [B, *event], weighted sum of E[x | z]
    best: Array  # [M, B], largest perturbed log-weight
    chosen: PyTree  # [M, B, ...], the latents that have it


def imputations(
    model,
    batch: Batch,
    key: Key,
    *,
    num_samples: int = 10_000,
    num_imputations: int = 0,
    chunk: int = 100,
) -> Imputed:
    """Single and multiple imputation by self-normalised importance sampling.

    With z_k ~ q(z | x_o), w_k = p(x_o, z_k) / q(z_k | x_o) and K samples:
    single: sum_k w_k E[x_m | z_k] / sum_k w_k, which tends to E[x_m | x_o];
    multiple: z drawn from the z_k with probability w_k / sum w, then x_m ~ p(x_m | z)
    (sampling importance resampling, with replacement).

    Samples come `chunk` at a time and only sums are kept: memory does not grow with K. Resampling
    needs no second pass: the largest log w_k + Gumbel noise is a draw in proportion to w_k.
    To be compiled by the caller.

    Args:
      model: with `prior()`, `posterior(x)` and a `likelihood(z)` of independent sites.
      batch: `x[B, *event]` and `observed` of the same shape.
      num_samples: K, at least 1.
      num_imputations: M, draws per row; 0 for single imputation only.
      chunk: samples evaluated together; must divide K.

    Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
    Sets", 2019, Eq. 8 to 12, https://arxiv.org/abs/1812.02633.
    """
    require(num_samples >= 1, "num_samples", "must be at least 1", num_samples)
    require(num_imputations >= 0, "num_imputations", "must be at least 0", num_imputations)
    chunk = min(chunk, num_samples)
    require(
        chunk >= 1 and num_samples % chunk == 0,
        "chunk",
        f"must divide num_samples={num_samples}",
        chunk,
    )
    part = observed_part(model, batch)
    samples_key, noise_key, x_key = jax.random.split(key, 3)

    def draw(index):
        return importance_samples(part, batch["x"], jax.random.fold_in(samples_key, index), chunk)

    def body(running, index):
        z, log_w = draw(index)
        noise = jax.random.fold_in(noise_key, index)
        running = _resampled(running, z, log_w, noise)
        return _averaged(running, part.model.likelihood(z).mean(), log_w), None

    start = _start(batch, jax.eval_shape(draw, 0), num_imputations)
    running, _ = jax.lax.scan(body, start, jnp.arange(num_samples // chunk))
    observed = batch["observed"] > 0
    x = zero_filled(jnp.asarray(batch["x"], running.mean.dtype), observed)
    drawn = jnp.zeros((0, *x.shape), x.dtype)
    if num_imputations:
        drawn = part.model.likelihood(running.chosen).sample(seed=x_key).astype(x.dtype)
    return Imputed(
        single=jnp.where(observed, x, running.mean / _over_event(running.total, x)),
        multiple=jnp.moveaxis(jnp.where(observed, x, drawn), 0, 1),
        effective_sample_size=running.total**2 / running.squares,
        from_prior=(~observed).reshape(len(x), -1).all(1).astype(jnp.float32),
    )


def _start(batch: Batch, shapes: Any, num_imputations: int) -> _Running:
    z, log_w = shapes
    rows = jnp.zeros(batch["x"].shape[0], log_w.dtype)
    return _Running(
        maximum=rows - jnp.inf,
        total=rows,
        squares=rows,
        mean=jnp.zeros(batch["x"].shape, log_w.dtype),
        best=jnp.full((num_imputations, len(rows)), -jnp.inf, log_w.dtype),
        chosen=jax.tree.map(lambda s: jnp.zeros((num_imputations, *s.shape[1:]), s.dtype), z),
    )


def _averaged(running: _Running, x: Array, log_w: Array) -> _Running:
    """The sums with another chunk of E[x | z] `[K, B, *event]` and log-weights `[K, B]`."""
    maximum = jnp.maximum(running.maximum, log_w.max(0))
    # All sums are relative to exp(maximum): a new one scales the old sums, and squares by its
    # square. At first exp(-inf - maximum) = 0, also where every weight so far is 0.
    reference = jnp.where(maximum == -jnp.inf, 0.0, maximum)
    old, new = jnp.exp(running.maximum - reference), jnp.exp(log_w - reference)
    return running._replace(
        maximum=maximum,
        total=running.total * old + new.sum(0),
        squares=running.squares * old**2 + (new**2).sum(0),
        mean=running.mean * _over_event(old, running.mean) + jnp.einsum("kb,kb...->b...", new, x),
    )


def _resampled(running: _Running, z: PyTree, log_w: Array, key: Key) -> _Running:
    """The M choices, each renewed where this chunk has a larger perturbed log-weight."""
    draws = running.best.shape[0]
    if draws == 0:
        return running
    # The largest of log w_k + g_k belongs to k with probability w_k / sum w, and the largest of all
    # chunks is the largest of their largest.
    scores = log_w[:, None] + jax.random.gumbel(key, (log_w.shape[0], draws, log_w.shape[1]))
    index, best = scores.argmax(0), scores.max(0)  # [M, B]
    better = best > running.best
    rows = jnp.arange(log_w.shape[1])

    def renewed(old, new):
        kept = better.reshape(*better.shape, *[1] * (old.ndim - 2))
        return jnp.where(kept, new[index, rows], old)

    chosen = jax.tree.map(renewed, running.chosen, z)
    return running._replace(best=jnp.maximum(best, running.best), chosen=chosen)


def _over_event(rows: Array, x: Array) -> Array:
    return rows.reshape(*rows.shape, *[1] * (x.ndim - 1))


def impute(
    evaluate: Callable[[Mapping[str, Any], Key], Imputed],
    arrays: Mapping[str, np.ndarray],
    batch_size: int,
    key: Key,
) -> Imputed:
    """Completes every row of `arrays`; batch i uses `fold_in(key, i)`.

    Args:
      evaluate: `imputations` with its model already given, compiled by the caller.
      arrays: `x` and `observed`, `[N, *event]`.

    Raises:
      DataError: no rows, a mask of another shape than `x`, or one that holds anything but 0 and 1.

    Warns:
      UserWarning: rows in which nothing was observed: they come from the prior.
    """
    num_rows(arrays)
    check_observed(arrays)
    rows = {name: arrays[name] for name in ("x", "observed")}
    parts = []
    for index, batch in enumerate(evaluation_batches(rows, batch_size)):
        real = batch["mask"] > 0
        imputed = evaluate(batch, jax.random.fold_in(key, index))
        parts.append(jax.tree.map(lambda a, real=real: np.asarray(a)[real], imputed))
    whole = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    empty = int(whole.from_prior.sum())
    if empty:
        warnings.warn(
            f"{empty} of {len(whole.from_prior)} rows have no observed entry and are imputed from "
            "the prior; `from_prior` says which.",
            stacklevel=2,
        )
    return whole


def imputation_error(
    imputed: np.ndarray, complete: np.ndarray, observed: np.ndarray
) -> Measurement:
    """Mean squared error over the missing entries, in the units of the data squared.

    Entries whose truth is not known, NaN in `complete`, do not count. The standard error takes rows
    as independent (entries of a row are not): that of the ratio of the rows' squared errors to
    their numbers of missing entries.

    >>> imputation_error(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]), np.array([[1, 0]])).value
    4.0
    """
    shapes = [np.shape(a) for a in (imputed, complete, observed)]
    same = len(set(shapes)) == 1
    rule = "must have the shape of the complete data and of the mask"
    require(same, "imputed", rule, shapes, "", DataError)
    truth = np.asarray(complete, np.float64)
    missing = ((np.asarray(observed) == 0) & ~np.isnan(truth)).reshape(len(truth), -1)
    difference = np.asarray(imputed, np.float64) - truth
    squares = np.where(missing, difference.reshape(missing.shape) ** 2, 0.0).sum(1)
    counts = missing.sum(1)
    rule = "must leave an entry missing whose truth is known"
    require(counts.sum() > 0, "observed", rule, "none", "", DataError)
    value = squares.sum() / counts.sum()
    error, n = None, len(counts)
    if n > 1:
        spread = ((squares - value * counts) ** 2).sum()
        error = float(np.sqrt(spread * n / (n - 1)) / counts.sum())
    return Measurement(float(value), error, n)
