"""Evaluation: exact averages, bounds, and measures of latent spaces."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
