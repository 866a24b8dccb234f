"""Bijectors of distrax, over vectors of four, with a network of one tanh layer."""

import distrax
import jax
import jax.numpy as jnp

from benchmarks.conformance.row import BOUND, BOUNDS, SIZE, Row

PACKAGES = ("distrax",)
BINS = 8


def normal(key, scale, *shape):
    return scale * jax.random.normal(key, shape, jnp.float32)


def row(make, sizes, **where) -> Row:
    """`make(*arrays)` gives a bijector over vectors; `sizes` are the shapes of its parameters."""

    def params(key, scale):
        keys = jax.random.split(key, max(1, len(sizes)))
        return [normal(k, scale, *shape) for k, shape in zip(keys, sizes)]

    return Row(lambda arrays: make(*arrays), params, **where)


def spline(params):
    return distrax.RationalQuadraticSpline(params, -BOUND, BOUND, boundary_slopes="identity")


def affine(params):
    return distrax.ScalarAffine(params[..., 0], log_scale=params[..., 1])


def coupling(inner, num_params, **where) -> Row:
    mask = jnp.arange(SIZE) < SIZE // 2

    def network(weights, bias, x):
        h = jnp.tanh(x) @ weights + bias
        return h.reshape(*x.shape[:-1], SIZE, num_params)

    def make(weights, bias):
        conditioner = jax.tree_util.Partial(network, weights, bias)
        return distrax.MaskedCoupling(mask, conditioner, inner)

    return row(make, ((SIZE, SIZE * num_params), (SIZE * num_params,)), **where)


def rows() -> dict[str, Row]:
    num = 3 * BINS + 1
    return {
        "affine": row(lambda p: distrax.Block(affine(p), 1), ((SIZE, 2),)),
        "elementwise_spline": row(
            lambda p: distrax.Block(spline(p), 1), ((SIZE, num),), extra=BOUNDS
        ),
        "coupling_affine": coupling(affine, 2),
        "coupling_spline": coupling(spline, num, extra=BOUNDS),
        "triangular": row(lambda m: distrax.TriangularLinear(m), ((SIZE, SIZE),)),
        "lu": row(lambda m, b: distrax.LowerUpperTriangularAffine(m, b), ((SIZE, SIZE), (SIZE,))),
        "sigmoid": row(lambda: distrax.Block(distrax.Sigmoid(), 1), (), domain="unit"),
    }
