"""Networks over the pixels of an image: PixelCNN, gated, PixelCNN++, Row LSTM, Diagonal BiLSTM."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import flax.linen as nn

from dgmjax.distributions.families import Bernoulli, DiscretisedLogisticMixture, Family
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.autoregressive.model import AutoregressiveModel
from dgmjax.nn.autoregressive.attention import Positions
from dgmjax.nn.autoregressive.causal import (
    CausalNetwork,
    Chain,
    Pointwise,
    Residual,
    dropout_layers,
)
from dgmjax.nn.autoregressive.masked_conv import RasterConv, masked_convolution
from dgmjax.nn.autoregressive.pixel_lstm import (
    DiagonalBiLSTM as DiagonalBiLSTMLayer,
    RowLSTM as RowLSTMLayer,
)
from dgmjax.nn.autoregressive.pixelcnn_blocks import GatedBlock, GatedResidualBlock
from dgmjax.nn.autoregressive.pixelcnn_scales import HalvedStreams
from dgmjax.nn.autoregressive.pixelcnn_streams import RowConv, TwoStreams, mirrored
from dgmjax.nn.conditioning import AddContext
from dgmjax.nn.dropout import require_rate
from dgmjax.nn.embeddings import scaled
from dgmjax.types import Activation

BERNOULLI = Bernoulli()


def PixelCNN(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 16,
    blocks: int = 7,
    kernel_size: int = 3,
    first_kernel: int = 7,
    head_features: int = 32,
    dropout: float = 0.0,
    context_features: int = 0,
    local_features: int = 0,
    site_bias: bool = False,
    positions: bool = False,
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
      dropout: rate, in training, of what the convolution of a block returns.
      context_features: length of a context that is added in each block (a one-hot class), 0 for
        none.
      local_features: length of a context of each site, added in the same places, 0 for none; the
        model's context is then `nn.join_context(shared, local)`.
      site_bias: see `nn.CausalNetwork`.
      positions: add a learned vector for each pixel to the features after the first layer. On
        binary MNIST it is worth more than 2 nats after half an epoch; the paper has none.
      activation: of the blocks and the head.
      **options: of `AutoregressiveModel`.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
    sections 3.3 to 3.5, Figure 5 and Table 1, https://arxiv.org/abs/1601.06759.
    """
    sites, embed = _image(event_shape, family)
    require_sizes(features=features, blocks=blocks, head_features=head_features)
    act = Pointwise(activation)
    noise = dropout_layers(dropout)
    layers: list[nn.Module] = []
    for _ in range(blocks):
        # Activations come first, so that the residual stream is a plain sum that nothing clips.
        block = [act, _one_by_one(features, sites), act]
        block += [masked_convolution(features, sites, kernel_size)]
        if context_features or local_features:
            block.append(AddContext(features, context_features, local_features, len(sites)))
        block += [act, *noise, _one_by_one(2 * features, sites)]
        layers.append(Residual(Chain(tuple(block))))
    layers += _head(2, head_features, sites, activation)
    first = masked_convolution(2 * features, sites, first_kernel, "A")
    layers = [*_positions(positions, sites, 2 * features), *layers]
    contexts = context_features, local_features
    return _model(event_shape, family, sites, embed, first, layers, contexts, site_bias, options)


def GatedPixelCNN(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 32,
    blocks: int = 7,
    kernel_size: int = 3,
    first_kernel: int = 7,
    head_features: int = 32,
    dropout: float = 0.0,
    context_features: int = 0,
    site_bias: bool = False,
    positions: bool = False,
    activation: Activation = nn.relu,
    **options,
) -> AutoregressiveModel:
    """Vertical and horizontal stacks of gated convolutions, without a blind spot.

    Args: see `PixelCNN`; `features` are those of each stack, and the context conditions every
    gate of both. The two streams are the first layer.

    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016,
    sections 2.1 to 2.3, https://arxiv.org/abs/1606.05328.
    """
    sites, embed = _image(event_shape, family)
    require_sizes(features=features, blocks=blocks, head_features=head_features)
    require_rate("dropout", dropout)
    # The first layers are the strict ones. Rows of the vertical stack are those above; the
    # horizontal stack adds what is left in the own row. Together they see every pixel before the
    # own one, where a stack of masked square kernels leaves out a wedge to the right.
    half = first_kernel // 2
    require(
        first_kernel % 2 == kernel_size % 2 == 1 and half >= 1 and kernel_size >= 1,
        "first_kernel",
        "and `kernel_size` must be odd and positive, and the first at least 3",
        (first_kernel, kernel_size),
    )
    first = TwoStreams(
        sites,
        RowConv(_wide(features, sites), half, (half, half)),
        RasterConv(features, sites, (0, 0, 0), half, centre=False),
        tuple(
            GatedBlock(features, sites, kernel_size, context_features, dropout)
            for _ in range(blocks)
        ),
    )
    layers = [*_positions(positions, sites, features), *_head(1, head_features, sites, activation)]
    contexts = context_features, 0
    return _model(event_shape, family, sites, embed, first, layers, contexts, site_bias, options)


def PixelCNNPlusPlus(
    event_shape: tuple[int, ...],
    family: Family | None = None,
    *,
    features: int = 64,
    blocks: int = 6,
    resolutions: int = 1,
    dropout: float = 0.0,
    context_features: int = 0,
    site_bias: bool = False,
    positions: bool = False,
    **options,
) -> AutoregressiveModel:
    """Down-shifted and down-right-shifted gated residual layers with shortcuts.

    The blocks of the second half read those of the first. Of several resolutions each has such
    blocks, the coarser ones between the halves of the finer (`nn.HalvedStreams`). The paper's
    network for 32x32 images has `features=160, blocks=10, resolutions=3, dropout=0.5`.

    Args: see `PixelCNN`.
      family: by default a mixture of 10 discretised logistics whose channels depend on those
        before, for 256 levels.
      blocks: at each resolution, an even number; all but the coarsest have one more, which reads
        what the first reads.
      resolutions: each half as high and wide as the one before.
      dropout: rate, in training, between the two convolutions of a block (0.5 in the paper).

    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
    Logistic Mixture Likelihood and Other Modifications", 2017, section 2,
    https://arxiv.org/abs/1701.05517.
    """
    if family is None:
        family = DiscretisedLogisticMixture(10, channels=_of_an_image(event_shape)[-1])
    sites, embed = _image(event_shape, family)
    require_sizes(features=features, blocks=blocks, resolutions=resolutions)
    require_rate("dropout", dropout)
    require(blocks % 2 == 0, "blocks", "must be even", blocks)
    halves = 2 ** (resolutions - 1)
    rule = f"must have a height and width divisible by {halves} for {resolutions} resolutions"
    require(sites[0] % halves == 0 == sites[1] % halves, "event_shape", rule, event_shape)
    scale = sites[0] // halves, sites[1] // halves, *sites[2:]
    block = partial(
        GatedResidualBlock, features, context_features=context_features, dropout=dropout
    )
    half = blocks // 2
    layers: tuple[Any, ...] = tuple(block(scale) for _ in range(blocks))
    shortcuts = mirrored(half, half)
    for _ in range(resolutions - 1):  # from the coarsest
        scale = 2 * scale[0], 2 * scale[1], *scale[2:]
        halved = HalvedStreams(features, scale, layers, shortcuts)
        early, late = ([block(scale) for _ in range(n)] for n in (half, half + 1))
        layers, shortcuts = (*early, halved, *late), mirrored(half, half + 1, between=1)
    first = TwoStreams(
        sites,
        RowConv(_wide(features, sites), 1, (1, 1)),
        RasterConv(features, sites, (1, 1, 1), 1, centre=False),
        layers,
        shortcuts,
    )
    rest = [*_positions(positions, sites, features), *_head(0, features, sites, nn.elu)]
    contexts = context_features, 0
    return _model(event_shape, family, sites, embed, first, rest, contexts, site_bias, options)


def RowLSTM(event_shape: tuple[int, ...], family: Family = BERNOULLI, **options):
    """Row LSTM layers with residual connections; see `_pixel_rnn` for the arguments.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
    sections 3.1 and 3.3, Table 1, https://arxiv.org/abs/1601.06759.
    """
    return _pixel_rnn(RowLSTMLayer, event_shape, family, **options)


def DiagonalBiLSTM(event_shape: tuple[int, ...], family: Family = BERNOULLI, **options):
    """Diagonal BiLSTM layers with residual connections; see `_pixel_rnn` for the arguments.

    Site (i, j) of an image of width W reads every pixel before it but one: the last of the row
    above, (i - 1, W - 1), as long as j + first_kernel // 2 < W - 1. The layers see all features
    up to row i - 1 and, of row i, those up to j; but the first convolution is strict (mask A),
    so that the features of (i - 1, W - 1) do not hold that pixel, and only those of row i within
    its reach do. This follows from the layers of the paper's Table 1 (a 7x7 convolution of type
    A, then layers whose right half is shifted down by a row), whatever the number of layers. A
    `first_kernel` of 2 W - 1 leaves no pixel out.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016,
    sections 3.2 and 3.3, Table 1, https://arxiv.org/abs/1601.06759.
    """
    return _pixel_rnn(DiagonalBiLSTMLayer, event_shape, family, **options)


def _pixel_rnn(
    layer,
    event_shape: tuple[int, ...],
    family: Family,
    *,
    features: int = 16,
    layers: int = 7,
    first_kernel: int = 7,
    head_features: int = 32,
    context_features: int = 0,
    site_bias: bool = False,
    positions: bool = False,
    **options,
) -> AutoregressiveModel:
    """A masked convolution of type A, residual recurrent layers, and a 1x1 head.

    Args:
      event_shape: (H, W, 1), or (H, W, C) with a family of C channels.
      features: h, units of a layer; the residual stream has 2h.
      layers: recurrent layers.
      first_kernel: size of the first convolution.
      head_features: of the two 1x1 layers before the parameters.
      context_features: length of a context that is added to the residual stream first.
      site_bias, positions: see `PixelCNN`.
      options: of `AutoregressiveModel`.
    """
    event_shape = _of_an_image(event_shape)
    require(
        event_shape[2] == 1 or family.event_ndims == 1,
        "event_shape",
        "must be (height, width, 1), or (height, width, channels) with a family of channels",
        event_shape,
    )
    require_sizes(features=features, layers=layers, head_features=head_features)
    sites, embed = _image(event_shape, family)
    parts = _positions(positions, sites, 2 * features)
    if context_features:
        parts.append(AddContext(2 * features, context_features, 0, 2))
    # A recurrent layer has h units and the stream 2h: a 1x1 layer leads back into it.
    for _ in range(layers):
        up = _one_by_one(2 * features, sites)
        parts.append(Residual(Chain((layer(features, sites), up))))
    first = masked_convolution(2 * features, sites, first_kernel, "A")
    parts += _head(2, head_features, sites, nn.relu)
    contexts = context_features, 0
    return _model(event_shape, family, sites, embed, first, parts, contexts, site_bias, options)


def _model(
    event_shape: tuple[int, ...],
    family: Family,
    sites: tuple[int, ...],
    embed: nn.Module,
    first: nn.Module,
    layers: list[nn.Module],
    contexts: tuple[int, int],
    site_bias: bool,
    options: dict[str, Any],
) -> AutoregressiveModel:
    """The model of an image whose pixels go through `first`, then `layers`.

    `contexts` are the lengths of the context: of the whole image, and of each site.
    """
    context_features, local_features = contexts
    network = CausalNetwork(
        layers=tuple(layers),
        num_params=family.num_params,
        embed=embed,
        first=first,
        event_shape=tuple(event_shape),
        channels=event_shape[-1] if family.event_ndims else None,
        sites=sites,
        context_features=context_features,
        local_features=local_features,
        site_bias=site_bias,
    )
    total = context_features + math.prod(sites) * local_features
    return AutoregressiveModel(
        tuple(event_shape), network, family, context_features=total, **options
    )


def _positions(wanted: bool, sites: tuple[int, ...], features: int) -> list[nn.Module]:
    """The layer of position vectors, or none."""
    return [Positions(sites, features)] if wanted else []


def _head(
    count: int, features: int, sites: tuple[int, ...], activation: Activation
) -> list[nn.Module]:
    """`count` 1x1 layers between activations, before the parameters."""
    layers: list[nn.Module] = [Pointwise(activation)]
    for _ in range(count):
        layers += [_one_by_one(features, sites), Pointwise(activation)]
    return layers


def _of_an_image(event_shape: Iterable[int]) -> tuple[int, ...]:
    shape = as_sizes("event_shape", event_shape)
    rule = "must be that of an image, (height, width, channels)"
    require(len(shape) == 3, "event_shape", rule, shape)
    return shape


def _image(event_shape: tuple[int, ...], family: Family) -> tuple[tuple[int, ...], nn.Module]:
    """The sites, (H, W) or with scalar channels (H, W, C), and how values are read."""
    height, width, channels = _of_an_image(event_shape)
    if family.event_ndims:
        require(
            tuple(family.site_shape) == (channels,),
            "family",
            f"must cover the {channels} channels of a pixel",
            f"sites of shape {family.site_shape}",
        )
        return (height, width), scaled(family)
    # Channels are sites of their own only where there are several to order.
    sites = (height, width) if channels == 1 else (height, width, channels)
    return sites, scaled(family)


def _one_by_one(features: int, sites: tuple[int, ...]) -> nn.Module:
    """A 1x1 convolution; with several channels of a pixel, a masked one."""
    # Where channels are sites, a plain 1x1 layer would show the red of a pixel its own green and
    # blue.
    if len(sites) == 2:
        return Pointwise(nn.Dense(features))
    return masked_convolution(features, sites, 1)


def _wide(features: int, sites: tuple[int, ...]) -> int:
    return features * math.prod(sites[2:])
