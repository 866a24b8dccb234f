"""Rematerialisation: layers recomputed in the backward pass to save memory."""

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


# A context variable and no global: traces in other threads keep their own setting.
_active: ContextVar[Rematerialisation | None] = ContextVar("rematerialising", default=None)


@contextlib.contextmanager
def rematerialising() -> Iterator[Rematerialisation]:
    """While tracing inside, each layer of a composition keeps its input only.

    The backward pass computes the layer again: memory grows with depth by one activation per layer,
    for about a third more time. Values and gradients are the same. XLA for CPUs merges what is
    computed twice in one straight program, so that there only scanned layers (`Repeat`) save
    memory; elsewhere all do.

    Source: Chen, Xu, Zhang & Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016,
    https://arxiv.org/abs/1604.06174.
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


_scanning: ContextVar[bool] = ContextVar("scanning", default=False)


@contextlib.contextmanager
def scanning() -> Iterator[None]:
    """While the body of a scan over layers is traced."""
    token = _scanning.set(True)
    try:
        yield
    finally:
        _scanning.reset(token)


def recomputed_in_scans(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.checkpoint(function)` in the body of a scan over layers, else `function` itself.

    For elementwise functions of many intermediate arrays: a scan copies each of them into an array
    over all layers, which takes longer than to compute them again (32 spline couplings: a
    gradient in half the time). Straight-line code copies nothing.
    """
    return jax.checkpoint(function) if _scanning.get() else function
