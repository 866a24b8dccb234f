"""Layers and networks: Flax modules that return arrays or parameters for a family."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
