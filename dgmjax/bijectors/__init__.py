"""Invertible maps with tractable log-determinants. Needs jax and distrax only.

`forward` goes from the base z to the data x; see `dgmjax.bijectors.base` for the conventions.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
