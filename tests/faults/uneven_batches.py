"""Program of `test_processes`: training with batches that the processes do not divide."""

import sys
from pathlib import Path

import jax
import numpy as np
import optax

from dgmjax import models, objectives
from dgmjax.devices import processes
from dgmjax.training import Execution, Player, fit, gradient_learner


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 2)).astype(np.float32)}
    player = Player(objectives.negative_log_likelihood, optax.adam(1e-2))
    lines = []
    for options in ({"stream": False}, {"stream": True}, {"deterministic": True}):
        if options.get("deterministic") and jax.device_count() == 3:
            continue
        learner = gradient_learner(models.MAF(2, 1, (8,)), {"model": player})
        execution = Execution(log_every=1, **options)
        result = fit(
            learner, data, key=jax.random.key(0), steps=6, batch_size=10, execution=execution
        )
        lines.append(" ".join(repr(line["loss"]) for line in result.history))
    if processes.is_main():
        (folder / "losses.txt").write_text("\n".join(lines))


if __name__ == "__main__":
    with processes.session():
        main(Path(sys.argv[1]))
