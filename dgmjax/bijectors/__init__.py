"""Invertible maps with tractable log-determinants. Needs jax and distrax only.

`forward` goes from the base z to the data x; see `dgmjax.bijectors.base` for the conventions.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "actnorm": ["ActNorm", "actnorm_init"],
        "affine": ["ElementwiseAffine"],
        "base": ["Bijector", "StaticArray"],
        "batch_norm": ["BatchNorm"],
        "composition": ["Composition", "compose"],
        "conditioner": ["AutoregressiveNetwork", "Conditioner"],
        "conv1x1": ["Invertible1x1Convolution"],
        "coupling": ["Coupling"],
        "domains": ["Sigmoid", "Softplus"],
        "families": ["PlanarFamily", "RadialFamily", "SylvesterFamily"],
        "householder": ["Householder"],
        "inverse": ["Inverse"],
        "linear": ["Linear"],
        "logistic_mixture": ["ElementwiseLogisticMixture"],
        "lu": ["LU"],
        "masked_autoregressive": ["MaskedAutoregressive"],
        "multiscale": ["MultiScale"],
        "permutation": ["Permutation"],
        "planar": ["Planar"],
        "radial": ["Radial"],
        "repeat": ["Repeat", "stack_bijectors"],
        "solver": ["check_converged", "solve_increasing"],
        "spline": ["ElementwiseSpline"],
        "splits": ["alternating", "channel", "checkerboard", "halves"],
        "squeeze": ["Squeeze"],
        "sylvester": [
            "Sylvester",
            "householder_columns",
            "orthonormal_columns",
            "permutation_columns",
        ],
        "transformers": [
            "Affine",
            "MixtureOfLogisticsCDF",
            "RationalQuadraticSpline",
            "Shift",
            "Transformer",
        ],
        "triangular": ["Triangular"],
    },
)
