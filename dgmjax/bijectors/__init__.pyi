from .actnorm import (
    ActNorm as ActNorm,
    actnorm_init as actnorm_init,
)
from .affine import (
    ElementwiseAffine as ElementwiseAffine,
)
from .amortised import (
    PlanarFamily as PlanarFamily,
    RadialFamily as RadialFamily,
    SylvesterFamily as SylvesterFamily,
)
from .base import (
    Bijector as Bijector,
    StaticArray as StaticArray,
)
from .batch_norm import (
    BatchNorm as BatchNorm,
)
from .block import (
    Block as Block,
)
from .composition import (
    Composition as Composition,
    compose as compose,
)
from .conditioner import (
    AutoregressiveNetwork as AutoregressiveNetwork,
    Conditioner as Conditioner,
)
from .conv1x1 import (
    Invertible1x1Convolution as Invertible1x1Convolution,
)
from .coupling import (
    Coupling as Coupling,
)
from .domains import (
    Sigmoid as Sigmoid,
    Softplus as Softplus,
)
from .householder import (
    Householder as Householder,
)
from .inverse import (
    Inverse as Inverse,
)
from .linear import (
    Linear as Linear,
)
from .logistic_mixture import (
    ElementwiseLogisticMixture as ElementwiseLogisticMixture,
)
from .lu import (
    LU as LU,
)
from .masked_autoregressive import (
    MaskedAutoregressive as MaskedAutoregressive,
)
from .multiscale import (
    MultiScale as MultiScale,
)
from .partitions import (
    alternating as alternating,
    channel as channel,
    checkerboard as checkerboard,
    halves as halves,
)
from .permutation import (
    Permutation as Permutation,
)
from .planar import (
    Planar as Planar,
)
from .radial import (
    Radial as Radial,
)
from .repeat import (
    Repeat as Repeat,
    stack_bijectors as stack_bijectors,
)
from .reshape import (
    Reshape as Reshape,
)
from .solver import (
    check_converged as check_converged,
    solve_increasing as solve_increasing,
)
from .spline import (
    ElementwiseSpline as ElementwiseSpline,
)
from .squeeze import (
    Squeeze as Squeeze,
)
from .sylvester import (
    Sylvester as Sylvester,
    householder_columns as householder_columns,
    orthonormal_columns as orthonormal_columns,
    permutation_columns as permutation_columns,
)
from .to_numpyro import (
    to_numpyro as to_numpyro,
)
from .transformers import (
    Affine as Affine,
    MixtureOfLogisticsCDF as MixtureOfLogisticsCDF,
    RationalQuadraticSpline as RationalQuadraticSpline,
    Shift as Shift,
    Transformer as Transformer,
)
from .triangular import (
    Triangular as Triangular,
)
