"""What generative models are used for: consumers of any model. Imports nothing eagerly."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
