"""`--restart`: a crash starts training again, and the same crash twice does not."""

import os
import sys

import pytest

from dgmjax.cli.restarts import VARIABLE, supervise

CRASH = """
import os, pathlib, sys
count = pathlib.Path(sys.argv[1])
done = int(count.read_text()) if count.exists() else 0
count.write_text(str(done + 1))
codes = [int(code) for code in sys.argv[2:]]
code = codes[min(done, len(codes) - 1)]
os.kill(os.getpid(), -code) if code < 0 else os._exit(code)
"""


def attempts(folder, codes, steps, restarts=3):
    """Exit code, and how many attempts were made."""
    count = folder / "count"
    command = [sys.executable, "-S", "-c", CRASH, str(count), *map(str, codes)]
    seen = iter(steps)
    code = supervise(command, restarts, lambda: [next(seen)], pause=0.0)
    return code, int(count.read_text())


@pytest.mark.parametrize(
    ("codes", "steps", "expected"),
    [
        ((0,), (), (0, 1)),
        ((2,), (), (2, 1)),
        ((130,), (), (130, 1)),
        ((1, -9, 75, 0), (None, 10, 20), (0, 4)),
        ((-9,), (10, 10), (137, 2)),
        ((1,), (None, None), (1, 2)),
        ((-11,), (1, 2, 3, 4), (139, 4)),
    ],
)
def test_a_crash_is_tried_again_unless_it_repeats(tmp_path, codes, steps, expected, capfd):
    assert attempts(tmp_path, codes, steps) == expected
    said = capfd.readouterr().err
    assert said.count("restart: training crashed") == len(steps)
    if expected[1] == 2:
        assert "twice in a row" in said


def test_a_supervised_process_knows_it(tmp_path):
    check = f"import os; os._exit(0 if os.environ.get({VARIABLE!r}) else 2)"
    assert supervise([sys.executable, "-S", "-c", check], 1, list) == 0
    assert VARIABLE not in os.environ
