"""Metrics of a run: a file of JSON lines, and the same as TensorBoard events."""

import os
from pathlib import Path
from typing import Any

from dgmjax.errors import RunError, require
from dgmjax.files import open_file, read_file
from dgmjax.runs import strict_json
from dgmjax.runs.events import Events


class MetricsFile:
    """`metrics.jsonl`: one line `{"step": ..., name: value, ...}` per log step.

    A process that is killed while it writes leaves half a line. Readers skip it, and the next
    writer removes it. `truncate(step)` removes the lines after the step from which a run is
    resumed, so that the file ends up like that of an uninterrupted run.

    Args:
      path: the file; it need not exist.
      events: the folder for TensorBoard events, or None for none.
    """

    def __init__(self, path: Path, events: Path | None = None):
        self._path = path
        self._events_folder = events
        self._whole = False  # whether the file is known to end with a whole line
        self._events: Events | None = None
        self._purge_step: int | None = None

    def write(self, step: int, values: dict[str, Any]) -> dict[str, float]:
        """Appends a line, and returns its numbers; each value is a number or an array of one."""
        require(
            isinstance(step, int) and step >= 0,
            "step",
            "must be a Python integer of at least 0",
            repr(step),
            error=RunError,
        )
        numbers = {name: _number(name, value) for name, value in values.items()}
        line = strict_json.dumps({"step": step, **numbers}) + "\n"
        try:
            if not self._whole:
                lines = self._lines()
                self._cut(lines[-1][0] if lines else 0)
            # False while it writes: if this raises in the middle, the next call removes the half
            # line.
            self._whole = False
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with open(open_file(self._path, flags), "wb") as file:
                file.write(line.encode())
            self._whole = True
        except OSError as problem:
            raise RunError(_unwritable(self._path, problem)) from problem
        self._write_events(step, numbers)
        return numbers

    def read(self) -> list[dict[str, Any]]:
        """Every whole line, in the order written; [] where nothing has been written."""
        return [entry for _, entry in self._lines()]

    def truncate(self, step: int) -> None:
        """Removes every line whose step is larger than `step`, and TensorBoard events alike."""
        self.close()
        end = 0
        for position, entry in self._lines():
            if entry["step"] > step:
                break
            end = position
        self._cut(end)
        # A file of events cannot be cut: the next one declares the rest of the old ones void.
        self._purge_step = step + 1

    def close(self) -> None:
        """Closes the TensorBoard events; a later `write` begins a new file of them."""
        if self._events is not None:
            self._events.close()
        self._events = None

    def _lines(self) -> list[tuple[int, dict[str, Any]]]:
        """`(position of the line's end, entry)` for every whole line."""
        try:
            rows = read_file(self._path).split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise RunError(f"{self._path} cannot be read: {problem.strerror}.") from problem
        lines, position = [], 0
        # What follows the last newline is half a line, of a process that was killed.
        for number, row in enumerate(rows[:-1]):
            position += len(row) + 1
            try:
                entry = strict_json.loads(row.decode())
                sound = isinstance(entry, dict) and type(entry.get("step")) is int
                sound = sound and all(type(value) in (int, float, bool) for value in entry.values())
            except (ValueError, RecursionError):
                sound = False
            if sound:
                lines.append((position, entry))
            # A kill damages the end of a file only. Damage before other lines has another cause,
            # and silently dropping the line would hide it.
            elif any(rows[number + 1 :]):
                raise RunError(
                    f"Line {number + 1} of {self._path} is damaged. Remove that line, or the "
                    "file, to continue."
                )
        return lines

    def _cut(self, end: int) -> None:
        """Shortens the file to `end` bytes."""
        try:
            with open(open_file(self._path, os.O_WRONLY), "wb") as file:
                if os.fstat(file.fileno()).st_size != end:
                    file.truncate(end)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise RunError(_unwritable(self._path, problem)) from problem

    def _write_events(self, step: int, numbers: dict[str, float]) -> None:
        if self._events_folder is None:
            return
        if self._events is None:
            self._events = Events(self._events_folder, self._purge_step)
            self._purge_step = None
        self._events.write(step, numbers)


def _number(name: str, value: Any) -> float:
    require(name != "step", name, "is taken by the step itself", value, error=RunError)
    size = getattr(value, "size", 1)
    require(size == 1, name, "must be one number", f"{size} of them", "Average first.", RunError)
    number = value.item() if hasattr(value, "item") else value
    sound = isinstance(number, int | float)
    require(sound, name, "must be a number", repr(value), error=RunError)
    return number


def _unwritable(path: Path, problem: OSError) -> str:
    return (
        f"{path} cannot be written: {problem.strerror}. Free some space or check the folder's "
        "permissions, then give the same command to resume."
    )
