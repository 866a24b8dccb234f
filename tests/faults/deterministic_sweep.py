"""Program of `test_deterministic_sweep`: every experiment on several numbers of devices.

It runs with the compiler's usual optimisations, which the session of the tests turns off: rounding
that depends on the number of devices comes from them.
"""

import hashlib
import sys

import jax
import numpy as np

from dgmjax.lab import catalogue
from dgmjax.training import Execution, fit


def digest(experiment, devices, steps=2):
    result = fit(
        experiment.learner(),
        experiment.dataset.splits["train"],
        key=jax.random.key(0),
        steps=steps,
        batch_size=experiment.batch_size,
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
        one, eight = digest(experiment, 1), digest(experiment, 8)
        two = one if one == eight else digest(experiment, 2)  # compiling is most of the time
        print(name, one, two, eight, flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main(sys.argv[1:])
