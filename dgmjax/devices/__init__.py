"""Devices: meshes, processes, the watchdog and the environment. Knows no model."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
