"""A run that is killed by SIGKILL at random moments until it was killed often enough.

    python many_kills.py FOLDER KILLS

The parent imports everything once and forks a child for each attempt; the child trains the run in
FOLDER and dies at a random moment after its first step. Prints a JSON object: the digest of the
final state, the kills, the most steps that an attempt repeated, and which steps made the result.
"""

import hashlib
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import optax
import orbax.checkpoint  # noqa: F401  before the fork, since it takes long

from dgmjax import data, models, objectives
from dgmjax.runs import RunFolder
from dgmjax.training import Execution, Player, Validation, fit, gradient_learner, steps

STEPS, INTERVAL = 12_000, 40
DELAY = 0.03  # seconds: longer than it takes to write a checkpoint


def train(folder: Path, lives: int | None) -> str:
    """Trains, or goes on training, the run; notes each call's steps; returns the digest.

    After `lives` steps it is killed, at a random moment within `DELAY`; None for never.
    """
    x = np.random.default_rng(0).integers(0, 17, (200, 8, 8, 1)).astype(np.uint8)
    vae = models.DenseVAE((8, 8, 1), latent=4, hidden=(32,))
    learner = gradient_learner(vae, {"model": Player(objectives.elbo, optax.adam(1e-3))})
    usual, log = steps.ResidentSteps.run, os.open(folder / "steps.txt", os.O_WRONLY | os.O_APPEND)
    left = [STEPS if lives is None else lives]

    def noted(self, state, sums, step, count):
        state, sums, taken = usual(self, state, sums, step, count)
        jax.block_until_ready(sums)
        os.write(log, f"{step} {step + taken}\n".encode())
        left[0] -= taken
        if lives is not None and left[0] <= 0 < left[0] + taken:
            threading.Thread(target=die, daemon=True).start()
        return state, sums, taken

    steps.ResidentSteps.run = noted
    result = fit(
        learner,
        {"x": x},
        key=jax.random.key(0),
        steps=STEPS,
        batch_size=8,
        transform=data.Binarise("dynamic", levels=17),
        run=RunFolder.create(folder / "run", "killed", {}, 0),
        execution=Execution(log_every=INTERVAL, checkpoint_every=INTERVAL),
        validation=Validation(every=10 * INTERVAL),
    )
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(result.state):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def attempt(folder: Path, lives: int | None) -> bool:
    """One child; whether it came to the end."""
    with open(folder / "steps.txt", "a") as log:
        log.write("start\n")
    child = os.fork()
    if child == 0:
        (folder / "digest.txt").write_text(train(folder, lives))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"the child failed with status {status}")
    return not killed


def die() -> None:
    """Kills this process soon."""
    time.sleep(random.Random(os.urandom(8)).uniform(0.0, DELAY))
    os.kill(os.getpid(), signal.SIGKILL)


def attempts(folder: Path) -> list[list[tuple[int, int]]]:
    """The calls `(first step, end)` of each attempt that took a step."""
    found: list[list[tuple[int, int]]] = []
    for line in (folder / "steps.txt").read_text().splitlines():
        if line == "start":
            found.append([])
        else:
            first, end = map(int, line.split())
            found[-1].append((first, end))
    return [calls for calls in found if calls]


def main(folder: Path, kills: int) -> None:
    rng, killed = random.Random(0), 0
    folder.mkdir(parents=True)
    (folder / "steps.txt").touch()
    while True:
        if attempt(folder, rng.randint(1, 2 * INTERVAL) if killed < kills else None):
            break
        killed += 1
    history = attempts(folder)
    repeated = [calls[-1][1] - after[0][0] for calls, after in itertools.pairwise(history)]
    ends = [after[0][0] for after in history[1:]] + [STEPS]
    made = [step for calls, end in zip(history, ends) for step in range(calls[0][0], end)]
    digest = (folder / "digest.txt").read_text()
    result = {"digest": digest, "kills": killed, "repeated": repeated, "made": made}
    print(json.dumps({**result, "interval": INTERVAL}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
