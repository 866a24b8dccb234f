"""Convolutions whose gradients, and gradients of gradients, stay fast inside compiled loops."""

import math
from collections.abc import Sequence
from functools import partial, reduce
from operator import add

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from dgmjax.bijectors.carry import by_platform
from dgmjax.types import Array

Pads = tuple[tuple[int, int], ...]

SUMMED = 4096
"""Pixels, of all examples together, that a product for a gradient of a kernel sums over."""
MOST_PARTS = 16
"""Of a batch; more take long to compile."""
NARROW = 16
"""Channels, of either side, below which one product is for all taps."""


def convolution(
    x: Array,
    kernel: Array,
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] | None = None,
) -> Array:
    """y[n, s, o] = sum_{t, i} x[n, stride s + dilation t - low, i] kernel[t, i, o].

    The same numbers as `jax.lax.conv_general_dilated`, in value and derivatives. On a CPU, XLA
    brings a convolution into the layout of its fast kernels only outside of loops; the gradient
    with respect to the kernel then runs 50 to 90 times slower inside a `lax.scan` over training
    steps (jax 0.10.2, 28x28 images of 32 channels). Here the tangents are arranged such that
    their transposes are in that layout from the start, and divided into products of a size that
    its library is fast at.

    Args:
      x: `[N, *space, C]`, one to three spatial axes.
      kernel: `[*taps, C, features]`.
      strides, dilation: of each spatial axis; 1 if None.
      padding: "SAME", "VALID", or (low, high) of each spatial axis.
    """
    return _convolve(x, kernel, *_geometry(x, kernel, strides, padding, dilation))


def convolution_by_taps(
    x: Array,
    kernel: Array,
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] | None = None,
) -> Array:
    """The same as `convolution`, on a CPU as one matrix product for each tap of the kernel.

    Derivatives of every order are products as well, where those of a derivative of `convolution`
    are not: for a gradient penalty of a critic, inside a `lax.scan` over training steps, XLA's
    second derivatives ran at 2 to 10 GFLOP/s of one core and these at 25 to 180 (jax 0.10.2, 2x2
    and 3x3 taps, 64 images). Kernels of 2x2 taps are faster this way in first derivatives too;
    with 3x3 taps and maps of 14x14 pixels or more, `convolution` is 1.5 to 2.5 times as fast there.
    Other platforms convolve.
    """
    return _by_taps(x, kernel, *_geometry(x, kernel, strides, padding, dilation))


def _geometry(x: Array, kernel: Array, strides, padding, dilation):
    """Strides, padding and dilation of every spatial axis."""
    ndim = x.ndim - 2
    strides = tuple(strides or (1,) * ndim)
    dilation = tuple(dilation or (1,) * ndim)
    if isinstance(padding, str):
        reach = [(taps - 1) * d + 1 for taps, d in zip(kernel.shape, dilation)]
        padding = jax.lax.padtype_to_pads(x.shape[1:-1], reach, strides, padding)
    return strides, tuple(map(tuple, padding)), dilation


# The rule keeps the operands alone for the derivatives; those of the products would be the pixels
# under every tap.
@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _by_taps(x: Array, kernel: Array, strides, padding: Pads, dilation) -> Array:
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    return by_platform(partial(_products, **options), partial(_plain, **options), x, kernel)


def _tangent_by_taps(strides, padding: Pads, dilation, primals, tangents):
    x, kernel = primals
    dx, dkernel = tangents
    like = partial(_by_taps, strides=strides, padding=padding, dilation=dilation)
    parts = [like(dx, kernel)] if _moves(dx) else []
    parts += [like(x, dkernel)] if _moves(dkernel) else []
    out = like(x, kernel)
    return out, reduce(add, parts) if parts else jnp.zeros_like(out)


# A derivative along x alone, as of a mean flow or of a trace, has no part of the kernel; computed
# with zeros all the same, it made a training step of a mean flow take 2.5 times as long.
_by_taps.defjvp(_tangent_by_taps, symbolic_zeros=True)


def _products(x: Array, kernel: Array, strides, padding: Pads, dilation) -> Array:
    *taps, channels, features = kernel.shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    reach = [(n - 1) * d + 1 for n, d in zip(taps, dilation)]
    space = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, strides)]

    def under(tap: tuple[int, ...], x: Array) -> Array:
        """Entries of `x[N, *space, ..]` that this tap reads."""
        starts = [at * d for at, d in zip(tap, dilation)]
        axes = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, space, strides)]
        return x[:, *axes]

    def times(x: Array, matrix: Array) -> Array:
        # XLA multiplies rows faster than images.
        return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[-1])

    # Products are slow where they sum over few numbers, or make few: then all taps share one.
    every = list(np.ndindex(*taps))
    if channels < NARROW:
        columns = jnp.concatenate([under(tap, x) for tap in every], -1)
        return times(columns, kernel.reshape(-1, features))
    if features < NARROW:
        parts = times(x, jnp.moveaxis(kernel, -2, 0).reshape(channels, -1))
        each = jnp.split(parts, len(every), -1)
        return reduce(add, [under(tap, part) for tap, part in zip(every, each)])
    return reduce(add, [times(under(tap, x), kernel[tap]) for tap in every])


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, strides, padding: Pads, dilation) -> Array:
    return _plain(x, kernel, strides, padding, dilation)


def _tangent(strides, padding: Pads, dilation, primals, tangents):
    x, kernel = primals
    dx, dkernel = tangents
    space, last = _space(x), x.ndim - 1
    like = partial(_native, strides=strides, padding=padding, dilation=dilation)
    out, parts = _convolve(x, kernel, strides, padding, dilation), []
    if _moves(dx):
        # The transpose with respect to x reads this kernel as "..IO".
        swapped = kernel.swapaxes(-1, -2)
        parts.append(like(dx, swapped, lhs=f"N{space}C", rhs=f"{space}OI", out=f"N{space}C"))
    if _moves(dkernel):
        # The transpose with respect to the kernel is a convolution of x, with examples for
        # channels, by the cotangent, with examples for inputs.
        channels_first = x.swapaxes(0, last)
        dkernel = jnp.moveaxis(dkernel, -2, 0)
        by_part = partial(like, lhs=f"C{space}N", rhs=f"I{space}O", out=f"{space}NC")
        cuts = list(range(0, len(x), _part(out)))[1:]

        def in_parts(x: Array, dkernel: Array) -> Array:
            pieces = jnp.split(x, cuts, last)
            return jnp.concatenate([by_part(piece, dkernel) for piece in pieces], -2)

        by_kernel = (
            by_platform(in_parts, by_part, channels_first, dkernel)
            if cuts
            else by_part(channels_first, dkernel)
        )
        parts.append(jnp.moveaxis(by_kernel, -2, 0))
    return out, reduce(add, parts) if parts else jnp.zeros_like(out)


_convolve.defjvp(_tangent, symbolic_zeros=True)


def _moves(tangent) -> bool:
    """Whether a tangent is more than a zero that is known while tracing."""
    return not isinstance(tangent, SymbolicZero)


def _part(out: Array) -> int:
    """Examples whose gradients of the kernel are summed in one product on a CPU.

    XLA's products of images on a CPU (jax 0.10.2) slow down where they sum over more than some
    thousands, and where the number of examples is odd: whole batches of 28x28 images ran at a
    third to a half of the speed of these parts. A batch that devices share stays whole.
    """
    num = max(len(out), 1)
    if out.ndim != 4 or jax.device_count() > 1:
        return num
    fours = max(SUMMED // math.prod(out.shape[1:-1]) // 4, -(-num // (4 * MOST_PARTS)), 1)
    return 4 * fours


def _plain(x: Array, kernel: Array, strides, padding: Pads, dilation) -> Array:
    space = _space(x)
    return _native(x, kernel, strides, padding, dilation, f"N{space}C", f"{space}IO", f"N{space}C")


def _native(x, kernel, strides, padding, dilation, lhs, rhs, out) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=(lhs, rhs, out)
    )


def _space(x: Array) -> str:
    return "DHW"[5 - x.ndim :]


def _for_flax(convolve):
    def of(x, kernel, strides, padding, lhs_dilation=None, rhs_dilation=None, **options) -> Array:
        return convolve(x, kernel, strides, padding, rhs_dilation)

    return of


Conv = partial(nn.Conv, conv_general_dilated=_for_flax(convolution))
"""`flax.linen.Conv`, without groups and input dilation, over `convolution`."""

TapConv = partial(nn.Conv, conv_general_dilated=_for_flax(convolution_by_taps))
"""The same over `convolution_by_taps`: the layer of critics, whose slopes are penalised."""
