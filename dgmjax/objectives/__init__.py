"""Objectives: pure functions `(model, batch, key) -> (loss[B], metrics)`, to be minimised."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
