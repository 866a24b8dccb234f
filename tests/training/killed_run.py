"""A small training run that kills itself (SIGKILL) at a chosen moment; run as a script.

    python killed_run.py FOLDER MOMENT COUNT MODEL

MOMENT is `never`, `step` (between compiled calls), `saving` (just after a save was started, while
it is written in the background) or `sealing` (committed, before its manifest); the process dies
the COUNT-th time that the moment comes. MODEL is `vae`; `progressive`: a GAN whose images grow
from step 12 on; or `gail`: the experiment in miniature, whose state holds environments. Prints
the SHA-256 of the final state.
"""

import hashlib
import os
import signal
import sys

os.environ.setdefault("PJRT_NPROC", "32")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import optax

from dgmjax import data, models, nn, objectives
from dgmjax.runs import RunFolder, checkpoints
from dgmjax.training import Execution, Player, Validation, fit, gradient_learner, steps


def die_at(moment: str, count: int) -> None:
    """Wraps the function that marks the moment."""
    left = [count]

    def dies(function, before):
        def wrapped(*arguments, **keywords):
            left[0] -= 1
            if before and left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **keywords)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    if moment == "step":
        steps.ResidentSteps.run = dies(steps.ResidentSteps.run, before=False)
    elif moment == "saving":
        checkpoints.Checkpoints.save = dies(checkpoints.Checkpoints.save, before=False)
    elif moment == "sealing":
        checkpoints.Checkpoints._seal = dies(checkpoints.Checkpoints._seal, before=True)


def size_of_encoder(state):
    """Something that differs from step to step."""
    return {"loss": float(np.abs(state.params["encoder"]["Dense_0"]["kernel"]).sum())}


def vae():
    """A learner, and the arguments of `fit`."""
    module = models.DenseVAE((8, 8, 1), latent=4, hidden=(32,))
    player = Player(objectives.elbo, optax.adam(1e-2))
    return gradient_learner(module, {"model": player}, ema_decay=0.9), {
        "steps": 120,
        "transform": data.Binarise("dynamic", levels=17),
        "execution": Execution(log_every=7),
        "validation": Validation(size_of_encoder, every=10),
    }


def progressive():
    """The same of a GAN whose images grow."""
    shape = (8, 8, 1)
    module = models.ProgressiveGAN(
        2, nn.ProgressiveGenerator(shape, 2, 2), nn.ProgressiveFeatures(shape, 2, 2), (12,), fade=8
    )
    adam = optax.adam(1e-2, b1=0.5)
    players = {
        "critic": Player(objectives.critic_loss, adam, ("features", "head")),
        "generator": Player(objectives.generator_loss, adam, ("generator",)),
    }
    return gradient_learner(module, players, ema_decay=0.9), {
        "steps": 30,
        "transform": data.Scale(17, low=-1.0),
        "execution": Execution(log_every=3, checkpoint_every=3),
    }


def gail():
    """The same of a policy in the middle of its episodes, and its demonstrations."""
    from dgmjax.lab import catalogue

    function = catalogue.load_experiment("gail")
    experiment = catalogue.build(function, catalogue.own_defaults(function), tiny=True)
    return experiment.learner(), {
        "data": experiment.dataset.splits["train"],
        "steps": 30,
        "execution": Execution(log_every=3, checkpoint_every=3),
    }


def main(folder: str, moment: str, count: int, model: str) -> None:
    """Trains, or goes on training, the run in `folder`."""
    x = np.random.default_rng(0).integers(0, 17, (64, 8, 8, 1)).astype(np.uint8)
    learner, settings = {"vae": vae, "progressive": progressive, "gail": gail}[model]()
    die_at(moment, count)
    result = fit(
        learner,
        settings.pop("data", {"x": x}),
        key=jax.random.key(0),
        batch_size=8,
        run=RunFolder.create(folder, "killed", {}, 0),
        **settings,
    )
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(result.state):
        digest.update(np.asarray(leaf).tobytes())
    print(digest.hexdigest(), result.best_step)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
