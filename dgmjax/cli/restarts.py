"""Supervision of a training process, with restarts after a crash. Imports no JAX."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

VARIABLE = "DGMJAX_SUPERVISED"
"""Set in the environment of a supervised process, which does not supervise another one."""

FINAL = (0, 2, 130)
"""Exit codes that no second attempt would change: done, something given was wrong, interrupted."""

LONGEST_PAUSE = 60.0


def supervise(
    command: Sequence[str],
    restarts: int,
    newest: Callable[[], Sequence[int | None]],
    *,
    pause: float = 1.0,
) -> int:
    """Runs `command` until it ends by itself, at most `1 + restarts` times; its last exit code.

    The pause before a restart doubles from one to the next, up to `LONGEST_PAUSE` seconds. Two
    crashes in a row without a new checkpoint between them count as permanent and end the attempts.

    Args:
      newest: step of the newest checkpoint of each run, None without one; called after a crash.
    """
    last: list[int | None] | None = None
    for attempt in range(restarts + 1):
        code = _run(command)
        if code in FINAL:
            return code
        steps = list(newest())
        saved = [step for step in steps if step is not None]
        where = f"after that of step {saved[-1]}" if saved else "before the first checkpoint"
        crash = f"training crashed ({_reason(code)}) {where}"
        if last == steps:
            _say(f"{crash} twice in a row; not restarted.")
            return code
        if attempt == restarts:
            _say(f"{crash}; not restarted after {restarts} restarts.")
            return code
        last, seconds = steps, min(LONGEST_PAUSE, pause * 2.0**attempt)
        _say(f"{crash}; restart {attempt + 1} of {restarts} in {seconds:g} s.")
        time.sleep(seconds)
    return code


def _run(command: Sequence[str]) -> int:
    """Exit code of the command, 128 + n for signal n; a request to stop is passed on."""
    # A group of its own: Ctrl-C on the terminal reaches the process once, through this one.
    process = subprocess.Popen(command, env={**os.environ, VARIABLE: "1"}, process_group=0)
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def _reason(code: int) -> str:
    if code > 128 and code - 128 in set(signal.Signals):
        return signal.Signals(code - 128).name
    return f"exit code {code}"


def _say(text: str) -> None:
    print(f"restart: {text}", file=sys.stderr, flush=True)
