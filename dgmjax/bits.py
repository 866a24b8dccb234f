"""Numbers as integers of the same bits, which means over parts of a batch leave alone."""

import jax
import jax.numpy as jnp

from dgmjax.types import Array


def bits_of(x: Array) -> Array:
    """x in float32, as int32 of the same bits.

    Where gradients are taken in parts (`training.Microbatches`, `training.VirtualShards`), floating
    collections of a model become means over the parts, and integers those of one part. The mean of
    two samples, or of two vectors of data, is neither.

    >>> floats_of(bits_of(jnp.array([1.5, -2.0]))).tolist()
    [1.5, -2.0]
    """
    return jax.lax.bitcast_convert_type(jnp.asarray(x).astype(jnp.float32), jnp.int32)


def floats_of(bits: Array) -> Array:
    """The inverse of `bits_of`."""
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
