"""Progressive GAN on MNIST: images of 7, 14 and 28 pixels in one run, or of 28 from the start.

    dgmjax train progressive_gan_mnist --channels 8 --most 32 --steps 3000 --data-dir DATA
    dgmjax train progressive_gan_mnist --no-grow --channels 8 --most 32 --steps 3000 --data-dir DATA

Both commands see as many images with the same networks, so that the records say what growing does
to the Frechet distance (in features of our own classifier) and to the time: a step of a coarser
level is cheaper. A run may be stopped and resumed in every stage. One seed each, on one core: at
full size, a distance of 179 after 12 minutes and 192,000 images; grown, 273 after 7 minutes and as
many images, and 171 after 17 minutes and twice as many. At 28 pixels growing does not save time:
half of the images are of this size, and the coarse ones teach little. Published for faces of
1024x1024: 5.4 times as fast, at an equal quality. Without these options the networks are wider and
the steps more: hours on a core.
Source: Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs for Improved Quality,
Stability, and Variation", 2018, section 6.2, https://arxiv.org/abs/1710.10196.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from dgmjax import lab, models, nn, training
from dgmjax.errors import require
from dgmjax.evaluation.samples import frechet_distance, load_feature_net

from ..shared import digits
from ..shared.games import Play, image_experiment, images_of

CHUNK = 500


def progressive_gan_mnist(
    *,
    dataset: Literal["mnist", "fashion_mnist"] = "mnist",
    grow: bool = True,
    stages: tuple[float, ...] = (0.25, 0.5),
    fade: float = 0.1,
    latent: int = 64,
    channels: int = 16,
    most: int = 64,
    steps: int = 10_000,
    play: Play = Play(penalty_weight=1.0, learning_rate=1e-3, ema_decay=0.999, batch_size=64),
) -> lab.Experiment:
    """A game of images in [-1, 1] that grow.

    Args:
      dataset: 28x28 grey images.
      grow: begin with the smallest images.
      stages: shares of all steps at which a level begins to fade in.
      fade: share of all steps that it takes.
      latent: dimensions of the generator's noise.
      channels: see `nn.ProgressiveGenerator`.
      most: channels that no map exceeds.
      steps: training steps (generator updates).
    """
    require(0.0 < fade <= 1.0, "fade", "must be in (0, 1]", fade)
    if grow:
        # Otherwise training would end, and samples be measured, before the full size.
        rule = f"must leave the last level its share `fade`, {fade}, of the steps to fade in"
        inside = all(0.0 <= share <= 1.0 - fade + 1e-9 for share in stages)
        require(inside, "stages", rule, stages)
    if play.tiny:
        latent, channels, most, steps, stages = 4, 4, 4, 10, (0.3,)
    images, levels = images_of(play, dataset)
    shape = images.event_shape
    begin = tuple(int(share * steps) for share in stages)
    module = models.ProgressiveGAN(
        latent=latent,
        generator=nn.ProgressiveGenerator(shape, channels, most),
        features=nn.ProgressiveFeatures(shape, channels, most),
        boundaries=begin if grow else (0,) * len(begin),
        fade=max(1, int(fade * steps)) if grow else 1,
    )
    num = 200 if play.tiny else 10_000
    players = play.players(steps, critic=("features", "head"))
    if grow:
        players = {
            name: replace(player, objective=by_level(player.objective, begin))
            for name, player in players.items()
        }
    return image_experiment(
        play,
        model="progressive GAN" if grow else "the same at full size",
        module=module,
        players=players,
        dataset=images,
        levels=levels,
        steps=steps,
        estimators=(
            lab.Estimator(
                load_feature_net(dataset).metric("fid"),
                f"Frechet distance, {num} samples against as many test images, "
                f"{steps * play.batch_size} images seen",
                lambda trained, arrays: frechet(trained, arrays["x"], dataset, num),
                unit="squared distance",
            ),
        ),
    )


def by_level(objective, boundaries: tuple[int, ...]):
    """The objective with the level of each stage known while it is compiled.

    The last one, which is also that of evaluations, reads it from the growth.
    """
    starts = (0, *boundaries)
    begun = [level for level in range(len(boundaries)) if starts[level] < starts[level + 1]]
    known = [partial(_of_level, objective=objective, level=level) for level in begun]
    return training.Stages((*known, objective), tuple(starts[level + 1] for level in begun))


def _of_level(model, batch, key, *, objective, level: int):
    with nn.at_level(level):
        return objective(model, batch, key)


def frechet(trained, x: np.ndarray, name: str, num: int):
    """Of samples and test images in [-1, 1]."""
    transform, net = trained.experiment.transform, load_feature_net(name)
    parts = [
        trained.sample(min(CHUNK, num - start), seed=start + 1) for start in range(0, num, CHUNK)
    ]
    made = np.asarray(transform({"x": np.concatenate(parts)}, None)["x"])
    real, made = (net(digits.readable(images)).vectors for images in (x[:num], made))
    return frechet_distance(real, made)
