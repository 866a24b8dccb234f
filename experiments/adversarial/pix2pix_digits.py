"""pix2pix on MNIST: outlines of digits to digits, beside a regression of the same network.

    dgmjax train pix2pix_digits --data-dir DATA
    dgmjax train pix2pix_digits --training-by regression --data-dir DATA

The outline is white where the dark pixels around a digit touch it. The second command minimises the
L1 distance alone: it comes as near to the digits, and is blurred where the outline leaves a choice.
The records are that distance on test images, and the Frechet distance between translations of test
outlines and test images in the features of our own classifier. There is no published number for
these images. Source: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional
Adversarial Networks", 2017, section 4.1, https://arxiv.org/abs/1611.07004.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from dgmjax import data, lab, models, nn, objectives, training
from dgmjax.evaluation.samples import frechet_distance, load_feature_net
from dgmjax.plotting import image_grid

from ..shared import digits
from ..shared.games import Play, image_experiment, images_of
from ..shared.image_networks import IMAGE_PLAY, translator


def pix2pix_digits(
    *,
    training_by: Literal["both", "regression", "adversarial"] = "both",
    l1: float = 100.0,
    channels: tuple[int, ...] = (24, 48),
    critic_channels: int = 32,
    halvings: int = 2,
    steps: int = 4_000,
    play: Play = replace(IMAGE_PLAY, penalty="none"),
) -> lab.Experiment:
    """A game of pairs of images in [-1, 1].

    Args:
      training_by: the game and the L1 distance, or one of them.
      l1: weight of that distance beside the game.
      channels: of the levels of the generator, a U-Net.
      critic_channels: see `nn.PatchCritic`.
      halvings: of the critic; with two it judges patches of 18x18 pixels.
      steps: training steps (generator updates).
    """
    play.require_critic()
    if play.tiny:
        channels, critic_channels, halvings, steps = (4,), 4, 1, 10
    dataset, levels = images_of(play)
    module = models.Pix2Pix(translator(channels), nn.PatchCritic(critic_channels, halvings))
    if training_by == "regression":
        adam = training.adam(
            play.learning_rate, steps, schedule=play.schedule, b1=play.b1, b2=play.b2
        )
        player = training.Player(objectives.absolute_error, adam, params=("generator",))
        players = {"generator": player}
    else:
        weight = l1 if training_by == "both" else 0.0
        players = play.players(steps, terms={"l1": (weight, objectives.absolute_error)})
    return image_experiment(
        play,
        model=f"U-Net, trained by {training_by}",
        module=module,
        players=players,
        dataset=outlined(dataset, levels),
        levels=levels,
        transform=data.Together(data.Scale(levels, low=-1.0)),
        steps=steps,
        estimators=(
            lab.Estimator(
                "l1",
                "mean over pixels in [-1, 1] of the distance to the digit",
                lab.averaged(objectives.absolute_error),
                unit="distance",
            ),
            lab.Estimator(
                load_feature_net("mnist").metric("fid"),
                "Frechet distance, translations of all test outlines against all test images",
                frechet,
                unit="squared distance",
            ),
        ),
        figures={"translations": translations},
        previews=("translations",),
    )


def outlined(dataset: data.Dataset, levels: int) -> data.Dataset:
    """Each image with its outline as its context."""
    splits = {
        split: {**arrays, "context": digits.outline(arrays["x"], levels)}
        for split, arrays in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def frechet(trained, arrays):
    """Of as many images, which are those of the outlines."""
    net = load_feature_net("mnist")
    made, real = (
        digits.readable(x) for x in (digits.translated(trained, arrays["context"]), arrays["x"])
    )
    return frechet_distance(net(real).vectors, net(made).vectors)


def translations(trained, num: int = 32):
    """Outlines, their translations, and the digits they were taken from: three columns each."""
    arrays = {name: array[:num] for name, array in trained.arrays("test").items()}
    made = digits.translated(trained, arrays["context"])
    rows = np.stack([arrays["context"], made, arrays["x"]], 1)
    flat = (rows.reshape(-1, *rows.shape[2:]) + 1.0) / 2.0
    names = ("outline", "made", "digit") * 4
    return image_grid(flat, columns=12, title=trained.experiment.model, column_names=names)
