"""Sweeps: an experiment over values of its arguments and seeds, each run a process of its own."""

import itertools
import math
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from dgmjax.errors import DgmjaxError, require
from dgmjax.lab.session import TrainRequest

DEVICES = "CUDA_VISIBLE_DEVICES"
TRIES = 100
"""Draws for each combination that is asked for, of which some are drawn again."""


class Plan(NamedTuple):
    """What a sweep was asked for.

    Attributes:
      fixed: options that every run has, as written.
      values: option -> its values, as written.
      seeds: number of seeds, 0, 1, ...
      random: draws of random values; 0 for the grid of all.
      workers: processes at once.
      dry_run: whether to print the commands only.
    """

    fixed: list[str]
    values: dict[str, list[str]]
    seeds: int
    random: int
    workers: int
    dry_run: bool


def parse_sweep(arguments: Sequence[str]) -> Plan:
    """The plan of `--option value value ...` of the command line.

    Options of the sweep itself are `--seeds`, `--random`, `--workers` and `--dry-run`.

    >>> plan = parse_sweep(["--learning-rate", "1e-3", "3e-4", "--tiny", "--seeds", "2"])
    >>> plan.values, plan.fixed, plan.seeds
    ({'--learning-rate': ['1e-3', '3e-4']}, ['--tiny'], 2)
    """
    own = {"--seeds": 1, "--random": 0, "--workers": 1}
    options: dict[str, list[str]] = {}
    name = ""
    for word in arguments:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options.setdefault(name, []).extend([value] if equals else [])
        else:
            require(name != "", "sweep", "must begin with an option", word)
            options[name].append(word)
    for option in own:
        if option in options:
            given = " ".join(options.pop(option))
            whole = given.isdigit() and int(given) >= 1
            require(whole, option, "must be a whole number of at least 1", given)
            own[option] = int(given)
    dry_run = options.pop("--dry-run", None) is not None
    require("--seed" not in options, "--seed", "must be left out", "--seed", "Use `--seeds`.")
    require("--run-dir" not in options, "--run-dir", "must be left out of a sweep", "--run-dir")
    fixed = [name for name, values in options.items() if not values]
    values = {name: values for name, values in options.items() if values}
    return Plan(fixed, values, own["--seeds"], own["--random"], own["--workers"], dry_run)


def combinations(plan: Plan, several: Container[str] = ()) -> list[list[str]]:
    """The options of each run, seeds last.

    With `random`, that many different draws with a fixed seed: of each option one of its values,
    or, of one written `low:high`, a number between, uniform in its logarithm.

    Args:
      several: options that take several values at once, which commas part: `--hidden 200,200 100`.
    """
    found = [_words(chosen, several) for chosen in _chosen(plan)]
    return [
        [*options, *plan.fixed, "--seed", str(seed)]
        for options in found
        for seed in range(plan.seeds)
    ]


def _chosen(plan: Plan) -> list[dict[str, str]]:
    if not plan.random:
        ranges = [value for values in plan.values.values() for value in values if ":" in value]
        remedy = "`low:high` is for `--random N`."
        require(not ranges, "sweep", "must name values", ranges, remedy)
        grid = itertools.product(*plan.values.values())
        return [dict(zip(plan.values, values, strict=True)) for values in grid]
    generator, found = random.Random(0), dict[tuple[str, ...], dict[str, str]]()
    for _ in range(TRIES * plan.random):
        drawn = {name: _drawn(generator, values) for name, values in plan.values.items()}
        found.setdefault(tuple(drawn.values()), drawn)
        if len(found) == plan.random:
            return list(found.values())
    rule = f"must be at most the {len(found)} different combinations of the values"
    raise DgmjaxError(f"`--random` {rule}; got {plan.random}. Leave it out to train them all.")


def _drawn(generator: random.Random, values: Sequence[str]) -> str:
    value = generator.choice(list(values))
    low, colon, high = value.partition(":")
    if not colon:
        return value
    try:
        ends = math.log(float(low)), math.log(float(high))
    except ValueError:
        raise DgmjaxError(f"`low:high` must be two numbers above 0; got {value}.") from None
    return f"{math.exp(generator.uniform(*ends)):.4g}"


def _words(chosen: Mapping[str, str], several: Container[str]) -> list[str]:
    parts = lambda name, value: value.split(",") if name in several else [value]
    return [word for name, value in chosen.items() for word in (name, *parts(name, value))]


def with_own_places(
    options: list[str], request: TrainRequest, plan: Plan, own: Container[str]
) -> tuple[list[str], TrainRequest]:
    """The run in a folder, and with a place of checkpoints, that no other run of the plan has.

    A folder's name lacks the options that all experiments share, such as `--compute-dtype`: runs
    that differ in nothing else would be taken for one. Below `--checkpoint-dir` there is a folder
    for each run, by the name of its own.

    Args:
      own: the experiment's own options, as written.
    """
    options, request = _with_folder(options, request, plan, own)
    place = request.execution.checkpoint_dir
    if place is None:
        return options, request
    place = f"{place.rstrip('/')}/{request.experiment}/{request.place().name}"
    request = replace(request, execution=replace(request.execution, checkpoint_dir=place))
    if "--checkpoint-dir" not in options:  # a file of arguments names it; what is written counts
        return [*options, "--checkpoint-dir", place], request
    at = options.index("--checkpoint-dir") + 1
    return [*options[:at], place, *options[at + 1 :]], request


def _with_folder(
    options: list[str], request: TrainRequest, plan: Plan, own: Container[str]
) -> tuple[list[str], TrainRequest]:
    varied = [name for name, values in plan.values.items() if len(values) > 1 and name not in own]
    if not varied:
        return options, request
    told = [f"{name[2:]}_{options[options.index(name) + 1]}" for name in varied]
    place = request.place()
    folder = place.with_name("-".join([place.name, *(re.sub(r"[^\w.+-]", "_", t) for t in told)]))
    return [*options, "--run-dir", str(folder)], replace(request, run_dir=folder)


def is_done(request: TrainRequest) -> Path | None:
    """The folder of the run if it has been carried out to its end, with the same options."""
    from dgmjax.runs.folder import RunFolder

    if not request.exists():
        return None
    path = request.place()
    run = RunFolder(path)
    same = not run.numbers_differ(request.execution.changed())
    same = same and run.options.get("steps") == request.steps
    return path if same and run.has_results else None


def carry_out_all(
    experiment: str,
    runs: Sequence[tuple[list[str], TrainRequest]],
    workers: int,
    say: Callable[[str], None] = print,
) -> tuple[list[Path], int]:
    """Trains every run that is not done, `workers` at once; their folders and the failures.

    Each of several workers has a device of its own, one of `CUDA_VISIBLE_DEVICES` or of all.
    """
    devices: SimpleQueue[str] = SimpleQueue()
    named = os.environ.get(DEVICES, "").split(",")
    for index in range(workers):
        devices.put(named[index] if index < len(named) and named[0] else str(index))

    def one(numbered: tuple[int, tuple[list[str], TrainRequest]]) -> Path | None:
        number, (options, request) = numbered
        told = f"[{number}/{len(runs)}] {' '.join(options)}"
        try:
            done = is_done(request)
        except DgmjaxError as problem:  # a damaged folder ends this run, not the others
            say(f"{told}: failed, error: {problem}")
            return None
        if done is not None:
            say(f"{told}: done already, {done}")
            return done
        device = devices.get()
        try:
            ended = _train([experiment, *options], {DEVICES: device} if workers > 1 else {})
        finally:
            devices.put(device)
        if ended.returncode == 130:
            raise KeyboardInterrupt
        if ended.returncode:
            last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
            say(f"{told}: failed, {last}")
            return None
        say(f"{told}: {request.place()}")
        return request.place()

    with ThreadPoolExecutor(workers) as pool:
        try:
            folders = list(pool.map(one, enumerate(runs, 1)))
        except KeyboardInterrupt:
            for process in list(_running):
                process.send_signal(signal.SIGINT)
            raise
    return [folder for folder in folders if folder is not None], folders.count(None)


_running: set[subprocess.Popen] = set()


def _train(arguments: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dgmjax", "train", *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # a signal to stop reaches it once, through the sweep
    ) as process:
        _running.add(process)
        try:
            out, err = process.communicate()
        finally:
            _running.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
