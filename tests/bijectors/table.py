"""The table of bijectors: add a row, and every property test runs on it.

A row makes a bijector from a key and the standard deviation of its parameters.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scrambling import compiled_start

from dgmjax import bijectors as bj
from dgmjax.bijectors.partitions import as_partition

from .networks import Autoregressive, Dense

IMAGE = (4, 4, 2)
CONTEXT = jnp.array([0.3, -1.2])


@dataclasses.dataclass(frozen=True)
class Row:
    """`make(key, scale)` gives the bijector; the rest says where it is tested.

    `data` names the domain of the data (see `violations`).
    `extra` are special points: knots and bounds.
    """

    make: Callable
    shape: tuple[int, ...]
    data: str = "line"
    extra: tuple[float, ...] = ()
    data_shape: tuple[int, ...] | None = None


def normal(key, *shape, scale=1.0):
    return scale * jax.random.normal(key, shape)


def coupling(split, transformer, shape, context=False):
    partition = as_partition(split, shape)
    size = 2 if context else 0
    network = Dense(
        partition.conditioner_shape, (*partition.params_shape, transformer.num_params), size
    )

    def make(key, scale):
        conditioner = bj.Conditioner(network, compiled_start(network, key, scale))
        return bj.Coupling(
            split, conditioner, transformer, shape, context=CONTEXT if context else None
        )

    return make


def autoregressive(transformer, size=4, method="incremental", context=False, inverse=False):
    network = Autoregressive(size, transformer.num_params, 2 if context else 0)

    def make(key, scale):
        layer = bj.MaskedAutoregressive(
            bj.Conditioner(network, compiled_start(network, key, scale)),
            transformer,
            context=CONTEXT if context else None,
            forward_method=method,
        )
        return bj.Inverse(layer) if inverse else layer

    return make


def elementwise(transformer, size=4):
    def make(key, scale):
        inner = transformer(normal(key, size, transformer.num_params, scale=scale))
        return bj.Block(inner, 1)

    return make


def from_family(family):
    return lambda key, scale: family(normal(key, family.num_params, scale=scale))


def well_conditioned(key, size, scale):
    """A random rotation times a matrix of bounded condition number."""
    keys = jax.random.split(key)
    rotation = jnp.linalg.qr(jax.random.normal(keys[0], (size, size)))[0]
    return rotation * jnp.exp(jnp.tanh(normal(keys[1], size, scale=scale)))


def repeated(key, scale, unroll="auto", num_layers=3, remat=False):
    make = coupling(bj.halves(), bj.Affine(1.0), (4,))

    def layer(key):
        keys = jax.random.split(key)
        return bj.compose(make(keys[0], scale), bj.Permutation([3, 2, 1, 0]))

    stacked = jax.vmap(layer)(jax.random.split(key, num_layers))
    return bj.Repeat(stacked, num_layers, unroll, remat)


def multiscale(key, scale):
    keys = jax.random.split(key, 2)
    fine = bj.compose(
        coupling(bj.channel(), bj.Affine(2.0), (2, 2, 8))(keys[0], scale), bj.Squeeze(2)
    )
    coarse = coupling(bj.channel(), bj.Affine(2.0), (2, 2, 4))(keys[1], scale)
    return bj.MultiScale([fine, coarse], IMAGE)


def composed(key, scale):
    keys = jax.random.split(key, 3)
    return bj.compose(
        bj.ElementwiseAffine(normal(keys[0], 4, scale=scale), normal(keys[1], 4, scale=scale)),
        bj.Triangular(normal(keys[2], 4, 4, scale=scale)),
        bj.Permutation([2, 0, 3, 1]),
    )


def batch_norm(key, scale):
    keys = jax.random.split(key, 4)
    mean, log_variance, beta, gamma = (normal(k, 4, scale=scale) for k in keys)
    return bj.BatchNorm(mean, jnp.exp(log_variance), beta, gamma)


SPLINE = bj.RationalQuadraticSpline(8, bound=3.0)
CIRCULAR = bj.RationalQuadraticSpline(5, bound=float(np.pi), tails="circular")
MIXED = dataclasses.replace(CIRCULAR, tails=("circular", "linear", "linear", "circular"))
MIXTURE = bj.MixtureOfLogisticsCDF(4)
BOUNDS = (-3.0, 3.0, float(np.nextafter(np.float32(3), np.float32(4))), -3.5, 3.5)

ROWS = {
    "affine": Row(
        lambda key, scale: bj.Block(
            bj.ElementwiseAffine(
                normal(key, 4, scale=scale), normal(jax.random.fold_in(key, 1), 4, scale=scale)
            ),
            1,
        ),
        (4,),
    ),
    "planar": Row(from_family(bj.PlanarFamily(4)), (4,)),
    "radial": Row(from_family(bj.RadialFamily(4)), (4,)),
    "sylvester_orthogonal": Row(from_family(bj.SylvesterFamily(4, "orthogonal", 2)), (4,)),
    "sylvester_householder": Row(from_family(bj.SylvesterFamily(4, "householder", 3)), (4,)),
    "sylvester_triangular": Row(from_family(bj.SylvesterFamily(4, "triangular", flip=True)), (4,)),
    "elementwise_spline": Row(elementwise(SPLINE), (4,), extra=BOUNDS),
    "elementwise_circular_spline": Row(
        elementwise(CIRCULAR), (4,), extra=(float(np.pi), -float(np.pi), 3 * float(np.pi))
    ),
    "elementwise_mixed_spline": Row(
        elementwise(MIXED), (4,), extra=(float(np.pi), -float(np.pi), 3 * float(np.pi))
    ),
    "coupling_mixed_spline": Row(
        coupling(bj.halves(), dataclasses.replace(MIXED, tails=MIXED.tails[2:]), (4,)),
        (4,),
        extra=(float(np.pi), -float(np.pi), 3 * float(np.pi)),
    ),
    "elementwise_mixture": Row(elementwise(MIXTURE), (4,)),
    "coupling_shift": Row(coupling(bj.halves(), bj.Shift(), (5,)), (5,)),
    "coupling_affine": Row(coupling(bj.halves(), bj.Affine(), (5,), context=True), (5,)),
    "coupling_alternating": Row(coupling(bj.alternating(True), bj.Affine(), (5,)), (5,)),
    "coupling_mask": Row(coupling(np.array([True, False, False, True]), bj.Affine(), (4,)), (4,)),
    "coupling_channel": Row(coupling(bj.channel(), bj.Affine(), (2, 2, 3)), (2, 2, 3)),
    "coupling_checkerboard": Row(coupling(bj.checkerboard(), bj.Affine(), (3, 2, 2)), (3, 2, 2)),
    "coupling_checkerboard_odd": Row(
        coupling(bj.checkerboard(True), bj.Affine(), (3, 3, 1)), (3, 3, 1)
    ),
    "coupling_spline": Row(coupling(bj.halves(), SPLINE, (4,)), (4,), extra=BOUNDS),
    "coupling_mixture": Row(coupling(bj.halves(), MIXTURE, (4,)), (4,)),
    "maf_incremental": Row(autoregressive(bj.Affine(), context=True), (4,)),
    "maf_scan": Row(autoregressive(bj.Affine(), method="naive"), (4,)),
    "maf_jacobi": Row(autoregressive(bj.Affine(), method="jacobi"), (4,)),
    "maf_spline": Row(autoregressive(SPLINE), (4,), extra=BOUNDS),
    "iaf": Row(autoregressive(bj.Affine(), inverse=True), (4,)),
    "linear": Row(lambda key, scale: bj.Linear(well_conditioned(key, 4, scale)), (4,)),
    "triangular": Row(lambda key, scale: bj.Triangular(normal(key, 4, 4, scale=scale)), (4,)),
    "upper": Row(
        lambda key, scale: bj.Triangular(normal(key, 4, 4, scale=scale), lower=False), (4,)
    ),
    "lu": Row(
        lambda key, scale: bj.LU(normal(key, 4, 4, scale=scale), [2, 0, 3, 1], [1, -1, 1, 1]),
        (4,),
    ),
    "householder": Row(lambda key, scale: bj.Householder(normal(key, 3, 4, scale=scale)), (4,)),
    "permutation": Row(lambda key, scale: bj.Permutation([2, 0, 3, 1]), (4,)),
    "actnorm": Row(
        lambda key, scale: bj.ActNorm(
            normal(key, 2, scale=scale), normal(jax.random.fold_in(key, 1), 2, scale=scale), 3
        ),
        (2, 2, 2),
    ),
    "batch_norm": Row(batch_norm, (4,)),
    "conv1x1": Row(
        lambda key, scale: bj.Invertible1x1Convolution(bj.Linear(well_conditioned(key, 3, scale))),
        (2, 2, 3),
    ),
    "conv1x1_lu": Row(
        lambda key, scale: bj.Invertible1x1Convolution(
            bj.LU(normal(key, 3, 3, scale=scale), [1, 2, 0])
        ),
        (2, 2, 3),
    ),
    "reshape": Row(lambda key, scale: bj.Reshape((6,), (1, 2, 3)), (6,), data_shape=(1, 2, 3)),
    "squeeze": Row(lambda key, scale: bj.Squeeze(2), (1, 2, 8), data_shape=(2, 4, 2)),
    "multiscale": Row(multiscale, (32,), data_shape=IMAGE),
    "sigmoid": Row(lambda key, scale: bj.Block(bj.Sigmoid(), 1), (4,), "unit"),
    "sigmoid_margin": Row(lambda key, scale: bj.Block(bj.Sigmoid(0.05), 1), (4,), "unit"),
    "softplus": Row(lambda key, scale: bj.Block(bj.Softplus(), 1), (4,), "positive"),
    "repeat_unrolled": Row(repeated, (4,)),
    "repeat_scan": Row(lambda key, scale: repeated(key, scale, False, 3, True), (4,)),
    "compose": Row(composed, (4,)),
}
