"""Gaussian windows: grids of filters that read or write a small patch of an image."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.distributions.families import bounded
from dgmjax.errors import require
from dgmjax.nn.dense import Dense
from dgmjax.types import Array

LOG_BOUND = 10.0


def gaussian_filters(centre: Array, stride: Array, variance: Array, num: int, size: int) -> Array:
    """F `[..., num, size]`: F_ia proportional to exp(-(a - mu_i)^2 / (2 variance)), sum_a F_ia = 1.

    mu_i = centre + (i - num / 2 - 1/2) stride for i = 1 .. num, and pixels a = 1 .. size, with
    parameters `[...]`. Rows sum to 1 also where a filter lies beside the image.

    Source: Gregor, Danihelka, Graves, Rezende & Wierstra, "DRAW: A Recurrent Neural Network For
    Image Generation", 2015, Eq. 19, 20, 25, 26, https://arxiv.org/abs/1502.04623.

    >>> centred = gaussian_filters(jnp.float32(2.0), jnp.float32(1.0), jnp.float32(0.01), 3, 3)
    >>> centred.round(3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    index = jnp.arange(1, num + 1) - num / 2 - 0.5
    mean = jnp.asarray(centre)[..., None] + index * jnp.asarray(stride)[..., None]
    pixel = jnp.arange(1, size + 1, dtype=jnp.float32)
    # A softmax over the pixels is the normalised Gaussian, also where every exp would underflow.
    distance = (pixel - mean[..., None]) ** 2
    return jax.nn.softmax(-distance / (2.0 * jnp.asarray(variance)[..., None, None]), -1)


@dataclasses.dataclass(frozen=True)
class Window:
    """Filters over rows and columns, and an intensity gamma.

    Attributes:
      rows: F_Y `[..., N, height]`.
      columns: F_X `[..., N, width]`.
      intensity: gamma `[...]`.
    """

    rows: Array
    columns: Array
    intensity: Array

    def read(self, image: Array) -> Array:
        """gamma F_Y x F_X^T: `[..., height, width, C]` to `[..., N, N, C]` (Eq. 27)."""
        patch = jnp.einsum("...nh,...hwc,...mw->...nmc", self.rows, image, self.columns)
        return self.intensity[..., None, None, None] * patch

    def write(self, patch: Array) -> Array:
        """F_Y^T w F_X / gamma: `[..., N, N, C]` to `[..., height, width, C]` (Eq. 29)."""
        image = jnp.einsum("...nh,...nmc,...mw->...hwc", self.rows, patch, self.columns)
        return image / self.intensity[..., None, None, None]


class WindowHead(nn.Module):
    """The window that a state h `[..., F]` determines, by five numbers linear in h.

    (g_X, g_Y, log sigma^2, log delta, log gamma); at zero the grid covers the whole image.

    Attributes:
      size: N, filters along a side.
      height, width: of the image.

    Source: Gregor, Danihelka, Graves, Rezende & Wierstra, "DRAW: A Recurrent Neural Network For
    Image Generation", 2015, Eq. 21 to 24, https://arxiv.org/abs/1502.04623.
    """

    size: int
    height: int
    width: int

    @nn.compact
    def __call__(self, h: Array) -> Window:
        require(self.size >= 1, "size", "must be at least 1", self.size)
        raw = Dense(5)(h)
        across, down, log_variance, log_stride, log_intensity = (raw[..., i] for i in range(5))
        # Bounded, since a state of an untrained network may ask for exp of anything, and `write`
        # divides by the intensity.
        exp = lambda a: jnp.exp(bounded(a, LOG_BOUND))
        # At zero the outermost filters stand on the first and last pixel of the longer side.
        longest = max(self.height, self.width)
        stride = (longest - 1) / max(self.size - 1, 1) * exp(log_stride)
        variance = exp(log_variance)
        return Window(
            gaussian_filters(
                (self.height + 1) / 2 * (down + 1), stride, variance, self.size, self.height
            ),
            gaussian_filters(
                (self.width + 1) / 2 * (across + 1), stride, variance, self.size, self.width
            ),
            exp(log_intensity),
        )
