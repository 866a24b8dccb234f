"""Figures of samples, densities, latent spaces and learning curves. Imports nothing eagerly."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
