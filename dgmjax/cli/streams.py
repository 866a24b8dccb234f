"""Standard streams that never end a run: output that cannot be printed is dropped."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

REPLACEMENTS = {"±": "+-", "…": "..."}


class Unfailing:
    """A text stream whose writes never raise; everything else is the inner stream's.

    Characters that the terminal cannot show are replaced. After an error (a full disk, a closed
    terminal, a reader that has gone) nothing more is written.

    Args:
      inner: the stream, or None where the process was started without one.
    """

    def __init__(self, inner: Any):
        self._inner = inner
        self.broken = inner is None

    def write(self, text: str) -> int:
        """Writes what can be written; returns the length of `text`."""
        if not self.broken:
            try:
                self._inner.write(self._shown(text))
            except (OSError, ValueError):
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flushes the inner stream."""
        if not self.broken:
            try:
                self._inner.flush()
            except (OSError, ValueError):
                self._give_up()

    def isatty(self) -> bool:
        """Whether the inner stream is a terminal."""
        return not self.broken and self._inner.isatty()

    def _shown(self, text: str) -> str:
        encoding = getattr(self._inner, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            for character, plain in REPLACEMENTS.items():
                text = text.replace(character, plain)
            text = text.encode(encoding, "replace").decode(encoding)
        return text

    def _give_up(self) -> None:
        """Points the stream's descriptor nowhere, so that Python's own flush at exit works."""
        self.broken = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._inner.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_inner"], name)


@contextlib.contextmanager
def unfailing_streams() -> Iterator[None]:
    """Inside, `sys.stdout` and `sys.stderr` are `Unfailing`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Unfailing(sys.stdout), Unfailing(sys.stderr)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
