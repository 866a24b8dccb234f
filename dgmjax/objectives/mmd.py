"""Maximum mean discrepancy between two sets of samples."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.types import Array

Kernel = Literal["rbf", "imq", "rational_quadratic", "gaussian_mixture"]
IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
EXPONENTS = (0.2, 0.5, 1.0, 2.0, 5.0)
DEVIATIONS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)


def squared_distances(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2 of `x[N, D]` and `y[M, D]`, `[N, M]`."""
    x, y = as_float(x), as_float(y)
    # Squares of points far from the origin would leave nothing of their differences.
    middle = jax.lax.stop_gradient(0.5 * (x.mean(0) + y.mean(0)))
    x, y = x - middle, y - middle
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    squared = (x**2).sum(-1)[:, None] - 2.0 * product + (y**2).sum(-1)[None]
    # Cancellation may leave a small negative number where two points are equal.
    return jnp.maximum(squared, 0.0)


def gram(x: Array, y: Array, kernel: Kernel = "imq", bandwidth: float | None = None) -> Array:
    """k(x_i, y_j), `[N, M]`.

    "rbf": exp(-|x - y|^2 / (2 h)), h = D by default. "imq", the inverse multiquadratic: sum_s s h /
    (s h + |x - y|^2) over s = 0.1, 0.2, 0.5, 1, 2, 5, 10, h = 2 D by default, the expected squared
    distance of two standard normal points. "rational_quadratic": sum_a (1 + |x - y|^2 / (2 a h))^-a
    over a = 0.2, 0.5, 1, 2, 5, and "gaussian_mixture": sum_s exp(-|x - y|^2 / (2 s^2 h)) over
    s = 2, 5, 10, 20, 40, 80, both with h = 1 by default.

    Sources: Tolstikhin, Bousquet, Gelly & Schoelkopf, "Wasserstein Auto-Encoders", 2018, section 4,
    https://arxiv.org/abs/1711.01558; Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD
    GANs", 2018, section 4, https://arxiv.org/abs/1801.01401; Li, Swersky & Zemel, "Generative
    Moment Matching Networks", 2015, section 5, https://arxiv.org/abs/1502.02761.
    """
    kernels = get_args(Kernel)
    require(kernel in kernels, "kernel", f"must be one of {sorted(kernels)}", repr(kernel))
    require(bandwidth is None or bandwidth > 0, "bandwidth", "must be positive", bandwidth)
    squared, size = squared_distances(x, y), x.shape[-1]
    if kernel == "rbf":
        return jnp.exp(-squared / (2.0 * (bandwidth or size)))
    if kernel == "rational_quadratic":
        scaled = squared / (2.0 * (bandwidth or 1.0))
        return jnp.stack([jnp.exp(-a * jnp.log1p(scaled / a)) for a in EXPONENTS]).sum(0)
    if kernel == "gaussian_mixture":
        scaled = squared / (2.0 * (bandwidth or 1.0))
        return jnp.stack([jnp.exp(-scaled / s**2) for s in DEVIATIONS]).sum(0)
    h = bandwidth or 2.0 * size
    return jnp.stack([s * h / (s * h + squared) for s in IMQ_SCALES]).sum(0)


def mmd(
    x: Array,
    y: Array,
    weights: Array | None = None,
    examples: Array | None = None,
    *,
    y_weights: Array | None = None,
    strata: Array | None = None,
    kernel: Kernel = "imq",
    bandwidth: float | None = None,
    biased: bool = False,
) -> Array:
    """MMD^2 = E k(x, x') - 2 E k(x, y) + E k(y, y') over pairs of different samples (unbiased).

    Args:
      x: `[N, D]`, N at least 2.
      y: `[M, D]`, M at least 2.
      weights: of the rows of x, `[N]`, not negative: 0 for padding.
      examples: `[N]`; rows of x with the same number are not different samples (the components of
        one posterior). Every row is its own if None.
      y_weights: of the rows of y, `[M]`, not negative.
      strata: `[M]`; rows of y with the same number are independent draws of one component of a
        mixture, at least two of each, whose weights are those of the mixture (stratified
        sampling: a gradient reaches the weights).
      kernel, bandwidth: see `gram`.
      biased: over all pairs, a sample with itself, too: the squared distance of the two empirical
        means, at least 0.

    Returns:
      a scalar, which, unless it is biased, may be negative where the two agree.

    Source: Gretton, Borgwardt, Rasch, Schoelkopf & Smola, "A Kernel Two-Sample Test", 2012, Eq. 3
    (unbiased) and Eq. 5, https://jmlr.org/papers/v13/gretton12a.html.
    """
    for name, points in (("x", x), ("y", y)):
        sound = points.ndim == 2 and len(points) >= 2
        require(sound, name, "must be [N, D] with N at least 2", f"shape {points.shape}")
    w = jnp.ones(len(x)) if weights is None else weights
    which = jnp.arange(len(x)) if examples is None else examples
    # A sample beside itself has the largest kernel value, whatever the distribution: such pairs
    # would bias the estimate upwards.
    pairs = w[:, None] * w[None]
    pairs = pairs if biased else pairs * (which[:, None] != which[None])
    tiny = 1e-12
    xx = (pairs * gram(x, x, kernel, bandwidth)).sum() / jnp.maximum(pairs.sum(), tiny)
    v = jnp.ones(len(y)) if y_weights is None else y_weights
    y_pairs = v[:, None] * v[None]
    y_pairs = y_pairs if biased else y_pairs * (1.0 - jnp.eye(len(y)))
    if strata is not None and not biased:  # n (n - 1) pairs of n draws of a component stand for n^2
        same = strata[:, None] == strata[None]
        n = same.sum(1)
        y_pairs = y_pairs * jnp.where(same, n / jnp.maximum(n - 1, 1), 1.0)
    yy = (y_pairs * gram(y, y, kernel, bandwidth)).sum() / jnp.maximum(y_pairs.sum(), tiny)
    xy = (w[:, None] * v[None] * gram(x, y, kernel, bandwidth)).sum()
    xy = xy / jnp.maximum(w.sum() * v.sum(), tiny)
    return xx - 2.0 * xy + yy
