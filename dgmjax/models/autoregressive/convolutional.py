"""PixelCNN, gated PixelCNN, PixelCNN++ and WaveNet: recipes over causal layers."""

import math

import flax.linen as nn

from dgmjax.distributions.families import (
    Bernoulli,
    Categorical,
    DiscretisedLogisticMixture,
    Family,
)
from dgmjax.errors import require
from dgmjax.models.autoregressive.model import AutoregressiveModel
from dgmjax.nn.causal import CausalNetwork, Chain, Pointwise, Residual
from dgmjax.nn.causal_conv import CausalConv
from dgmjax.nn.conditioning import AddContext
from dgmjax.nn.embeddings import Table, scaled
from dgmjax.nn.gated import WaveNetStack
from dgmjax.nn.masked_conv import RasterConv, masked_convolution
from dgmjax.nn.stream_blocks import GatedBlock, GatedResidualBlock
from dgmjax.nn.two_streams import RowConv, TwoStreams
from dgmjax.types import Activation

BERNOULLI, MU_LAW_CODES = Bernoulli(), Categorical(256)


def PixelCNN(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 16,
    blocks: int = 7,
    kernel_size: int = 3,
    first_kernel: int = 7,
    head_features: int = 32,
    context_features: int = 0,
    site_bias: bool = False,
    activation: Activation = nn.relu,
    **options,
) -> AutoregressiveModel:
    """A masked convolution of type A, residual blocks with masks of type B, and a 1x1 head.

    Each block maps 2h features to h, convolves h, and maps back to 2h. Images with several
    channels and a family of scalars are ordered R, G, B within a pixel.

    Args:
      event_shape: (H, W, C).
      family: of a scalar, or of a pixel's C channels at once.
      features: h.
      blocks: residual blocks.
      kernel_size, first_kernel: of the blocks and of the first layer, odd.
      head_features: of the two 1x1 layers before the parameters.
      context_features: length of a context that is added in each block (a one-hot class), 0 for
        none.
      site_bias: see `nn.CausalNetwork`.
      activation: of the blocks and the head.
      **options: of `AutoregressiveModel`.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
    sections 3.3 to 3.5, Figure 5 and Table 1.
    """
    sites, embed = _image(event_shape, family)
    _positive(features=features, blocks=blocks, head_features=head_features)
    act = Pointwise(activation)
    layers: list[nn.Module] = []
    for _ in range(blocks):
        block = [act, _one_by_one(features, sites), act]
        block += [masked_convolution(features, sites, kernel_size)]
        if context_features:
            block.append(AddContext(features, context_features, 0, len(sites)))
        block += [act, _one_by_one(2 * features, sites)]
        layers.append(Residual(Chain(tuple(block))))
    for _ in range(2):
        layers += [act, _one_by_one(head_features, sites)]
    first = masked_convolution(2 * features, sites, first_kernel, "A")
    network = _network(
        event_shape, family, sites, embed, first, (*layers, act), context_features, site_bias
    )
    return AutoregressiveModel(
        event_shape, network, family, context_features=context_features, **options
    )


def GatedPixelCNN(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 32,
    blocks: int = 7,
    kernel_size: int = 3,
    first_kernel: int = 7,
    head_features: int = 32,
    context_features: int = 0,
    site_bias: bool = False,
    activation: Activation = nn.relu,
    **options,
) -> AutoregressiveModel:
    """Vertical and horizontal stacks of gated convolutions, without a blind spot.

    Args: see `PixelCNN`; `features` are those of each stack, and the context conditions every
    gate of both.

    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016,
    sections 2.1 to 2.3.
    """
    sites, embed = _image(event_shape, family)
    _positive(features=features, blocks=blocks, head_features=head_features)
    half = first_kernel // 2
    require(
        first_kernel % 2 == kernel_size % 2 == 1 and half >= 1,
        "first_kernel",
        "and `kernel_size` must be odd, and the first at least 3",
        (first_kernel, kernel_size),
    )
    first = TwoStreams(
        sites,
        RowConv(_wide(features, sites), half, (half, half)),
        RasterConv(features, sites, (0, 0, 0), half, centre=False),
        tuple(GatedBlock(features, sites, kernel_size, context_features) for _ in range(blocks)),
    )
    act = Pointwise(activation)
    layers = (act, _one_by_one(head_features, sites), act)
    network = _network(
        event_shape, family, sites, embed, first, layers, context_features, site_bias
    )
    return AutoregressiveModel(
        event_shape, network, family, context_features=context_features, **options
    )


def PixelCNNPlusPlus(
    event_shape: tuple[int, ...],
    family: Family | None = None,
    *,
    features: int = 64,
    blocks: int = 6,
    context_features: int = 0,
    site_bias: bool = False,
    **options,
) -> AutoregressiveModel:
    """Down-shifted and down-right-shifted gated residual layers with shortcuts.

    The blocks of the second half read those of the first. Left out of the paper's network:
    down- and up-sampling, and dropout.

    Args: see `PixelCNN`.
      family: by default a mixture of 10 discretised logistics whose channels depend on those
        before, for 256 levels.
      blocks: in all, an even number (6 for each resolution in the paper).

    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with
    Discretized Logistic Mixture Likelihood and Other Modifications", 2017, section 2.
    """
    if family is None:
        family = DiscretisedLogisticMixture(10, channels=event_shape[-1])
    sites, embed = _image(event_shape, family)
    _positive(features=features, blocks=blocks)
    require(blocks % 2 == 0, "blocks", "must be even", blocks)
    first = TwoStreams(
        sites,
        RowConv(_wide(features, sites), 1, (1, 1)),
        RasterConv(features, sites, (1, 1, 1), 1, centre=False),
        tuple(GatedResidualBlock(features, sites, context_features) for _ in range(blocks)),
        shortcuts=True,
    )
    network = _network(
        event_shape, family, sites, embed, first, (Pointwise(nn.elu),), context_features, site_bias
    )
    return AutoregressiveModel(
        event_shape, network, family, context_features=context_features, **options
    )


def WaveNet(
    event_shape: tuple[int, ...],
    family: Family = MU_LAW_CODES,
    *,
    channels: int = 64,
    skip_channels: int = 64,
    stacks: int = 2,
    layers: int = 10,
    kernel_size: int = 2,
    context_features: int = 0,
    local_features: int = 0,
    activation: Activation = nn.relu,
    **options,
) -> AutoregressiveModel:
    """Stacks of gated causal convolutions with dilations 1, 2, .. 2^(layers - 1).

    Categories (mu-law codes) enter by a learned table, other levels scaled to [-1, 1] and through
    a causal convolution.

    Args:
      event_shape: (T,).
      family: `Categorical(256)` after mu-law, or `DiscretisedLogisticMixture(10, 65536)`.
      channels, skip_channels: of the residual stream and of the skip connections.
      stacks, layers: `stacks` times `layers` convolutions; the receptive field is
        1 + stacks (kernel_size - 1) (2^layers - 1) samples.
      kernel_size: taps of each convolution.
      context_features: length of a global context (a one-hot speaker or digit), 0 for none.
      local_features: length of a local context at each sample, 0 for none; the model's context
        is then `nn.join_context(global, local)`.
      **options: of `AutoregressiveModel`.

    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, section 2.
    """
    require(
        len(event_shape) == 1 and family.event_ndims == 0,
        "event_shape",
        "must be (T,), a sequence of scalars",
        event_shape,
    )
    _positive(channels=channels, skip_channels=skip_channels, stacks=stacks, layers=layers)
    embed: nn.Module
    first: tuple[nn.Module, ...] = ()
    if isinstance(family, Categorical):
        embed = Table(family.levels, channels)
    else:
        embed, first = scaled(family), (CausalConv(channels, 2),)
    act = Pointwise(activation)
    dilations = tuple(2**i for i in range(layers)) * stacks
    stack = WaveNetStack(
        channels, skip_channels, dilations, kernel_size, context_features, local_features
    )
    network = CausalNetwork(
        layers=(*first, stack, act, Pointwise(nn.Dense(skip_channels)), act),
        num_params=family.num_params,
        embed=embed,
        event_shape=event_shape,
        context_features=context_features,
        local_features=local_features,
    )
    total = context_features + event_shape[0] * local_features
    return AutoregressiveModel(event_shape, network, family, context_features=total, **options)


def _network(event_shape, family, sites, embed, first, layers, context_features, site_bias):
    return CausalNetwork(
        layers=layers,
        num_params=family.num_params,
        embed=embed,
        first=first,
        event_shape=event_shape,
        channels=event_shape[-1] if family.event_ndims else None,
        sites=sites,
        context_features=context_features,
        site_bias=site_bias,
    )


def _image(event_shape: tuple[int, ...], family: Family) -> tuple[tuple[int, ...], nn.Module]:
    """The sites, (H, W) or with scalar channels (H, W, C), and how values are read."""
    require(
        len(event_shape) == 3 and min(event_shape) >= 1,
        "event_shape",
        "must be that of an image, (height, width, channels)",
        event_shape,
    )
    height, width, channels = event_shape
    if family.event_ndims:
        require(
            tuple(family.site_shape) == (channels,),
            "family",
            f"must cover the {channels} channels of a pixel",
            f"sites of shape {family.site_shape}",
        )
        return (height, width), scaled(family)
    sites = (height, width) if channels == 1 else (height, width, channels)
    return sites, scaled(family)


def _one_by_one(features: int, sites: tuple[int, ...]) -> nn.Module:
    """A 1x1 convolution; with several channels of a pixel, a masked one."""
    if len(sites) == 2:
        return Pointwise(nn.Dense(features))
    return masked_convolution(features, sites, 1)


def _wide(features: int, sites: tuple[int, ...]) -> int:
    return features * math.prod(sites[2:])


def _positive(**sizes: int) -> None:
    for name, size in sizes.items():
        require(size >= 1, name, "must be at least 1", size)
