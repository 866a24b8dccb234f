"""Normalisers of unnormalised densities."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require
from dgmjax.inference.annealing import Path, anneal, effective_chains, log_mean_weight
from dgmjax.inference.temperatures import check_temperatures
from dgmjax.types import Array, Key, PyTree


class AnchoredPath(NamedTuple):
    """A path of densities from one that is known.

    Attributes:
      path: from f_0 to f_1.
      start: `(key, chains)` to exact samples of f_0, leaves `[chains, ...]`.
      log_normaliser: log Z_0.
    """

    path: Path
    start: Callable[[Key, int], PyTree]
    log_normaliser: Array


class Partition(NamedTuple):
    """An estimate of log Z_1, in nats.

    Attributes:
      log_z: log Z_0 + log of the mean weight. The mean weight has no bias, so that log_z is too
        low on average, and a likelihood computed with it too high.
      standard_error: of log_z, from the spread of the weights; too small where the chains have
        missed a mode.
      effective_chains: of the weights.
      log_weight: `[chains]`, of which the mean of exp estimates Z_1 / Z_0.
    """

    log_z: Array
    standard_error: Array
    effective_chains: Array
    log_weight: Array


def log_partition(
    anchored: AnchoredPath,
    key: Key,
    temperatures: np.ndarray | Array,
    *,
    num_chains: int = 100,
    given: PyTree = None,
) -> Partition:
    """log Z_1 by annealed importance sampling from a density whose normaliser is known.

    Args:
      temperatures: `[T + 1]`, from 0 to 1.
      num_chains: at least 2, of which there is a spread.
      given: of the transitions, see `anneal`.

    Source: Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks", 2008,
    section 3, https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/.
    """
    check_temperatures(temperatures)
    require(num_chains >= 2, "num_chains", "must be at least 2", num_chains)
    start_key, key = jax.random.split(key)
    state = anchored.path.init(anchored.start(start_key, num_chains))
    betas = jnp.asarray(temperatures, jnp.result_type(float))
    _, found = anneal(key, anchored.path, state, betas, given)
    log_mean = log_mean_weight(found.log_weight)
    # Delta method: the error of log of a mean is that of the mean, relative to it.
    relative = jnp.exp(found.log_weight - log_mean)
    return Partition(
        anchored.log_normaliser + log_mean,
        relative.std(ddof=1) / jnp.sqrt(num_chains),
        effective_chains(found.log_weight),
        found.log_weight,
    )
