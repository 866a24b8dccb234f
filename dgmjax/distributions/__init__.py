"""Distributions that distrax lacks, and the families that turn parameters into distributions.

`families` holds the families (`families.Bernoulli()`); the names exported here are distributions.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
