"""Metrics of a classifier's predictions: score, number of modes, divergence of modes."""

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.types import ArrayLike


def class_score(log_probs: ArrayLike) -> Measurement:
    """exp(mean_i KL(p(y | x_i) || p(y))) with p(y) = mean_i p(y | x_i), of `log_probs[N, C]`.

    The Inception score with another classifier: between 1 and the number of classes, high where
    each image is of one class and the classes are equally frequent. It does not look at real
    images, nor at how images of a class differ.

    Standard error by the delta method. The exponent is the mutual information of class and image,
    whose influence function is KL_i - mean KL: moving p(y) has no first-order effect, since
    mean_i KL(p(y | x_i) || q) is least at q = p(y).

    Source: Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen, "Improved Techniques for Training
    GANs", 2016, section 4, https://arxiv.org/abs/1606.03498.
    """
    logs = np.asarray(log_probs, np.float64)
    table = logs.ndim == 2 and len(logs) >= 2
    rule = "must be [N, classes] with N at least 2"
    require(table, "log_probs", rule, f"shape {logs.shape}", "Draw more samples.", DataError)
    normal = bool(np.allclose(np.exp(logs).sum(1), 1.0, atol=1e-4))
    rule = "must be logarithms of probabilities, which sum to 1"
    require(normal, "log_probs", rule, f"{np.exp(logs).sum(1)[:3]}", "", DataError)
    probs = np.exp(logs)
    marginal = probs.mean(0)
    # A class of probability 0 everywhere contributes nothing: 0 log 0.
    log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))
    ratio = np.where(probs > 0, logs, 0.0) - log_marginal
    kl = (probs * ratio).sum(1)
    score = float(np.exp(kl.mean()))
    error = score * kl.std(ddof=1) / np.sqrt(len(kl))
    return Measurement(score, float(error), len(kl))


def mode_count(classes: ArrayLike, num_classes: int) -> Measurement:
    """How many of the classes 0 .. C - 1 occur among those of generated images `classes[N]`.

    >>> mode_count([0, 2, 2], 4).value
    2.0
    """
    found = _classes("classes", classes, num_classes)
    return Measurement(float((np.bincount(found) > 0).sum()), None, len(found))


def mode_kl(
    classes: ArrayLike, reference: ArrayLike, num_classes: int, *, resamples: int = 200
) -> Measurement:
    """KL(q || p) in nats of the classes' shares among generated (q) and real (p) images: reverse.

    Where q equals p the estimate is above 0 by about (C - 1) (1 / N + 1 / M) / 2.

    Args:
      classes: `[N]`, of generated images.
      reference: `[M]`, of real images, in which every class must occur.
      resamples: of the bootstrap of q, whose deviation is the standard error.

    Source: Lin, Khetan, Fanti & Oh, "PacGAN: The power of two samples in generative adversarial
    networks", 2018, section 4.1 (reverse KL), https://arxiv.org/abs/1712.04086.

    >>> round(mode_kl([0, 0, 0, 1], [0, 1], 2).value, 4)  # 3/4 log 3/2 + 1/4 log 1/2
    0.1308
    """
    found = _classes("classes", classes, num_classes)
    real = np.bincount(_classes("reference", reference, num_classes), minlength=num_classes)
    absent = np.flatnonzero(real == 0).tolist()
    require(not absent, "reference", "must hold every class", f"none of {absent}", "", DataError)
    p = real / real.sum()

    def divergence(counts: np.ndarray) -> np.ndarray:
        q = counts / counts.sum(-1, keepdims=True)
        return (q * np.log(np.where(q > 0, q / p, 1.0))).sum(-1)

    counts = np.bincount(found, minlength=num_classes)
    # The delta method would return 0 where q equals p, since the divergence is least there.
    draws = np.random.default_rng(0).multinomial(len(found), counts / len(found), resamples)
    error = float(divergence(draws).std(ddof=1))
    return Measurement(float(divergence(counts)), error, len(found))


def _classes(name: str, classes: ArrayLike, num_classes: int) -> np.ndarray:
    array = np.asarray(classes)
    whole = array.ndim == 1 and array.size > 0 and array.dtype.kind in "iu"
    inside = whole and array.min() >= 0 and array.max() < num_classes
    rule = f"must be whole numbers [N] in 0 .. {num_classes - 1}, at least one"
    given = f"{array.dtype} of shape {array.shape}"
    require(bool(inside), name, rule, given, error=DataError)
    return array
