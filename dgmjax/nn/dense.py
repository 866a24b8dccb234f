"""Dense layers whose gradients stay fast over several batch axes, and their initial biases."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from dgmjax.errors import require
from dgmjax.types import Array


def one_batch_axis(x: Array, kernel: Array, dimension_numbers: Any, **options: Any) -> Array:
    """`jax.lax.dot_general(x, kernel, ...)` of the last axis of `x` and the first of `kernel`.

    With several batch axes, XLA on a CPU copies the cotangent into another layout to take the
    gradient with respect to the kernel, which makes that gradient 1.3 to 4 times slower
    (jax 0.10.2); over one axis it does not.
    """
    if x.ndim <= 2:
        return jax.lax.dot_general(x, kernel, dimension_numbers, **options)
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = jax.lax.dot_general(flat, kernel, (((1,), (0,)), ((), ())), **options)
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


Dense = partial(nn.Dense, dot_general=one_batch_axis)
"""`flax.linen.Dense` over `one_batch_axis`: `x[..., C]` -> `[..., features]`."""


def check_width(module: nn.Module, layer: tuple[str, ...], width: int, x: Array) -> None:
    """Names an input of another size than that for which the parameters were made.

    Args:
      module: whose `__call__` this is, at its start; nothing is checked before it has parameters.
      layer: names of the layer that reads the input, e.g. ("Dense_0",).
      width: how many numbers that layer would be given.
      x: the input, for the message.

    Raises:
      DgmjaxError: it reads another number of them.
    """
    if not module.has_variable("params", layer[0]):
        return
    params = flatten_dict(module.get_variable("params", layer[0]))
    # The axis of inputs is the last but one of dense and of convolutional kernels alike.
    known: int = params[(*layer[1:], "kernel")].shape[-2]
    rule = f"must have the size for which the parameters were made ({known} inputs of {layer[-1]})"
    require(width == known, "x", rule, f"{width}, of shape {x.shape}")


def start_bias(module: nn.Module, layer: tuple[str, ...], bias: Array, x: Array) -> None:
    """Replaces the bias of a layer within `module` by one made from `x`; while it is initialised.

    The bias stays if `x` is constant, since then it is not data but zeros given for their shape.

    Args:
      layer: names that lead to it, e.g. ("Dense_2",); it has been called before.
      bias: of any shape with the same number of entries; otherwise nothing is done.
    """
    params = flatten_dict(module.get_variable("params", layer[0]))
    place = (*layer[1:], "bias")
    old = params[place]
    if bias.size == old.size:
        params[place] = jnp.where(x.max() > x.min(), bias.reshape(old.shape), old)
    module.put_variable("params", layer[0], unflatten_dict(params))
