"""GAN on eight Gaussians: all eight modes covered, two players with optimisers of their own.

    dgmjax train gan_eight_gaussians
    dgmjax train gan_eight_gaussians --gradient-penalty 0

There is no likelihood. The record counts the modes that hold at least a quarter of their share of
10,000 samples, and the share of samples within three standard deviations of a mode. The second
command is the game without a penalty, which can drop modes.
Source: Goodfellow et al., "Generative Adversarial Nets", 2014, https://arxiv.org/abs/1406.2661.
"""

import math
from functools import partial

import numpy as np

from dgmjax import data, evaluation, lab, models, nn, objectives, runs, training

RADIUS, DEVIATION, NUM_SAMPLES = 2.0, 0.2, 10_000


def gan_eight_gaussians(
    *,
    latent: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    generator_learning_rate: float = 1e-3,
    discriminator_learning_rate: float = 1e-3,
    discriminator_steps: int = 1,
    gradient_penalty: float = 0.1,
    steps: int = 20_000,
    batch_size: int = 256,
    ema_decay: float = 0.999,
    tiny: bool = False,
) -> lab.Experiment:
    """The non-saturating game of an MLP generator and an MLP discriminator, with the R1 penalty.

    Args:
      latent: dimensions of the generator's noise.
      hidden: units of the hidden layers of both networks.
      generator_learning_rate: of the generator's Adam (b1 = 0.5).
      discriminator_learning_rate: of the discriminator's Adam (b1 = 0.5).
      discriminator_steps: updates of the discriminator for one of the generator.
      gradient_penalty: of the discriminator at data (R1); 0 for none.
      steps: training steps (generator updates).
      batch_size: points an update.
      ema_decay: of the averaged parameters that are evaluated.
      tiny: a few steps.
    """
    steps = 100 if tiny else steps
    dataset = data.load("eight_gaussians", n_train=50_000, n_validation=1000, n_test=NUM_SAMPLES)
    module = models.GAN(
        latent=latent,
        generator=nn.MLP(hidden, (2,)),
        # The name under which runs keep the critic's parameters.
        critic=nn.MLP(hidden, (1,), name="discriminator"),
    )
    penalties = (objectives.r1(gradient_penalty),) if gradient_penalty else ()
    players = {
        "discriminator": training.Player(
            partial(objectives.critic_loss, penalties=penalties),
            training.adam(discriminator_learning_rate, steps * discriminator_steps, b1=0.5),
            params=("discriminator",),
            steps=discriminator_steps,
        ),
        "generator": training.Player(
            objectives.generator_loss,
            training.adam(generator_learning_rate, steps, b1=0.5),
            params=("generator",),
        ),
    }
    return lab.Experiment(
        model="GAN",
        module=module,
        players=players,
        dataset=dataset,
        transform=data.Identity(),
        steps=steps,
        batch_size=batch_size,
        evaluate_every=max(1, steps // 10),
        ema_decay=ema_decay,
        estimators=(
            lab.Estimator(
                "modes_covered",
                "modes with at least a quarter of their share of 10,000 samples",
                lambda trained, _: measure(trained)[0],
                unit="count",
                published=runs.Published(8, "number of modes of the known density"),
            ),
            lab.Estimator(
                "samples_near_modes",
                "share of 10,000 samples within three standard deviations of a mode",
                lambda trained, _: measure(trained)[1],
                unit="fraction",
                published=runs.Published(
                    round(1 - math.exp(-4.5), 4), "the known density's own share"
                ),
            ),
        ),
        figures={"samples": lab.figures.samples},
        previews=("samples",),
    )


def measure(trained):
    """Modes covered, and the share of samples near a mode with its standard error."""
    x = trained.sample(NUM_SAMPLES, seed=1)
    angles = np.arange(8) * np.pi / 4
    modes = RADIUS * np.stack([np.cos(angles), np.sin(angles)], -1)
    distance = np.linalg.norm(x[:, None] - modes, axis=-1)
    near = distance.min(1) < 3 * DEVIATION
    counts = np.bincount(distance.argmin(1)[near], minlength=8)
    covered = int((counts >= NUM_SAMPLES / 8 / 4).sum())
    return (
        evaluation.Measurement(float(covered), None, NUM_SAMPLES),
        evaluation.average(near.astype(np.float64)),
    )
