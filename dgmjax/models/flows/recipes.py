"""Flows over vectors, each a short recipe of layers.

Every recipe takes a context if one is passed to `log_prob` and `sample`. Masked networks must be
told its length (`context_features`), couplings infer it, and planar, radial and Sylvester flows are
predicted from it if `amortised`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from dgmjax.bijectors.amortised import PlanarFamily, RadialFamily, SylvesterFamily
from dgmjax.bijectors.partitions import alternating, halves
from dgmjax.bijectors.spline import Tails, checked_tails, is_circular
from dgmjax.bijectors.transformers import Affine, RationalQuadraticSpline, Shift, Transformer
from dgmjax.distributions.families import MixtureOfNormals
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.autoregressive.made import MADE
from dgmjax.models.flows.circular import CircleAndLineBase, circular_couplings
from dgmjax.models.flows.flow import Flow
from dgmjax.models.flows.layers import Composed, Repeated, Reverse
from dgmjax.models.flows.linear_layers import BatchNormLayer, LinearLayer
from dgmjax.models.flows.network_layers import (
    CouplingLayer,
    Elementwise,
    MaskedAutoregressiveLayer,
    ParametricLayer,
)
from dgmjax.nn.mlp import MLP


def _checked(features: int, layers: int, smallest: int) -> None:
    rule = "must be the length of x, one number"
    require(not isinstance(features, tuple), "features", rule, features, "Flatten x before.")
    require_sizes(features=features, layers=layers)
    require(features >= smallest, "features", f"must be at least {smallest}", features)


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
    batch_norm: bool = False,
) -> Flow:
    """Masked autoregressive flow: affine autoregressive layers with reversed orders between.

    log p(x) costs one pass of each network; samples cost about one pass as well, by
    incremental evaluation.

    Args:
      batch_norm: a batch normalisation after each layer, as in the paper.

    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, Eq. 3 to 5, https://arxiv.org/abs/1705.07057.
    """
    _checked(features, layers, 1)
    parts: list[nn.Module] = []
    for i in range(layers):
        # Every layer conditions in ascending order; reversed between layers, the last variable of
        # one is the first of the next.
        if i:
            parts.append(Reverse(features))
        parts.append(
            MaskedAutoregressiveLayer(
                features=features,
                hidden=as_sizes("hidden", hidden),
                transformer=transformer or Affine(),
                activation=activation,
                context_features=context_features,
                inverse=inverse,
                residual=residual,
            )
        )
        if batch_norm:
            parts.append(BatchNormLayer(features))
    return Flow(event_shape=(features,), layers=tuple(parts), base=base)


def IAF(features: int, layers: int = 5, hidden: tuple[int, ...] = (512, 512), **options) -> Flow:
    """Inverse autoregressive flow: MAF's layers the other way round, sampled in one pass each.

    Source: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
    Eq. 9 to 11, https://arxiv.org/abs/1606.04934.
    """
    return MAF(features, layers, hidden, inverse=True, **options)


def MAFMixture(
    features: int,
    layers: int = 5,
    hidden: tuple[int, ...] = (512, 512),
    *,
    num_components: int = 10,
    context_features: int = 0,
    activation=nn.relu,
    **options,
) -> Flow:
    """MAF MoG: affine layers over a MADE whose conditionals are mixtures of normals.

    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, section 5 ("MAF MoG"), https://arxiv.org/abs/1705.07057.
    """
    base = MADE(
        event_shape=(features,),
        hidden=as_sizes("hidden", hidden),
        family=MixtureOfNormals(num_components),
        context_features=context_features,
        activation=activation,
    )
    shared = {"context_features": context_features, "activation": activation}
    return MAF(features, layers, hidden, base=base, **shared, **options)


def RealNVP(
    features: int,
    layers: int = 6,
    hidden: tuple[int, ...] = (64, 64),
    *,
    transformer: Transformer | None = None,
    activation=nn.relu,
    base: nn.Module | None = None,
    batch_norm: bool = False,
) -> Flow:
    """Affine couplings over alternating entries of a vector, the two halves taking turns.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, Eq. 4 to 8,
    https://arxiv.org/abs/1605.08803.
    """
    _checked(features, layers, 2)
    parts: list[nn.Module] = []
    for i in range(layers):
        parts.append(
            CouplingLayer(
                event_shape=(features,),
                split=alternating(swap=bool(i % 2)),
                transformer=transformer or Affine(),
                conditioner=MLP(as_sizes("hidden", hidden), (), activation),
            )
        )
        if batch_norm:
            parts.append(BatchNormLayer(features))
    return Flow(event_shape=(features,), layers=tuple(parts), base=base)


def NICE(features: int, layers: int = 4, hidden: tuple[int, ...] = (1000,) * 5, **options) -> Flow:
    """Additive couplings, and a diagonal scaling (with a shift) beside the base.

    Source: Dinh, Krueger & Bengio, "NICE: Non-linear Independent Components Estimation", 2014,
    sections 3.2 and 3.3, https://arxiv.org/abs/1410.8516.
    """
    flow = RealNVP(features, layers, hidden, transformer=Shift(), **options)
    # Additive couplings preserve volume: this layer is the only one that can stretch.
    scaling = ParametricLayer(Elementwise((features,), Affine(bound=20.0)), scale=0.0)
    return flow.clone(layers=(scaling, *flow.layers))


def NeuralSplineFlow(
    features: int,
    layers: int = 8,
    hidden: tuple[int, ...] = (64, 64),
    *,
    autoregressive: bool = False,
    num_bins: int = 8,
    bound: float = 3.0,
    tails: Tails = "linear",
    context_features: int = 0,
    activation=nn.relu,
    base: nn.Module | None = None,
    unroll: Any = "auto",
    rematerialise: bool = False,
) -> Flow:
    """Rational-quadratic splines with LU-decomposed linear maps between, as stacked layers.

    Args:
      autoregressive: RQ-NSF (AR), else couplings of two halves, RQ-NSF (C).
      num_bins: bins of each spline on [-bound, bound]; the identity outside.
      tails: "linear", "circular" (angles, of which 2 bound is a turn), or a tuple of one for each
        variable. With circular ones the layers are couplings without linear maps between them,
        the networks read cosines and sines of angles, and the base is uniform on the circles:
        the density is periodic, and is one over a turn.
      unroll, rematerialise: see `dgmjax.bijectors.Repeat` (where all tails are linear).

    Source: Durkan, Bekasov, Murray & Papamakarios, "Neural Spline Flows", 2019, sections 3 and 4.1,
    https://arxiv.org/abs/1906.04032. The linear maps start at a random rotation, and conditioners
    are plain MLPs.
    """
    _checked(features, layers, 1 if autoregressive else 2)
    circular = np.broadcast_to(is_circular(checked_tails(tails)), _tails_shape(tails, features))
    if circular.any():
        require(not autoregressive, "tails", "must be linear where autoregressive", tails)
        which = tuple(map(bool, circular))
        units = as_sizes("hidden", hidden)
        parts = circular_couplings(which, layers, units, num_bins, bound, activation)
        return Flow((features,), parts, base or CircleAndLineBase(which, bound))
    spline = RationalQuadraticSpline(num_bins, bound)
    layer: nn.Module
    if autoregressive:
        layer = MaskedAutoregressiveLayer(
            features=features,
            hidden=as_sizes("hidden", hidden),
            transformer=spline,
            activation=activation,
            context_features=context_features,
        )
    else:
        network = MLP(as_sizes("hidden", hidden), (), activation)
        layer = CouplingLayer((features,), halves(), spline, network)
    # The linear map mixes all variables, so that the same halves may be split in every block and
    # all blocks compile as one.
    block = Composed((layer, LinearLayer(features)))
    stack = Repeated(block, layers, unroll, rematerialise)
    return Flow(event_shape=(features,), layers=(stack,), base=base)


def _tails_shape(tails: Tails, features: int) -> tuple[int]:
    fits = isinstance(tails, str) or len(tails) == features
    require(fits, "tails", f"must be one word, or {features}, one a variable", tails)
    return (features,)


def _parametric(features: int, layers: int, family: Callable, amortised: bool, base) -> Flow:
    _checked(features, layers, 1)
    parts = tuple(ParametricLayer(family(i), amortised) for i in range(layers))
    return Flow(event_shape=(features,), layers=parts, base=base)


def PlanarFlow(
    features: int, layers: int = 16, *, amortised: bool = False, base: nn.Module | None = None
) -> Flow:
    """A stack of planar maps.

    Args:
      amortised: the context predicts the maps, one for each example (a VAE's posterior).

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Eq. 10 to 13,
    https://arxiv.org/abs/1505.05770.
    """
    return _parametric(features, layers, lambda i: PlanarFamily(features), amortised, base)


def RadialFlow(
    features: int, layers: int = 16, *, amortised: bool = False, base: nn.Module | None = None
) -> Flow:
    """A stack of radial maps; see `PlanarFlow`.

    Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows", 2015, Eq. 14,
    https://arxiv.org/abs/1505.05770.
    """
    return _parametric(features, layers, lambda i: RadialFamily(features), amortised, base)


def SylvesterFlow(
    features: int,
    layers: int = 4,
    parametrisation: str = "orthogonal",
    *,
    num_columns: int | None = None,
    num_reflections: int = 8,
    amortised: bool = False,
    base: nn.Module | None = None,
) -> Flow:
    """A stack of Sylvester maps; triangular ones reverse the order in every other layer.

    Args:
      parametrisation: "orthogonal", "householder" or "triangular".
      num_columns: M, the rank of a map (not for "triangular", where M = D).
      num_reflections: of each Householder basis.
      amortised: the context predicts the maps, one for each example (a VAE's posterior).

    Source: van den Berg, Hasenclever, Tomczak & Welling, "Sylvester Normalizing Flows for
    Variational Inference", 2018, sections 3 and 4, https://arxiv.org/abs/1803.05649.
    """

    def family(i: int) -> SylvesterFamily:
        flip = parametrisation == "triangular" and bool(i % 2)
        return SylvesterFamily(
            features,
            parametrisation,  # type: ignore[arg-type]
            num_columns,
            num_reflections,
            flip,
        )

    return _parametric(features, layers, family, amortised, base)
