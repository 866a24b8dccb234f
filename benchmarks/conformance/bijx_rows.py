"""Bijections of bijx, over vectors of four, with a network of one tanh layer."""

import bijx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.conformance.row import SIZE, Row, scrambled

PACKAGES = ("bijx", "flax", "jax")
UNIT = (0.0, 1.0, -0.5, 1.5)
"""Special points of a spline on [0, 1]."""


class Network(nnx.Module):
    def __init__(self, num_in, num_out, rngs):
        self.linear = nnx.Linear(num_in, num_out, rngs=rngs)

    def __call__(self, x):
        return self.linear(jnp.tanh(x))


def row(make, **where) -> Row:
    """`make()` gives a bijection; its parameters are drawn anew, and its masks are made afresh in
    whatever precision is on."""

    def whole(params):
        with jax.ensure_compile_time_eval():
            graph, _, rest = nnx.split(make(), nnx.Param, ...)
        return nnx.merge(graph, params, rest)

    def maps(bijection):
        def one_way(run):
            def mapped(x):
                value, log_density = run(x, jnp.zeros(x.shape[:-1], x.dtype))
                return value, -log_density

            return mapped

        return one_way(bijection.forward), one_way(bijection.reverse)

    example = nnx.split(make(), nnx.Param, ...)[1]
    return Row(whole, lambda key, scale: scrambled(example, key, scale), maps, **where)


def coupling(inner) -> bijx.Bijection:
    """The second half transformed by `inner`, whose parameters are a network's of the first."""
    mask = bijx.BinaryMask((np.arange(SIZE // 2),), (SIZE,))
    template = bijx.ModuleReconstructor(inner)
    num = template.params_total_size
    network = Network(SIZE // 2, num * (SIZE // 2), nnx.Rngs(0))
    reshaped = lambda h: h.reshape(*h.shape[:-1], SIZE // 2, num)
    return bijx.GeneralCouplingLayer(nnx.Sequential(network, reshaped), mask, template)


def spline(shape) -> bijx.Bijection:
    return bijx.MonotoneRQSpline(9, shape, rngs=nnx.Rngs(0))


def affine(shape) -> bijx.Bijection:
    return bijx.AffineLinear(shape, shape, rngs=nnx.Rngs(0))


def rows() -> dict[str, Row]:
    vector = (SIZE,)
    return {
        "affine": row(lambda: affine(vector)),
        "elementwise_spline": row(lambda: spline(vector), extra=UNIT),
        "coupling_affine": row(lambda: coupling(affine(()))),
        "coupling_spline": row(lambda: coupling(spline(())), extra=UNIT),
        "cubic_rational": row(lambda: bijx.CubicRational(vector, vector, vector, rngs=nnx.Rngs(0))),
        "sigmoid": row(bijx.Sigmoid, domain="unit"),
        "softplus": row(bijx.SoftPlus, domain="positive"),
    }
