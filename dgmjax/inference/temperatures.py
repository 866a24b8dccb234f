"""Schedules of temperatures, 0 = b_0 < ... < b_T = 1."""

import math
from collections.abc import Callable

import jax
import numpy as np

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array


def linear_temperatures(count: int) -> np.ndarray:
    """0 = b_0 < ... < b_count = 1, evenly spaced.

    >>> linear_temperatures(4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    require_sizes(count=count)
    return np.linspace(0.0, 1.0, count + 1)


def sigmoid_temperatures(count: int, steepness: float = 4.0) -> np.ndarray:
    """Temperatures close together near 0 and 1: s(d (2 t / T - 1)), scaled to [0, 1].

    Source: Wu, Burda, Salakhutdinov & Grosse, "On the Quantitative Analysis of Decoder-Based
    Generative Models", 2017, section 4.1, https://arxiv.org/abs/1611.04273.
    """
    require_sizes(count=count)
    require(steepness > 0.0, "steepness", "must be positive", steepness)
    curve = 1.0 / (1.0 + np.exp(-steepness * np.linspace(-1.0, 1.0, count + 1)))
    return (curve - curve[0]) / (curve[-1] - curve[0])


def geometric_temperatures(count: int, ratio: float = 1000.0) -> np.ndarray:
    """Temperatures whose distance grows by a constant factor: b_t = ((1 + r)^(t / T) - 1) / r.

    Weights vary least where all steps are equally hard. If the precision of f_b grows from 1 to
    1 + r as 1 + b r, as in a linear model with little noise, the variance of the log ratio is
    proportional to (r / (1 + b r))^2, and its root, integrated over b, is the same for every step
    of this schedule. Where r is a guess, one too large costs little: the length grows as log r.

    Args:
      ratio: r, how much more precise the end is than the start, positive.

    Source: Gelman & Meng, "Simulating normalizing constants: from importance sampling to bridge
    sampling to path sampling", 1998, section 4.3, https://doi.org/10.1214/ss/1028905934.

    >>> geometric_temperatures(3, ratio=7.0).round(3).tolist()
    [0.0, 0.143, 0.429, 1.0]
    """
    require_sizes(count=count)
    require(0.0 < ratio < math.inf, "ratio", "must be a positive number", ratio)
    curve = np.expm1(np.log1p(ratio) * np.linspace(0.0, 1.0, count + 1)) / ratio
    return np.append(curve[:-1], 1.0)


def check_temperatures(temperatures: np.ndarray | Array) -> None:
    """Raises `DgmjaxError` unless temperatures increase from 0 to 1."""
    if isinstance(temperatures, jax.core.Tracer):
        return
    given = np.asarray(temperatures)
    sound = given.ndim == 1 and given.size >= 2 and given[0] == 0.0 and given[-1] == 1.0
    rule = "must be at least two numbers that increase from 0 to 1"
    require(sound and bool((np.diff(given) > 0.0).all()), "temperatures", rule, given)


Schedule = Callable[[int], np.ndarray]
SCHEDULES: dict[str, Schedule] = {
    "geometric": geometric_temperatures,
    "linear": linear_temperatures,
    "sigmoid": sigmoid_temperatures,
}
"""Schedules that are chosen by name; `adaptive_temperatures` needs a model."""
