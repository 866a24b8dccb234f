"""Nothing that is printed ends a command."""

import io
import subprocess
import sys

import pytest

from dgmjax.cli.streams import Unfailing, unfailing_streams

PRINTS = """
import sys
from dgmjax.cli import commands
from dgmjax.runs.record import Record

fields = dict.fromkeys(("experiment", "model", "dataset", "split", "estimator"), "x")
fields |= {"binarisation": None, "num_examples": 10, "metric": "nll_nats", "value": 1.5}
fields |= {"standard_error": 0.5, "unit": "nats", "published": None, "seed": 0, "step": 5}
record = Record(**fields, device="cpu x 1", versions={}, seconds=1.0)

def train(arguments):
    print(record.summary())
    print("warning", file=sys.stderr)
    print("x" * 100_000)
    open(sys.argv[1], "w").write("the work is done")

commands.COMMANDS["train"] = train
sys.exit(commands.main(["train"]))
"""


@pytest.mark.parametrize(
    "start, encoding",
    [
        ('exec "$@"', "ascii"),
        ('"$@" >&-', "utf-8"),
        ('"$@" 2>&-', "utf-8"),
        ('"$@" >&- 2>&-', "utf-8"),
        ('"$@" > /dev/full', "utf-8"),
        ('"$@" > /dev/full 2>&1', "utf-8"),
        ('"$@" | true', "utf-8"),
    ],
)
def test_a_command_goes_on_whatever_its_terminal_does(tmp_path, start, encoding):
    (tmp_path / "prints.py").write_text(PRINTS)
    command = ["sh", "-c", start, "sh", sys.executable, "prints.py", "done.txt"]
    environment = {"PYTHONIOENCODING": encoding, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, env=environment)
    assert (tmp_path / "done.txt").read_text() == "the work is done", done.stderr
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    if encoding == "ascii":
        assert b"1.50 +- 0.50 nats" in done.stdout


def test_what_cannot_be_shown_is_replaced():
    inner = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = Unfailing(inner)
    assert stream.write("1 ± 2 ö") == 7
    stream.flush()
    assert inner.buffer.getvalue() == b"1 +- 2 ?"


def test_no_stream_at_all_and_the_streams_come_back(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    before = sys.stderr
    with unfailing_streams():
        print("nowhere")
        assert not sys.stdout.isatty()
    assert sys.stdout is None and sys.stderr is before
