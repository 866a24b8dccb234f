"""Distributions that distrax lacks, and the families that turn parameters into distributions.

`families` holds the families (`families.Bernoulli()`); the names exported here are distributions.
"""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
