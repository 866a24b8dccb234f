"""Bijections of flowjax, over vectors of four, with its own networks of one layer of 16 units."""

import equinox as eqx
import flowjax.bijections as fb
import jax
import jax.numpy as jnp
import paramax

from benchmarks.conformance.row import BOUND, BOUNDS, SIZE, Row, scrambled

PACKAGES = ("flowjax", "equinox", "jax")
NETWORK = {"nn_width": 16, "nn_depth": 1}


def fan_in(shape) -> int:
    """Of a network's weights `[out, in]`."""
    return shape[-1] if len(shape) > 1 else 1


def row(bijection, fan_in=lambda _: 1, **where) -> Row:
    """Its trainable arrays are drawn anew; constants and masks stay as they are."""
    fixed = lambda leaf: isinstance(leaf, paramax.NonTrainable)
    params, static = eqx.partition(bijection, eqx.is_inexact_array, is_leaf=fixed)

    def make(params):
        return eqx.combine(params, static, is_leaf=fixed)

    def maps(bijection):
        whole = paramax.unwrap(bijection)
        batched = lambda run: jnp.vectorize(run, signature="(n)->(n),()")
        return batched(whole.transform_and_log_det), batched(whole.inverse_and_log_det)

    return Row(make, lambda key, scale: scrambled(params, key, scale, fan_in), maps, **where)


def rows() -> dict[str, Row]:
    key = jax.random.key(0)
    spline = lambda: fb.RationalQuadraticSpline(knots=8, interval=BOUND)
    splines = eqx.filter_vmap(spline, axis_size=SIZE)
    return {
        "affine": row(fb.Affine(jnp.zeros(SIZE), jnp.ones(SIZE))),
        "elementwise_spline": row(fb.Vmap(splines(), in_axes=eqx.if_array(0)), extra=BOUNDS),
        "coupling_affine": row(
            fb.Coupling(
                key, transformer=fb.Affine(), untransformed_dim=SIZE // 2, dim=SIZE, **NETWORK
            ),
            fan_in,
        ),
        "coupling_spline": row(
            fb.Coupling(
                key, transformer=spline(), untransformed_dim=SIZE // 2, dim=SIZE, **NETWORK
            ),
            fan_in,
            extra=BOUNDS,
        ),
        "maf": row(
            fb.MaskedAutoregressive(key, transformer=fb.Affine(), dim=SIZE, **NETWORK), fan_in
        ),
        "maf_spline": row(
            fb.MaskedAutoregressive(key, transformer=spline(), dim=SIZE, **NETWORK),
            fan_in,
            extra=BOUNDS,
        ),
        "triangular": row(fb.TriangularAffine(jnp.zeros(SIZE), jnp.eye(SIZE))),
        "householder": row(fb.Householder(jnp.ones(SIZE))),
        "planar": row(fb.Planar(key, dim=SIZE)),
        "planar_leaky_relu": row(fb.Planar(key, dim=SIZE, negative_slope=0.1)),
        "leaky_tanh": row(fb.LeakyTanh(BOUND, (SIZE,)), extra=BOUNDS),
        "sigmoid": row(fb.Sigmoid((SIZE,)), domain="unit"),
        "softplus": row(fb.SoftPlus((SIZE,)), domain="positive"),
    }
