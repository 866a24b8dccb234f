"""FVSBN, NADE, recurrent networks, transformers and WaveNet: recipes over generic parts.

Those of images are in `images.py`, MADE in `made.py`.
"""

import math
import numbers
from functools import partial
from typing import Literal

import flax.linen as nn

from dgmjax.distributions.families import Bernoulli, Categorical, Family, MixtureOfNormals
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.autoregressive.made import MADE
from dgmjax.models.autoregressive.model import AutoregressiveModel, as_ordering
from dgmjax.nn.autoregressive.attention import Positions, Start, transformer_block
from dgmjax.nn.autoregressive.causal import (
    CausalNetwork,
    Chain,
    Pointwise,
    Residual,
    dropout_layers,
)
from dgmjax.nn.autoregressive.causal_conv import CausalConv
from dgmjax.nn.autoregressive.gated import WaveNetStack
from dgmjax.nn.autoregressive.nade import NADENetwork
from dgmjax.nn.conditioning import AddContext
from dgmjax.nn.embeddings import Table, scaled
from dgmjax.nn.recurrent import Recurrent
from dgmjax.types import Activation

BERNOULLI, MU_LAW_CODES = Bernoulli(), Categorical(256)


def FVSBN(
    event_shape: tuple[int, ...], family: Family = BERNOULLI, **options
) -> AutoregressiveModel:
    """Fully visible sigmoid belief network: each site a logistic regression on those before.

    params_t = b_t + sum_{s<t} A_ts x_s, with one strictly triangular matrix that starts at zero:
    a MADE without hidden layers.

    Args:
      options: of `AutoregressiveModel` and `context_features`.

    Sources: Frey, Hinton & Dayan, "Does the Wake-Sleep Algorithm Produce Good Density Estimators?",
    1996, https://www.cs.toronto.edu/~hinton/absps/wsperf.htm; Larochelle & Murray, "The Neural
    Autoregressive Distribution Estimator", 2011, section 2,
    https://proceedings.mlr.press/v15/larochelle11a.html.
    """
    model = MADE(event_shape, (), family, **options)
    # Logistic regressions are convex and have no symmetry to break: zero is the best ignorant
    # start.
    return model.clone(network=model.network.clone(zero_output=True))


def NADE(
    event_shape: tuple[int, ...],
    hidden: int = 500,
    family: Family = BERNOULLI,
    *,
    activation: Activation = nn.sigmoid,
    rescale: bool = False,
    ordering: str | tuple[int, ...] = "natural",
    context_features: int = 0,
    **options,
) -> AutoregressiveModel:
    """One hidden layer whose weights all conditionals share.

    With `num_orders` > 1, trained by `objectives.sampled_ordering`, an ensemble over as many
    orderings of the sites (EoNADE; Uria, Murray & Larochelle, "A Deep and Tractable Density
    Estimator", 2014, section 4, https://arxiv.org/abs/1310.1757).

    Args:
      hidden: units of the hidden layer.
      activation, rescale: see `nn.NADENetwork`.
      ordering: "natural", "random" or a permutation, for order 0.
      options: of `AutoregressiveModel`: `num_orders`, `sampling`, ...

    Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011,
    https://proceedings.mlr.press/v15/larochelle11a.html.
    """
    event_shape = as_sizes("event_shape", event_shape)
    one = isinstance(hidden, numbers.Integral)
    require(one, "hidden", "must be a whole number: NADE has one hidden layer", hidden)
    network = NADENetwork(
        features=math.prod(event_shape),
        hidden=hidden,
        num_params=family.num_params,
        activation=activation,
        rescale=rescale,
        context_features=context_features,
    )
    return AutoregressiveModel(
        event_shape,
        network,
        family,
        context_features=context_features,
        flatten=True,
        ordering=as_ordering(ordering),
        **options,
    )


def RNADE(
    event_shape: tuple[int, ...], hidden: int = 50, num_components: int = 10, **options
) -> AutoregressiveModel:
    """NADE for real values: mixtures of normals, rectified units and learned rescaling.

    Source: Uria, Murray & Larochelle, "RNADE: The Real-valued Neural Autoregressive Density
    Estimator", 2013, Eq. 5 to 9, https://arxiv.org/abs/1306.0186.
    """
    family = MixtureOfNormals(num_components)
    return NADE(event_shape, hidden, family, activation=nn.relu, rescale=True, **options)


def RecurrentModel(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 128,
    layers: int = 1,
    cell: str = "lstm",
    embedding: int | None = None,
    dropout: float = 0.0,
    context_features: int = 0,
    site_bias: bool = False,
    **options,
) -> AutoregressiveModel:
    """Recurrent layers over the sites in raster order: text, or the pixels of an image.

    Args:
      event_shape: (T,), or any other shape, whose sites are read as one sequence.
      family: of a site; characters are `Categorical(levels)`, read through a learned table.
      features: units of each layer.
      layers: number of layers; those after the first add their input.
      cell: "lstm" or "gru".
      embedding: numbers per site that the first layer reads; `features` if None.
      dropout: rate, in training, of what each layer reads and of what the last returns.
      context_features: length of a context that is added to what the first layer reads.
      site_bias: see `nn.CausalNetwork`.
      options: of `AutoregressiveModel`.

    Sources: Graves, "Generating Sequences With Recurrent Neural Networks", 2013,
    https://arxiv.org/abs/1308.0850; raster order over pixels: van den Oord, Kalchbrenner &
    Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, section 3,
    https://arxiv.org/abs/1601.06759.
    """
    event_shape = as_sizes("event_shape", event_shape)
    embedding = features if embedding is None else embedding
    require_sizes(features=features, layers=layers, embedding=embedding)
    noise = dropout_layers(dropout)
    parts: list[nn.Module] = [*noise, Recurrent(features, cell)]
    for _ in range(layers - 1):
        layer = Recurrent(features, cell)
        parts.append(Residual(Chain((*noise, layer)) if dropout else layer))
    parts += noise
    network = _sequence(event_shape, family, embedding, parts, context_features, site_bias)
    return AutoregressiveModel(
        event_shape, network, family, context_features=context_features, **options
    )


def CharRNN(length: int, levels: int, features: int = 512, **options) -> AutoregressiveModel:
    """Characters 0 .. levels - 1 in blocks of `length`; see `RecurrentModel`.

    `model.clone(event_shape=(T,))` with the same parameters reads and draws texts of another
    length, where `network` does not know its length (`model.network.event_shape is None`).
    """
    return RecurrentModel((length,), Categorical(levels), features=features, **options)


def PixelLSTM(event_shape: tuple[int, ...], family: Family = BERNOULLI, **options):
    """An LSTM over the pixels of an image in raster order; see `RecurrentModel`."""
    return RecurrentModel(event_shape, family, **{"site_bias": True, **options})


def Transformer(
    event_shape: tuple[int, ...],
    family: Family = BERNOULLI,
    *,
    features: int = 128,
    layers: int = 4,
    heads: int = 4,
    positions: Literal["rotary", "learned"] = "rotary",
    dropout: float = 0.0,
    context_features: int = 0,
    site_bias: bool = False,
    **options,
) -> AutoregressiveModel:
    """Causal self-attention over the sites in raster order: characters or pixels.

    Args: see `RecurrentModel`.
      layers: blocks of attention and MLP.
      heads: of the attention, a divisor of `features`; twice it divides them with rotary
        positions.
      positions: how attention knows how far back a site is: queries and keys turned by where they
        are, or a learned vector for each site. On text the former learns many times faster.
      dropout: rate, in training, of the embedding and of what each sub-layer adds.

    Sources: Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762;
    normalisation first: Xiong et al., "On Layer Normalization in the Transformer Architecture",
    2020, Figure 1b, https://arxiv.org/abs/2002.04745; rotary positions: Su et al., "RoFormer:
    Enhanced Transformer with Rotary Position Embedding", 2021, https://arxiv.org/abs/2104.09864.
    """
    known = positions in ("rotary", "learned")
    require(known, "positions", 'must be "rotary" or "learned"', positions)
    require_sizes(features=features, layers=layers, heads=heads)
    event_shape = as_sizes("event_shape", event_shape)
    length = math.prod(event_shape[: len(event_shape) - family.event_ndims])
    noise = dropout_layers(dropout)
    turned = positions == "rotary"
    # Rotary positions tell distances only and give the first site nothing to normalise; learned
    # positions are not zero there, and need no vector for the start.
    start = Start(features) if turned else Positions((length,), features)
    parts: list[nn.Module] = [start, *noise]
    block = partial(transformer_block, features, heads, length, dropout=dropout, rotary=turned)
    parts += [block() for _ in range(layers)]
    # Blocks normalise what they read and never the stream itself, which grows with depth; the head
    # needs it normalised once more.
    parts.append(Pointwise(nn.LayerNorm()))
    network = _sequence(event_shape, family, features, parts, context_features, site_bias, True)
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
    hop: int = 1,
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
        1 + stacks (kernel_size - 1) (2^layers - 1) samples. No single convolution may look back
        further than the sequence is long.
      kernel_size: taps of each convolution.
      context_features: length of a global context (a one-hot speaker or digit), 0 for none.
      local_features: length of a local context at each sample, 0 for none; the model's context
        is then `nn.join_context(global, local)`.
      hop: samples that share a local vector, where it comes at a lower rate.
      **options: of `AutoregressiveModel`.

    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, section 2,
    https://arxiv.org/abs/1609.03499.
    """
    event_shape = as_sizes("event_shape", event_shape)
    require(
        len(event_shape) == 1 and family.event_ndims == 0,
        "event_shape",
        "must be (T,), a sequence of scalars",
        event_shape,
    )
    require_sizes(channels=channels, skip_channels=skip_channels, stacks=stacks, layers=layers)
    require_sizes(hop=hop)
    for name, features in {"context": context_features, "local": local_features}.items():
        require(features >= 0, f"{name}_features", "must be at least 0", features)
    # The widest dilation alone decides: weights that always fall on padding are never trained.
    reach = (kernel_size - 1) * 2 ** (layers - 1)
    require(
        reach < event_shape[0],
        "layers",
        f"must leave the furthest look back, {reach} samples, within a sequence of "
        f"{event_shape[0]}, or its weights read nothing but padding",
        layers,
        "Use fewer layers in more stacks.",
    )
    embed: nn.Module
    first: tuple[nn.Module, ...] = ()
    if isinstance(family, Categorical):
        embed = Table(family.levels, channels)
    else:
        embed, first = scaled(family), (CausalConv(channels, 2),)
    act = Pointwise(activation)
    dilations = tuple(2**i for i in range(layers)) * stacks
    stack = WaveNetStack(
        channels, skip_channels, dilations, kernel_size, context_features, local_features, hop
    )
    network = CausalNetwork(
        layers=(*first, stack, act, Pointwise(nn.Dense(skip_channels)), act),
        num_params=family.num_params,
        embed=embed,
        event_shape=event_shape,
        context_features=context_features,
        local_features=local_features,
        hop=hop,
    )
    # Rounded up: the last vector may serve fewer than `hop` samples.
    total = context_features + -(-event_shape[0] // hop) * local_features
    return AutoregressiveModel(event_shape, network, family, context_features=total, **options)


def _sequence(
    event_shape: tuple[int, ...],
    family: Family,
    features: int,
    layers: list[nn.Module],
    context_features: int,
    site_bias: bool,
    fixed: bool = False,
) -> CausalNetwork:
    """The sites as one sequence of `features` numbers, then `layers`.

    A sequence of scalars may have any length, unless it is `fixed`.
    """
    first: list[nn.Module] = []
    embed: nn.Module
    if isinstance(family, Categorical):
        embed = Table(family.levels, features)
    else:
        embed, first = (
            scaled(family),
            [Pointwise(nn.Dense(features))],
        )
    if context_features:
        first.append(AddContext(features, context_features))
    # A bias for each site, and the rows of an image, tie the network to one length.
    fixed = fixed or site_bias or len(event_shape) > 1 + family.event_ndims
    return CausalNetwork(
        layers=(*first, *layers),
        num_params=family.num_params,
        embed=embed,
        event_shape=event_shape if fixed else None,
        channels=event_shape[-1] if family.event_ndims else None,
        context_features=context_features,
        site_bias=site_bias,
    )
