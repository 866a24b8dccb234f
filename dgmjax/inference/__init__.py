"""Monte Carlo inference: kernels and samplers over arrays and callables. Imports nothing eagerly.

A kernel is a pair `(init, step)`; annealing and sequential Monte Carlo are built of the same steps.
Nothing here needs Flax: log-densities are functions of arrays.
"""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
