"""GAN on MNIST or Fashion-MNIST: any game, convolutional or residual networks.

    dgmjax train gan_mnist --data-dir DATA
    dgmjax train gan_mnist --hidden 512 --data-dir DATA
    dgmjax train gan_mnist --game hinge --weights spectral --critic-normalisation none
    dgmjax train gan_mnist --dataset fashion_mnist --data-dir DATA

There is no likelihood. The records say how evenly samples fall into the classes of a classifier of
real images, and how far samples and test images are apart in the kernel of `mmd_rational_quadratic`
on pixels; both are coarse, and the samples are to be looked at. `dgmjax evaluate RUN --samples`
adds distances of features. Five games with equal generators, 4000 steps and three seeds each,
differ little: their Frechet distance (`fid_lenet`) is 70 +- 3 (hinge), 75 +- 1 (non-saturating),
77 +- 2 (Wasserstein), 80 +- 2 (least squares) and 89 +- 6 (relativistic). A dense layer in each
network makes it 20 (the second command), but for this game only: after 2000 steps it was 25, with
the same layers 145 (relativistic), 152 (Wasserstein), 253 (least squares) and 1456 (hinge, whose
samples were one image). On Fashion-MNIST, in features of another classifier, they have 14.3 +- 0.4
(non-saturating), 21.3 +- 0.3 (least squares), 22 +- 2 (Wasserstein), 29 +- 5 (hinge) and 30 +- 2
(relativistic). `mmd_gan_mnist` is one more game.
Source: Lucic, Kurach, Michalski, Gelly & Bousquet, "Are GANs Created Equal?", 2018 (the comparison
of games), https://arxiv.org/abs/1711.10337.
"""

from dataclasses import replace
from typing import Literal

import jax.numpy as jnp
import numpy as np

from dgmjax import data, evaluation, lab, models, nn, objectives
from dgmjax.errors import require
from dgmjax.objectives.mmd import mmd

from ..shared import labels, own
from ..shared.games import Play
from ..shared.image_networks import NORMALISED_PLAY, Network, networks, require_no_averages
from ..shared.options import OwnImages

NUM_CLASSES, BLOCK = 10, 500


def gan_mnist(
    *,
    dataset: str = "mnist",
    size: int | None = None,
    grey: bool = False,
    network: Network = "dcgan",
    weights: Literal["plain", "spectral"] = "plain",
    normalisation: Literal["none", "batch", "layer", "pixel"] = "batch",
    critic_normalisation: Literal["none", "batch", "layer", "pixel"] = "batch",
    conditional: bool = False,
    latent: int = 64,
    channels: int = 32,
    hidden: int = 0,
    steps: int = 4000,
    play: Play = replace(NORMALISED_PLAY, generator_rate=1e-3),
) -> lab.Experiment:
    """A game of images in [-1, 1].

    Args:
      dataset: mnist or fashion_mnist, or images of your own: a path (.npz, .npy, IDX, or a folder
        of pictures). Sides are multiples of 4.
      size: side to which the pictures of a folder are cropped and resized.
      grey: turn the coloured pictures of a folder grey.
      network: of both players.
      weights: of the critic's layers.
      normalisation: of the generator's layers; samples are far better with "batch".
      critic_normalisation: of the critic's layers; a gradient penalty is meant for critics that
        look at each image by itself, without "batch".
      conditional: of images given their class, with a projection critic.
      latent: dimensions of the generator's noise.
      channels: see `nn.DCGANGenerator` and `nn.ResidualGenerator`.
      hidden: units of dense layers between noise and maps, see `nn.DCGANGenerator`.
      steps: training steps (generator updates).
    """
    rule = "must be 0: the residual networks have no dense layers between noise and maps"
    require(hidden == 0 or network == "dcgan", "hidden", rule, hidden, "Use --network dcgan.")
    if play.tiny:
        steps, channels, hidden = 10, 4, min(hidden, 8)
    require_no_averages(play, normalisation, critic_normalisation)
    known = dataset in ("mnist", "fashion_mnist")
    pictures = OwnImages(size=size, grey=grey, data_dir=play.data_dir)
    own.require_own(pictures, is_own=not known)
    if not known:
        images, levels = own.integer_images(pictures, dataset)
    elif play.tiny:
        images, levels = data.load("digits"), 17
    else:
        images, levels = data.load(dataset, data_dir=play.data_dir), 256
    rule = "must be left out: only `mnist` and `fashion_mnist` have the ten classes"
    require(known or not conditional, "conditional", rule, dataset)
    sees = objectives.game_of(play.game).head != "none"
    rule = f"must be left out: {play.game} has no critic, which alone looks at classes"
    require(sees or not conditional, "conditional", rule, conditional)
    generator, features = networks(
        images.event_shape,
        channels,
        network=network,
        normalisation=normalisation,
        critic_normalisation=critic_normalisation,
        weights=weights,
        **({"hidden": hidden} if hidden else {}),
    )
    module = models.GAN(
        latent=latent,
        generator=generator,
        critic=nn.Critic(features, play.outputs, weights),
        num_classes=NUM_CLASSES if conditional else None,
    )
    num = 2 * BLOCK if play.tiny else 10_000
    return lab.Experiment(
        model=f"{network} GAN, {play.game}" + (", conditional" if conditional else ""),
        module=module,
        players=play.players(steps),
        dataset=images,
        transform=data.Scale(levels, low=-1.0),
        steps=steps,
        batch_size=play.batch_size,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 100),
        ema_decay=play.ema_decay,
        estimators=(
            *([class_evenness(num)] if known else []),
            lab.Estimator(
                "mmd2_pixels",
                f"unbiased, rational quadratic kernel, {num} samples, blocks of {BLOCK}",
                lambda trained, arrays: pixel_mmd(trained, arrays["x"], num),
                unit="squared distance",
            ),
        ),
        figures={"samples": lab.figures.samples},
        previews=("samples",),
    )


def class_evenness(num: int) -> lab.Estimator:
    """How evenly samples fall into the classes of a classifier of real images."""
    return lab.Estimator(
        "class_reverse_kl",
        f"KL of the classes of {num} samples from the uniform distribution, logistic "
        "regression on real images",
        lambda trained, _: class_kl(trained, num),
    )


def scaled_samples(trained, num: int) -> np.ndarray:
    """In [-1, 1], as the networks see images."""
    transform = trained.experiment.transform
    x = trained.sample(num, seed=1)
    return np.asarray(transform({"x": x}, None)["x"])


def class_kl(trained, num: int) -> evaluation.Measurement:
    """KL of the classes that a classifier of real images finds."""
    x = scaled_samples(trained, num)
    found = labels.classes_of(trained, x)
    corners = 1.0 * np.eye(NUM_CLASSES)
    return evaluation.mode_coverage(corners[found], corners, 0.5).reverse_kl


def pixel_mmd(trained, x: np.ndarray, num: int) -> evaluation.Measurement:
    """The mean over disjoint blocks of samples, each beside a block of images."""
    samples = scaled_samples(trained, num).reshape(num, -1)
    x = x.reshape(len(x), -1)
    size = min(BLOCK, len(x))
    values = []
    for start in range(0, num - size + 1, size):
        rows = np.arange(start, start + size)
        pair = jnp.asarray(samples[rows]), jnp.asarray(x[rows % len(x)])
        values.append(float(mmd(*pair, kernel="rational_quadratic")))
    return evaluation.average(np.array(values))
