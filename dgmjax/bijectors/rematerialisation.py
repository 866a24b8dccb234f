"""Less memory in the backward pass: layers that are computed again instead of kept."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax


class Rematerialisation:
    """What happened inside `rematerialising()`.

    Attributes:
      layers: layers that were traced so that they are computed again.
    """

    def __init__(self):
        self.layers = 0


_active: ContextVar[Rematerialisation | None] = ContextVar("rematerialising", default=None)


@contextlib.contextmanager
def rematerialising() -> Iterator[Rematerialisation]:
    """While tracing inside, each layer of a composition keeps its input only.

    The backward pass computes the layer again: memory grows with depth by one activation a layer,
    for about a third more time. Values and gradients are the same. XLA for CPUs merges what is
    computed twice in one straight program, so that there only scanned layers (`Repeat`) save
    memory; elsewhere all do.

    Source: Chen, Xu, Zhang & Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016.
    """
    happened = Rematerialisation()
    token = _active.set(happened)
    try:
        yield happened
    finally:
        _active.reset(token)


def rematerialised(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.checkpoint(function)` inside `rematerialising()`, else `function` itself."""
    active = _active.get()
    if active is None:
        return function
    active.layers += 1
    return jax.checkpoint(function)
