"""Teacher of a distillation: a trained module with its variables."""

from typing import Any, NamedTuple

from dgmjax.types import Array, PyTree


class Teacher(NamedTuple):
    """A trained module with its variables, which are not trained.

    Attributes:
      module: whose `__call__(context)` returns a distribution, and which has `context(label)`
        where batches hold a `label`.
      variables: of the module.
    """

    module: Any
    variables: PyTree

    def __call__(self, context: Array | None = None) -> Any:
        """Its distribution given a context."""
        return self.module.apply(self.variables, context)

    def context(self, label: Array) -> Array:
        """The context of a class."""
        return self.module.apply(self.variables, label, method="context")
