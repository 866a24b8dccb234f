"""Invertible maps with tractable log-determinants. Needs jax and distrax only.

`forward` goes from the base z to the data x; see `dgmjax.bijectors.base` for the conventions.
"""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
