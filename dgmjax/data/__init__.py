"""Data: sources by name, transforms, and batches that are a pure function of (seed, step)."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
