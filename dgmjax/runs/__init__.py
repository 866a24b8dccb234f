"""Runs on disk: run folders, records, checkpoints and reports."""

from dgmjax.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
