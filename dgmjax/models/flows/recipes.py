"""The named flows over vectors: each a short recipe of layers."""

import flax.linen as nn

from dgmjax.bijectors.splits import alternating
from dgmjax.bijectors.transformers import Affine, Shift, Transformer
from dgmjax.errors import require
from dgmjax.models.base import DiagonalNormal
from dgmjax.models.flows.flow import Flow
from dgmjax.models.flows.layers import CouplingLayer, MaskedAutoregressiveLayer, Reverse


def _checked(features: int, layers: int, smallest: int) -> None:
    require(features >= smallest, "features", f"must be at least {smallest}", features)
    require(layers >= 1, "layers", "must be at least 1", layers)


def MAF(
    features: int,
    layers: int = 5,
    hidden: tuple[int, ...] = (512, 512),
    *,
    transformer: Transformer | None = None,
    context_features: int = 0,
    activation=nn.relu,
    base: nn.Module | None = None,
    inverse: bool = False,
    residual: bool = False,
) -> Flow:
    """Masked autoregressive flow: affine autoregressive layers with reversed orders between.

    log p(x) costs one pass of each network; samples cost about one pass as well, by
    incremental evaluation.

    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density
    Estimation", 2017, equations 3-5.
    """
    _checked(features, layers, 1)
    parts: list[nn.Module] = []
    for i in range(layers):
        if i:
            parts.append(Reverse(features))
        parts.append(
            MaskedAutoregressiveLayer(
                features=features,
                hidden=tuple(hidden),
                transformer=transformer or Affine(),
                activation=activation,
                context_features=context_features,
                inverse=inverse,
                residual=residual,
            )
        )
    return Flow(event_shape=(features,), layers=tuple(parts), base=base)


def IAF(features: int, layers: int = 5, hidden: tuple[int, ...] = (512, 512), **options) -> Flow:
    """Inverse autoregressive flow: MAF's layers the other way round, sampled in one pass each.

    Source: Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow",
    2016, equations 9-11.
    """
    return MAF(features, layers, hidden, inverse=True, **options)


def RealNVP(
    features: int,
    layers: int = 6,
    hidden: tuple[int, ...] = (64, 64),
    *,
    transformer: Transformer | None = None,
    activation=nn.relu,
    base: nn.Module | None = None,
) -> Flow:
    """Affine couplings over alternating entries of a vector, the two halves taking turns.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2016,
    equations 4-8.
    """
    _checked(features, layers, 2)
    parts = tuple(
        CouplingLayer(
            event_shape=(features,),
            split=alternating(swap=bool(i % 2)),
            transformer=transformer or Affine(),
            hidden=tuple(hidden),
            activation=activation,
        )
        for i in range(layers)
    )
    return Flow(event_shape=(features,), layers=parts, base=base)


def NICE(features: int, layers: int = 4, hidden: tuple[int, ...] = (1000,) * 5, **options) -> Flow:
    """Additive couplings; the diagonal scaling is the scale of a learned normal base.

    Source: Dinh, Krueger & Bengio, "NICE: Non-linear Independent Components Estimation", 2014,
    sections 3.2 and 3.3.
    """
    options.setdefault("base", DiagonalNormal((features,)))
    return RealNVP(features, layers, hidden, transformer=Shift(), **options)
