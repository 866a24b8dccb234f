"""Evaluation: exact averages, bounds, and what a latent space does."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
