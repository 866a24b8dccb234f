"""Structural similarity of images, and the diversity that it measures."""

import numpy as np

from dgmjax.errors import DataError, require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.types import ArrayLike

WINDOW, DEVIATION = 11, 1.5
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2


def ms_ssim(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Multi-scale structural similarity of pairs `[N, H, W]` or `[N, H, W, C]` in [0, 1], `[N]`.

    l_S^w_S prod_s cs_s^w_s over S scales, each half the size of the one before (means of 2x2
    pixels), with the luminance l = (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1) of the coarsest and
    the contrast and structure cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2) of all, averaged over the
    positions of an 11x11 Gaussian window that fits the image. Of the paper's five scales those
    stay at which the window fits (two for 28x28), their weights divided by their sum. Negative
    means of cs, of which there is no power, count as 0.

    Source: Wang, Simoncelli & Bovik, "Multiscale Structural Similarity for Image Quality
    Assessment", 2003, Eq. 7, https://doi.org/10.1109/ACSSC.2003.1292216.

    >>> float(ms_ssim(np.eye(16)[None], np.eye(16)[None])[0])
    1.0
    """
    a, b = _images("x", x), _images("y", y)
    rule = f"must have the shape of `x`, {a.shape}"
    require(a.shape == b.shape, "y", rule, b.shape, error=DataError)
    sides = [min(a.shape[1:3]) // 2**scale for scale in range(len(WEIGHTS))]
    num = sum(side >= WINDOW for side in sides)
    weights = np.array(WEIGHTS[:num]) / sum(WEIGHTS[:num])
    result = np.ones(len(a))
    for scale, weight in enumerate(weights):
        luminance, structure = _similarity(a, b)
        last = scale == num - 1
        term = luminance * structure if last else structure
        result *= np.maximum(term.mean((1, 2, 3)), 0.0) ** weight
        if not last:
            a, b = _halved(a), _halved(b)
    return result


def diversity(images: ArrayLike, *, seed: int = 0) -> Measurement:
    """Mean `ms_ssim` of random disjoint pairs of `images[N, H, W, C]`: low where they differ.

    It means something beside the same number of real images: a model whose pairs are more similar
    than those of the data has lost some of their variety. Noise is different, too, and scores low.

    Raises:
      DataError: fewer than 4 images, values outside of [0, 1], sides below 11 pixels.

    Source: Odena, Olah & Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs",
    2017, section 4.2, https://arxiv.org/abs/1610.09585.
    """
    array = _images("images", images)
    rule = "must be at least 4 images"
    require(len(array) >= 4, "images", rule, len(array), "Draw more samples.", DataError)
    order = np.random.default_rng(seed).permutation(len(array))
    half = len(array) // 2
    # Disjoint pairs are independent, which makes the standard error that of a mean.
    return average(ms_ssim(array[order[:half]], array[order[half : 2 * half]]))


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a = _windowed(a * a) - mean_a**2
    variance_b = _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    luminance = (2.0 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2.0 * covariance + C2) / (variance_a + variance_b + C2)


def _windowed(x: np.ndarray) -> np.ndarray:
    """Gaussian means over all windows inside of the image."""
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / DEVIATION) ** 2)
    taps /= taps.sum()
    for axis in (1, 2):
        views = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis)
        x = views @ taps
    return x


def _halved(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    cut = x[:, : 2 * height, : 2 * width]
    return cut.reshape(len(x), height, 2, width, 2, -1).mean((2, 4))


def _images(name: str, images: ArrayLike) -> np.ndarray:
    """`[N, H, W, C]` in float64."""
    array = np.asarray(images, np.float64)
    array = array[..., None] if array.ndim == 3 else array
    sized = array.ndim == 4 and array.size > 0 and min(array.shape[1:3]) >= WINDOW
    rule = f"must be [N, H, W] or [N, H, W, C] with sides of at least {WINDOW} pixels"
    require(sized, name, rule, f"shape {array.shape}", error=DataError)
    inside = bool(array.min() >= 0.0 and array.max() <= 1.0)  # false for NaN
    given = f"values between {array.min():g} and {array.max():g}"
    require(inside, name, "must hold values in [0, 1]", given, error=DataError)
    return array
