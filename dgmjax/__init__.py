"""Deep generative models in JAX. Importing this package imports nothing heavy."""

from dgmjax.lazy import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(__name__, __file__)
