"""Quality of samples, of any family of models: arrays in, numbers out."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
