"""Processes that turn data into noise over time; no parameters, no Flax. Imports nothing eagerly.

Time runs from the data (t = 0) to noise (t = 1), everywhere in dgmjax.
"""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
