"""Steps of a `distributions.Sequential`: a recurrent cell of several parts, one step at a time."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.types import Array, PyTree


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables", "context", "inputs"],
    meta_fields=["module", "emits"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class BoundSteps:
    """A module bound to its variables and its condition, as one pytree.

    Attributes:
      module: with `init_carry(batch_shape)`, `absorb(carry, context, inputs, value)` and the
        method that `emits` names, `(carry, context, inputs) -> (carry, params)`.
      variables: its parameters.
      context: seen by every step.
      inputs: sequences, `[T, *batch, ...]` each leaf, of which a step sees its own.
      emits: name of the method that gives the parameters of a step.
    """

    module: Any
    variables: PyTree
    context: PyTree
    inputs: PyTree
    emits: str

    def init_carry(self, batch_shape: tuple[int, ...]) -> PyTree:
        """See `distributions.sequential.Steps`."""
        return self.module.apply(self.variables, batch_shape, method="init_carry")

    def emit(self, carry: PyTree, inputs: PyTree) -> tuple[PyTree, Array]:
        """See `distributions.sequential.Steps`."""
        return self.module.apply(self.variables, carry, self.context, inputs, method=self.emits)

    def absorb(self, carry: PyTree, inputs: PyTree, value: Array) -> PyTree:
        """See `distributions.sequential.Steps`."""
        return self.module.apply(
            self.variables, carry, self.context, inputs, value, method="absorb"
        )

    def states(self, values: Array, axis: int) -> tuple[PyTree, PyTree]:
        """The state before each step along known `values`, and after the last.

        Steps run along the first axis of these states, and along `axis` of `values`.
        """
        batch = values.shape[:axis]

        def body(carry: PyTree, scanned: PyTree) -> tuple[PyTree, PyTree]:
            value, inputs = scanned
            # The carry before the step is what its parameters depend on.
            return self.absorb(carry, inputs, value), carry

        scanned = (jnp.moveaxis(values, axis, 0), self.inputs)
        last, before = scan(body, self.init_carry(batch), scanned)
        return before, last


def bind_steps(
    cell: nn.Module, emits: str = "emit", context: PyTree = None, inputs: PyTree = None
) -> BoundSteps:
    """A bound submodule as steps. It must have its parameters: run a step while initialising."""
    module, variables = cell.unbind()
    return BoundSteps(module, variables, context, inputs, emits)


def join(*parts: Array) -> Array:
    """`[..., sum of F_i]` of `[..., F_i]`, the axes before the last broadcast.

    >>> join(jnp.zeros((5, 2, 3)), jnp.ones((2, 1))).shape
    (5, 2, 4)
    """
    batch = jnp.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return jnp.concatenate([jnp.broadcast_to(p, (*batch, p.shape[-1])) for p in parts], -1)
