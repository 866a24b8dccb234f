"""Data: sources by name, transforms, and batches that are a pure function of (seed, step)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
