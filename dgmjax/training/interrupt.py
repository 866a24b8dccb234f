"""Signals that ask a process to stop: SIGINT (Ctrl-C), SIGTERM and SIGHUP."""

import signal
import threading
from types import FrameType
from typing import Any, Self

STOPS = ("SIGINT", "SIGTERM", "SIGHUP")


class _Handlers:
    """Handlers of the signals in `STOPS`, while a `with` block lasts.

    Python allows handlers in the main thread only; elsewhere there are none. SIGHUP stays ignored
    if it was, as `nohup` requires.

    Attributes:
      received: the last of the signals that came, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in STOPS):
                # `nohup` sets SIGHUP to be ignored before the program starts: a handler would undo
                # it.
                ignored = number is not None and signal.getsignal(number) is signal.SIG_IGN
                if number is not None and not (ignored and number.name == "SIGHUP"):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        raise NotImplementedError


class Interruption(_Handlers):
    """A flag that training looks at between compiled calls; a second SIGINT raises."""

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        # The first signal lets the compiled call end, so that the state is whole and can be saved.
        # Whoever presses Ctrl-C again will not wait for that.
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)


class Stopping(_Handlers):
    """Outside of training, each of the signals raises `KeyboardInterrupt`.

    Some libraries catch every exception while they are imported, including this one; `check` raises
    it again afterwards.
    """

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if a signal has come."""
        if self.received is not None:
            raise KeyboardInterrupt
