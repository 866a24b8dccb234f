"""Flows over images `[H, W, C]`: RealNVP and Glow, both multi-scale."""

import math
from typing import Any, Literal

import flax.linen as nn

from dgmjax.bijectors.partitions import Split, channel, checkerboard
from dgmjax.bijectors.squeeze import Squeeze
from dgmjax.bijectors.transformers import Affine, Transformer
from dgmjax.errors import as_sizes, require
from dgmjax.models.flows.flow import Flow
from dgmjax.models.flows.layers import Composed, Fixed, MultiScaleLayer, Repeated
from dgmjax.models.flows.linear_layers import ActNormLayer, LinearLayer
from dgmjax.models.flows.network_layers import CouplingLayer
from dgmjax.nn.conv_resnet import ConvResNet

Shape = tuple[int, ...]


def _checked(event_shape: Shape, squeezes: int) -> Shape:
    shape = as_sizes("event_shape", event_shape)
    require(len(shape) == 3, "event_shape", "must be (height, width, channels)", event_shape)
    factor = 2**squeezes
    require(
        shape[0] % factor == 0 and shape[1] % factor == 0,
        "event_shape",
        f"must have a height and width that {factor} divides, to be squeezed {squeezes} times",
        event_shape,
        "Use fewer levels, or pad the images.",
    )
    return shape  # type: ignore[return-value]


def _squeezed(shape: Shape) -> Shape:
    return shape[0] // 2, shape[1] // 2, shape[2] * 4


def _kept(shape: Shape) -> Shape:
    """The part that continues to the next level when half of the channels go to the base."""
    return shape[0], shape[1], shape[2] // 2


def _assembled(levels: list, event_shape: Shape, base: nn.Module | None) -> Flow:
    # Levels leave behind parts of different shapes, so that the base is one flat vector.
    layer = MultiScaleLayer(tuple(tuple(level) for level in levels), event_shape)
    return Flow(event_shape=(math.prod(event_shape),), layers=(layer,), base=base)


def RealNVPImages(
    event_shape: Shape,
    levels: int = 2,
    *,
    channels: int = 64,
    blocks: int = 4,
    transformer: Transformer | None = None,
    base: nn.Module | None = None,
) -> Flow:
    """Multi-scale RealNVP: three checkerboard couplings, a squeeze, three channel couplings.

    After each level half of the channels go to the base; the last level has four checkerboard
    couplings. The conditioners are residual convolutional networks. Activation normalisation
    takes the place of the paper's batch normalisation, so that one image's density does not
    depend on the others.

    Args:
      event_shape: `(height, width, channels)`; both sides divisible by 2^(levels - 1).
      levels: scales, at least 1.
      channels: of the conditioners' hidden layers.
      blocks: residual blocks of each conditioner.
      transformer: `Affine(2.0)` if None.
      base: density of the flat base vector; standard normal if None.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, sections 3.4
    to 3.7, https://arxiv.org/abs/1605.08803.
    """
    require(levels >= 1, "levels", "must be at least 1", levels)
    shape = whole = _checked(event_shape, levels - 1)

    def couplings(split, count: int, shape: Shape) -> list[nn.Module]:
        parts: list[nn.Module] = []
        for i in range(count):
            network = ConvResNet((), channels, blocks)
            parts.append(
                CouplingLayer(shape, split(swap=bool(i % 2)), transformer or Affine(2.0), network)
            )
            parts.append(ActNormLayer(shape[-1], 3))
        return parts

    scales: list[list[nn.Module]] = []
    for _ in range(levels - 1):
        fine = couplings(checkerboard, 3, shape)
        shape = _squeezed(shape)
        scales.append([*couplings(channel, 3, shape), Fixed(Squeeze), *fine])
        shape = _kept(shape)
    scales.append(couplings(checkerboard, 4, shape))
    return _assembled(scales, whole, base)


def Glow(
    event_shape: Shape,
    levels: int = 3,
    steps: int = 32,
    *,
    channels: int = 512,
    transformer: Transformer | None = None,
    linear: Literal["lu", "full", "householder"] = "lu",
    base: nn.Module | None = None,
    unroll: Any = "auto",
    rematerialise: bool = False,
) -> Flow:
    """Glow: L levels of K steps, each activation normalisation, 1x1 convolution and coupling.

    The steps of a level share one compiled body. The prior of what leaves at a level, given what
    goes on, is a convolution that starts at N(0, I): here it is one more affine coupling of the
    channels, on the base side of the level.

    Args:
      event_shape: `(height, width, channels)`; both sides divisible by 2^levels.
      levels: L.
      steps: K.
      channels: of the conditioners' hidden layers: convolutions of 3x3, 1x1 and 3x3.
      transformer: of the couplings; `Affine(2.0)` if None.
      linear: parametrisation of the 1x1 convolutions.
      base: density of the flat base vector; standard normal if None.
      unroll, rematerialise: see `dgmjax.bijectors.Repeat`.

    Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    section 3 and Figure 2, https://arxiv.org/abs/1807.03039.
    """
    require(levels >= 1, "levels", "must be at least 1", levels)
    require(steps >= 1, "steps", "must be at least 1", steps)
    shape = whole = _checked(event_shape, levels)
    affine = transformer or Affine(2.0)
    # Stacked steps share their structure, and with it P of the LU factors: the steps of a level
    # start at one rotation, and levels differ by their seed.
    network = ConvResNet((), channels, 1, inner=1, residual=False)
    scales: list[list[nn.Module]] = []
    for level in range(levels):
        shape = _squeezed(shape)
        step = Composed(
            (
                CouplingLayer(shape, channel(), affine, network),
                LinearLayer(shape[-1], linear, 3, seed=level),
                ActNormLayer(shape[-1], 3),
            )
        )
        parts: list[nn.Module] = [Repeated(step, steps, unroll, rematerialise), Fixed(Squeeze)]
        if level < levels - 1:
            prior = CouplingLayer(shape, channel(), Affine(), ConvResNet((), shape[-1], 0))
            parts.insert(0, prior)
            shape = _kept(shape)
        scales.append(parts)
    return _assembled(scales, whole, base)


def checkerboard_couplings(
    event_shape: Shape, layers: int, channels: int, blocks: int, context_ndims: int = 1
) -> list[nn.Module]:
    """Couplings of the two colours of a board in turn, with convolutional conditioners."""
    split: list[Split] = [checkerboard(swap=bool(i % 2)) for i in range(layers)]
    network = ConvResNet((), channels, blocks)
    return [CouplingLayer(event_shape, s, Affine(2.0), network, context_ndims) for s in split]
