"""Signals that stop a command, from its first moment on."""

from dgmjax.training.interrupt import Stopping

STOPPING = Stopping()
