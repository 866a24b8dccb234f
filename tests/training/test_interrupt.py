"""Signals: the same end for SIGINT, SIGTERM and SIGHUP, whatever the process is doing."""

import os
import signal
import time

import pytest

from dgmjax.cli import commands
from dgmjax.training.interrupt import Interruption, Stopping

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_outside_of_training_ends_a_command_with_a_word(monkeypatch, capsys, number):
    def killed(arguments):
        os.kill(os.getpid(), number)
        time.sleep(5.0)

    before = [signal.getsignal(number) for number in SIGNALS]
    signal.signal(number, lambda *_: None)  # a failure must not end the tests
    monkeypatch.setitem(commands.COMMANDS, "list", killed)
    started = time.monotonic()
    code = commands.main(["list"])
    signal.signal(number, before[SIGNALS.index(number)])
    assert code == 130 and time.monotonic() - started < 4
    assert capsys.readouterr().err.startswith("interrupted")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_swallowed_signal_is_raised_again():
    with Stopping() as stopping:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1.0)
        except BaseException:
            pass  # as some libraries do while they are imported
        with pytest.raises(KeyboardInterrupt):
            stopping.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_training_takes_every_signal_as_a_flag(number):
    before = signal.signal(number, signal.default_int_handler)  # as without `nohup`
    try:
        with Stopping(), Interruption() as interruption:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            assert interruption.received == number
    finally:
        signal.signal(number, before)


def test_a_hang_up_stays_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopping() as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stopping.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
