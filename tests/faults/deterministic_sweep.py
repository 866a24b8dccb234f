"""Program of `test_deterministic_sweep`: every experiment on several numbers of devices.

Models and data are tiny, batches have the size that the experiment has by default.

It runs with the compiler's usual optimisations, which the session of the tests turns off: rounding
that depends on the number of devices comes from them.
"""

import hashlib
import sys

import jax
import numpy as np

from dgmjax.lab import catalogue
from dgmjax.training import Execution, fit


def digest(experiment, batch_size, devices, steps=2):
    rows = lambda a: np.resize(a, (max(len(a), batch_size), *a.shape[1:]))
    result = fit(
        experiment.learner(),
        {name: rows(array) for name, array in experiment.dataset.splits["train"].items()},
        key=jax.random.key(0),
        steps=steps,
        batch_size=batch_size,
        transform=experiment.transform,
        execution=Execution(mesh=f"data={devices}", deterministic=True, log_every=steps),
    )
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(result.state):
        sha.update(np.asarray(leaf).tobytes())
    return sha.hexdigest()[:16]


def main(names):
    for name in names or [entry.name for entry in catalogue.catalogue()]:
        function = catalogue.load_experiment(name)
        experiment = catalogue.build(function, {}, seed=0, tiny=True, data_dir=None)
        usual = {option: default for option, default, _ in catalogue.options(function)}
        size = usual.get("batch_size") or experiment.batch_size
        print(name, *(digest(experiment, size, devices) for devices in (1, 2, 4, 8)), flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main(sys.argv[1:])
