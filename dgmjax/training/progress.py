"""Progress line: rewritten in place on a terminal, repeated now and then elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TextIO


class Progress:
    """Reports step, loss, examples per second and time left; compilation is timed apart.

    Args:
      total: steps of the whole run.
      examples_per_step: to turn steps into examples.
      stream: where to write; standard error if None.
      every: seconds between lines if the stream is not a terminal.
      quiet: writes nothing.
    """

    def __init__(
        self,
        total: int,
        examples_per_step: int,
        *,
        stream: TextIO | None = None,
        every: float = 10.0,
        quiet: bool = False,
    ):
        self.stream = sys.stderr if stream is None else stream
        self.total, self.examples_per_step = total, examples_per_step
        self.every, self.quiet = every, quiet
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.rate = 0.0
        self._steps = 0
        self._last = -float("inf")
        self._open_line = False

    def update(
        self, step: int, steps: int, seconds: float, losses: Mapping[str, float] | None = None
    ) -> None:
        """After `steps` more steps in `seconds` (compilation left out)."""
        self._steps += steps
        self.seconds += seconds
        self.rate = self._steps * self.examples_per_step / max(self.seconds, 1e-9)
        now = time.monotonic()
        terminal = self.stream.isatty()
        if now - self._last < (0.2 if terminal else self.every) and step < self.total:
            return
        self._last = now
        left = (self.total - step) * self.examples_per_step / max(self.rate, 1e-9)
        parts = [
            f"step {step}/{self.total}",
            *(f"{name} {loss:.4f}" for name, loss in (losses or {}).items()),
            f"{self.rate:,.0f} examples/s",
            f"compiled in {self.compile_seconds:.1f} s",
            f"{_duration(left)} left",
        ]
        self._write(_fitted(parts, _columns(self.stream)), stays=not terminal)

    @contextlib.contextmanager
    def busy(self, words: str) -> Iterator[None]:
        """Inside, a spinner with these words turns, if the stream is a terminal."""
        with busy(words, self.stream, self.quiet):
            yield

    def message(self, text: str) -> None:
        """A line of its own."""
        self._write(text, stays=True)

    def close(self) -> None:
        """Ends an open line."""
        if self._open_line and not self.quiet:
            self.stream.write("\n")
            self._open_line = False

    def _write(self, text: str, stays: bool) -> None:
        if self.quiet:
            return
        # Back to the start and erase: the new text may be shorter than the old.
        start = "\r\x1b[2K" if self._open_line else ""
        self.stream.write(start + text + ("\n" if stays else ""))
        self.stream.flush()
        self._open_line = not stays


@contextlib.contextmanager
def busy(words: str, stream: TextIO | None = None, quiet: bool = False) -> Iterator[None]:
    """Inside, a spinner with these words turns on a terminal; elsewhere nothing is written.

    For the silent seconds of reading data, of compilation and of measuring.
    """
    stream = sys.stderr if stream is None else stream
    if quiet or not stream.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=stream).status(words):
        yield


def _columns(stream: TextIO) -> int | None:
    """Width of the terminal; None if the stream is not one, or the width is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def _fitted(parts: list[str], columns: int | None) -> str:
    """The parts in a line; on a narrow terminal those that fit, so that the line never wraps.

    >>> _fitted(["step 5/9", "loss 1.0000", "2,000 examples/s", "0:02 left"], 33)
    'step 5/9  loss 1.0000  0:02 left'
    """
    # From the right, but never the first or the last: the step and the time left always stay.
    parts, removable = list(parts), len(parts) - 2
    while columns is not None and len("  ".join(parts)) >= columns and removable >= 1:
        del parts[removable]
        removable -= 1
    line = "  ".join(parts)
    return line if columns is None else line[: columns - 1]


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3725)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
