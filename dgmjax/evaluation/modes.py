"""Modes of a known mixture that samples cover, and how evenly."""

from typing import NamedTuple

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement, average


class ModeCoverage(NamedTuple):
    """What samples are of a mixture with known centres.

    Attributes:
      covered: modes with at least one good sample, which lies within the radius of its nearest
        centre.
      good: the share of good samples.
      reverse_kl: KL(modes of good samples || uniform) in nats; log of the number of modes, its
        largest value, where no sample is good. As an estimate it is about (modes - 1) / (2 good
        samples) too large.
    """

    covered: Measurement
    good: Measurement
    reverse_kl: Measurement


def mode_coverage(x: np.ndarray, centres: np.ndarray, radius: float) -> ModeCoverage:
    """Coverage of the modes at `centres[M, D]`, of equal weight, by samples `x[N, D]`.

    Source: Lin, Khetan, Fanti & Oh, "PacGAN: The Power of Two Samples in Generative Adversarial
    Networks", 2018, section 4.1, https://arxiv.org/abs/1712.04086: three standard deviations are
    the radius, and N is 2,500.

    >>> centres = np.array([[0.0, 0.0], [5.0, 0.0]])
    >>> found = mode_coverage(np.array([[0.1, 0.0], [2.0, 0.0]]), centres, radius=0.3)
    >>> found.covered.value, found.good.value, round(found.reverse_kl.value, 4)
    (1.0, 0.5, 0.6931)
    """
    x, centres = np.asarray(x, np.float64), np.asarray(centres, np.float64)
    require(radius > 0, "radius", "must be positive", radius)
    table = centres.ndim == 2 and centres.size > 0 and bool(np.isfinite(centres).all())
    rule = "must be [M, D], finite and not empty"
    require(table, "centres", rule, f"shape {centres.shape}", error=DataError)
    fits = x.ndim == 2 and x.shape[-1] == centres.shape[-1] and len(x) >= 1
    require(fits, "x", f"must be [N, {centres.shape[-1]}], as centres are", f"shape {x.shape}")
    distance = np.linalg.norm(x[:, None] - centres, axis=-1)
    good = distance.min(1) < radius
    counts = np.bincount(distance.argmin(1)[good], minlength=len(centres))
    # Numbers of all samples: how many of them are good differs between runs of one model.
    covered = Measurement(float((counts > 0).sum()), None, len(x))
    reverse_kl = Measurement(*_reverse_kl(counts), len(x))
    return ModeCoverage(covered, average(good.astype(np.float64)), reverse_kl)


def _reverse_kl(counts: np.ndarray) -> tuple[float, float | None]:
    """KL(modes || uniform) and its standard error."""
    total = int(counts.sum())
    if total == 0:
        return float(np.log(len(counts))), None
    share = counts[counts > 0] / total
    terms = np.log(share * len(counts))
    mean = (share * terms).sum()
    spread = (share * np.square(terms - mean)).sum()  # delta method
    return float(mean), float(np.sqrt(spread / total))
