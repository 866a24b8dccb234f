"""Models: Flax modules that return distributions, each a short recipe over generic parts."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
