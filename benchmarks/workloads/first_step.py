"""A process that trains the model of `vae_mnist` for one step: the cost of a first run.

    python -m benchmarks.workloads.first_step [--tiny]

The images are random (of MNIST's shape and type), so that no data set is needed; all else is as in
`dgmjax train vae_mnist`.
"""

import sys


def main(tiny: bool) -> None:
    from dgmjax.devices import environment

    environment.configure()
    import jax
    import numpy as np

    from dgmjax import data, models, objectives, training

    num, hidden = (200, (8, 8)) if tiny else (60_000, (200, 200))
    images = np.random.default_rng(0).integers(0, 256, (num, 28, 28, 1), np.uint8)
    optimiser = training.adam(1e-3, 300_000, eps=1e-4)
    learner = training.gradient_learner(
        models.DenseVAE((28, 28, 1), 50, hidden),
        {"model": training.Player(objectives.elbo, optimiser)},
    )
    result = training.fit(
        learner,
        {"x": images},
        key=jax.random.key(0),
        steps=1,
        batch_size=100,
        transform=data.Binarise("dynamic"),
    )
    if not np.isfinite(result.history[-1]["loss"]):
        raise SystemExit("the first step's loss is not finite")


if __name__ == "__main__":
    main("--tiny" in sys.argv)
