"""Devices: meshes, processes, the watchdog and the environment. Knows no model."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
