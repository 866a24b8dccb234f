"""Lab: experiments, trained models, and functions of them."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
