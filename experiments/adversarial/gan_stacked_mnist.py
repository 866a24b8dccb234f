"""Stacked MNIST: how many of 1000 modes a game covers; DCGAN 99, PacDCGAN 1000 (Lin et al. 2018).

    dgmjax train gan_stacked_mnist --data-dir DATA
    dgmjax train gan_stacked_mnist --game hinge --weights spectral --critic-normalisation none

Three digits drawn at random are the three channels of an image, so that there are 1000 modes, which
a classifier of digits (99.4% of MNIST's test images right) counts in 26,000 samples. What a game
covers depends on the size of its critic: published for a DCGAN, 99 modes, 30.6 with a critic of a
quarter of the generator's size and 628 with one of half; see `--critic-channels`. The published
images are 28x28 enlarged to 32x32, ours are not. KL is that of the modes of samples from uniform
ones, 3.40 nats (DCGAN) and 0.06 (PacDCGAN with pairs). After 10,000 steps the first command has
1000 modes and a KL of 0.22 (after 5000, 0.28; after 16,000, 999 and 0.22: longer does not help; at
a falling rate 999 and 0.32), relativistic with R1 and R2 998 and 0.31, hinge with spectral
normalisation 998 and 0.39, Wasserstein with a gradient penalty 993 and 0.43, the first with a
critic of pairs (`--packing 2`) 999 and 0.27. A critic twice as wide as the generator
(`--critic-channels 64`) has 1000 modes and 0.17. A dense layer, which helps `gan_mnist`, does harm:
913 modes and 0.77 after 5000 steps.
Source: Lin, Khetan, Fanti & Oh, "PacGAN: The Power of Two Samples in Generative Adversarial
Networks", 2018, Table 2, https://arxiv.org/abs/1712.04086.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np

from dgmjax import lab, models, nn, runs
from dgmjax.evaluation.samples import load_feature_net, mode_count, mode_kl

from ..shared import labels
from ..shared.games import Play, image_experiment, images_of
from ..shared.image_networks import NORMALISED_PLAY, Network, networks, require_no_averages

DIGITS, NUM_SAMPLES = 10, 26_000
SOURCE = "Lin et al. 2018, Table 2"
PUBLISHED = {1: ("DCGAN", 99.0, 3.40), 2: ("PacDCGAN2", 1000.0, 0.06)}
"""Modes covered, and the KL, for a number of images in a pack."""
DIFFERS = "images of 32x32"


def gan_stacked_mnist(
    *,
    network: Network = "dcgan",
    weights: Literal["plain", "spectral"] = "plain",
    normalisation: Literal["none", "batch"] = "batch",
    critic_normalisation: Literal["none", "batch", "layer"] = "batch",
    latent: int = 100,
    channels: int = 32,
    critic_channels: int = 32,
    packing: int = 1,
    num_images: int = 128_000,
    steps: int = 10_000,
    play: Play = replace(NORMALISED_PLAY, generator_rate=1e-3),
) -> lab.Experiment:
    """A game of images of three channels in [-1, 1].

    Args:
      network: of both players.
      weights: of the critic's layers.
      normalisation: of the generator's layers.
      critic_normalisation: of the critic's layers; a gradient penalty is meant for critics that
        look at each image by itself, without "batch".
      latent: dimensions of the generator's noise.
      channels: of the generator, see `nn.DCGANGenerator`.
      critic_channels: of the critic.
      packing: images that the critic looks at together (PacGAN), which no penalty may follow.
      num_images: stacked training images.
      steps: training steps (generator updates).
    """
    if play.tiny:
        latent, channels, critic_channels, steps, num_images = 8, 4, 4, 10, 500
    require_no_averages(play, normalisation, critic_normalisation)
    digits, levels = images_of(play)
    dataset = stacked(digits, {"train": num_images, "test": 300 if play.tiny else NUM_SAMPLES})
    generator, features = networks(
        dataset.event_shape,
        channels,
        critic_channels,
        network=network,
        normalisation=normalisation,
        critic_normalisation=critic_normalisation,
        weights=weights,
    )
    module = models.GAN(
        latent=latent,
        generator=generator,
        critic=play.packed(nn.Critic(features, play.outputs, weights), packing, event_ndims=3),
    )
    return image_experiment(
        play,
        model=f"{network} GAN, {play.game}, {channels} and {critic_channels} channels"
        + (f", packs of {packing}" if packing > 1 else ""),
        module=module,
        players=play.players(steps),
        dataset=dataset,
        levels=levels,
        steps=steps,
        estimators=(
            lab.Estimator(
                "modes_covered",
                "of 1000, by a classifier of digits",
                lambda trained, arrays: mode_count(modes_of(trained), DIGITS**3),
                unit="count",
                published=published(packing, 0),
            ),
            lab.Estimator(
                "mode_reverse_kl",
                "KL of the modes of samples from the uniform distribution",
                mode_divergence,
                published=published(packing, 1),
            ),
        ),
    )


def published(packing: int, place: int) -> runs.Published | None:
    """The number of the table, if it has one for packs of this size."""
    if packing not in PUBLISHED:
        return None
    name, *values = PUBLISHED[packing]
    return runs.Published(values[place], f"{SOURCE}, {name}", DIFFERS)


def stacked(digits, sizes):
    """Images of three digits each, drawn at random with a fixed seed from the same split."""
    generator, splits = np.random.default_rng(0), {}
    for split, size in sizes.items():
        arrays = digits.splits[split]
        rows = generator.integers(0, len(arrays["x"]), (3, size))
        label = arrays["label"][rows]
        splits[split] = {
            "x": np.concatenate([arrays["x"][one] for one in rows], -1),
            "label": (label[0] * DIGITS**2 + label[1] * DIGITS + label[2]).astype(np.int32),
        }
    name = f"stacked {digits.name}"
    info = {**digits.info, "split_sizes": {name: len(part["x"]) for name, part in splits.items()}}
    return replace(digits, name=name, splits=splits, info=info)


def mode_divergence(trained, arrays):
    """Modes of real images are equally frequent by construction."""
    return mode_kl(modes_of(trained), np.arange(DIGITS**3), DIGITS**3)


@lru_cache(maxsize=2)
def modes_of(trained):
    """The mode of each sample: its three digits as one number."""
    num = NUM_SAMPLES if trained.experiment.dataset.event_shape[0] == 28 else 300
    parts = [
        trained.sample(min(1000, num - start), seed=start + 1) for start in range(0, num, 1000)
    ]
    x = np.concatenate(parts)
    found = [digit_of(trained, x[..., channel : channel + 1]) for channel in range(3)]
    return found[0] * DIGITS**2 + found[1] * DIGITS + found[2]


def digit_of(trained, x):
    """Digits of grey values `[N, H, W, 1]`."""
    if x.shape[1] == 28:
        unit = np.clip(np.asarray(x, np.float32) / 255.0, 0.0, 1.0)
        return load_feature_net("mnist")(unit).log_probs.argmax(-1)
    return labels.digit_classifier()(np.asarray(x))
