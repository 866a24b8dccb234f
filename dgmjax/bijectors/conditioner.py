"""Conditioners: networks in the form that bijectors take, with parameters as leaves."""

import dataclasses
import functools
from typing import Any, Protocol

import jax

from dgmjax.types import Array, PyTree


class AutoregressiveNetwork(Protocol):
    """One network, two ways to run it.

    `params[..., i, :]` depends on `x[..., :i]` and the context only, in both. Not checked here:
    the conformance suite does (its Jacobian is exactly triangular).
    """

    def __call__(self, x: Array, context: PyTree | None = None) -> Array:
        """`x[..., D]` to `params[..., D, num_params]`, all positions in parallel."""

    def init_carry(self, batch_shape: tuple[int, ...], context: PyTree | None = None) -> PyTree:
        """The state before the first `step`."""

    def step(self, carry: PyTree, previous: Array, index: Array) -> tuple[PyTree, Array]:
        """`params[*batch_shape, num_params]` of position `index`.

        `previous[*batch_shape]` is the value at `index - 1`, and zero at index 0. The D steps
        together should cost about one parallel pass.
        """


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["variables", "keys"], meta_fields=["module"]
)
# Without generated equality: == of arrays is an array, which has no truth value.
@dataclasses.dataclass(frozen=True, eq=False)
class Conditioner:
    """A module with pure `apply`, bound to its variables, as one pytree.

    Args:
      module: hashable and comparable, with `apply(variables, *args, method=None)`: a Flax
        Linen module, or anything of that shape. Part of the tree's structure.
      variables: the module's parameters. Leaves: one may differentiate, stack and scan them.
      keys: named PRNG keys of a training step (dropout), or None; sampling never uses them.

    A closure over a network would be none of that, and would be compiled anew each time.
    """

    module: Any
    variables: PyTree
    keys: PyTree | None = None

    def __call__(self, x: Array, context: PyTree | None = None) -> Array:
        """`module.apply(variables, x, context)`."""
        # Only the parallel pass, that of training, has dropout: a step with noise of its own would
        # draw from another model than the one that is evaluated.
        options = {} if self.keys is None else {"rngs": self.keys}
        return self.module.apply(self.variables, x, context, **options)

    def init_carry(self, batch_shape: tuple[int, ...], context: PyTree | None = None) -> PyTree:
        """See `AutoregressiveNetwork`."""
        return self.module.apply(self.variables, batch_shape, context, method="init_carry")

    def step(self, carry: PyTree, previous: Array, index: Array) -> tuple[PyTree, Array]:
        """See `AutoregressiveNetwork`."""
        return self.module.apply(self.variables, carry, previous, index, method="step")
