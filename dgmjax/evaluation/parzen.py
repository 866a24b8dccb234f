"""Kernel density estimates of samples: the historical evaluation of implicit models.

They rank models wrongly: a model that memorises a few training points beats the truth, and in Wu et
al. 2017 (Table 2) the smaller of two VAEs comes out above the larger, which annealing shows to be
286 nats better. They are here to be shown beside `evaluation.annealed_bound`, not to choose by.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.types import Array


class Parzen(NamedTuple):
    """An estimate with its bandwidth.

    Attributes:
      log_prob: of the test points, `[N]` in nats.
      bandwidth: the standard deviation of the kernels that validation points chose.
    """

    log_prob: np.ndarray
    bandwidth: float


def parzen_log_prob(samples: Array, x: Array, bandwidth: Array | float) -> Array:
    """log (1/S) sum_s N(x; sample_s, bandwidth^2 I), `[N]` in nats.

    >>> round(float(parzen_log_prob(jnp.zeros((1, 2)), jnp.zeros((1, 2)), 1.0)[0]), 4)
    -1.8379
    """
    dtype = jnp.promote_types(jnp.result_type(samples, x), jnp.float32)
    samples, x = (jnp.asarray(a, dtype).reshape(len(a), -1) for a in (samples, x))
    # |x - s|^2 without the N x S x D differences, about the mean: far from 0 it loses digits.
    middle = samples.mean(0)
    samples, x = samples - middle, x - middle
    squares = (x**2).sum(-1)[:, None] + (samples**2).sum(-1) - 2.0 * x @ samples.T
    log_kernel = -0.5 * jnp.maximum(squares, 0.0) / bandwidth**2
    normaliser = x.shape[1] * jnp.log(bandwidth * jnp.sqrt(2.0 * jnp.pi)) + jnp.log(len(samples))
    return jax.nn.logsumexp(log_kernel, -1) - normaliser


def parzen(
    samples: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    bandwidths: Sequence[float] = tuple(np.geomspace(0.03, 1.0, 16)),
    chunk: int = 100,
) -> Parzen:
    """log p of test points, with the bandwidth that is best for validation points.

    Args:
      samples: of the model, `[S, ...]`; 10,000 in the literature.
      validation, test: `[N, ...]`; never the same points.
      bandwidths: to choose from.
      chunk: points at a time.

    Raises:
      DataError: arrays of different events, empty ones, or NaN and infinity.

    Source: Breuleux, Bengio & Vincent, "Quickly Generating Representative Samples from an
    RBM-Derived Process", 2011, section 5, https://doi.org/10.1162/NECO_a_00158.
    """
    arrays = {"samples": samples, "validation": validation, "test": test}
    for name, points in arrays.items():
        fits = len(points) >= 1 and points.shape[1:] == samples.shape[1:]
        rule = f"must hold an event or more of the samples' shape {samples.shape[1:]}"
        require(fits, name, rule, points.shape, error=DataError)
        finite = bool(np.isfinite(points).all())
        require(finite, name, "must be finite", "NaN or infinity", error=DataError)
    require(len(bandwidths) >= 1, "bandwidths", "must name at least one", bandwidths)
    require(min(bandwidths) > 0.0, "bandwidths", "must be positive", min(bandwidths))
    estimate = jax.jit(parzen_log_prob)
    fixed = jnp.asarray(samples, jnp.float32)

    def measured(points: np.ndarray, bandwidth: float) -> np.ndarray:
        parts = [points[i : i + chunk] for i in range(0, len(points), chunk)]
        found = [np.asarray(estimate(fixed, np.float32(part), bandwidth)) for part in parts]
        return np.concatenate(found)

    scores = [float(measured(validation, b).mean(dtype=np.float64)) for b in bandwidths]
    best = float(bandwidths[int(np.argmax(scores))])
    return Parzen(measured(test, best), best)
