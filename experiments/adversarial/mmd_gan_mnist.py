"""MMD-GAN on MNIST: moments of learnt features, rational quadratic kernel.

    dgmjax train mmd_gan_mnist --data-dir DATA
    dgmjax train mmd_gan_mnist --game mmd --data-dir DATA

The first command is `gan_mnist` with the game `mmd_gan_rational_quadratic` and the slope of the
witness held to 1 on lines; the second matches moments of the pixels themselves, without a critic.
The generator is normalised over the batch and the critic over the layer. Without (at a rate of 1e-4
and with five critic steps for one of the generator, as published for deeper networks) the slope of
the witness fell to 0.1 after 1800 of 4000 steps, and samples were dots; but the critic's rate had
then ended after 800, which alone may have done it.
`dgmjax evaluate RUN --samples` adds the distances of the published comparison, in features of our
own classifier, not of LeNet as published: the Frechet distance is 46 after 4000 steps (one seed),
where the games of `gan_mnist` with an equal generator have 70 to 89.
Source: Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD GANs", 2018, section 4,
https://arxiv.org/abs/1801.01401.
"""

from dataclasses import replace
from typing import Literal

from dgmjax import lab

from ..shared.games import Play
from ..shared.image_networks import NORMALISED_PLAY, Network
from .gan_mnist import gan_mnist


def mmd_gan_mnist(
    *,
    dataset: Literal["mnist", "fashion_mnist"] = "mnist",
    network: Network = "dcgan",
    latent: int = 64,
    channels: int = 32,
    steps: int = 4000,
    play: Play = replace(
        NORMALISED_PLAY,
        game="mmd_gan_rational_quadratic",
        penalty="auto",
        penalty_weight=1.0,
        generator_rate=1e-3,
    ),
) -> lab.Experiment:
    """A game of moments of images in [-1, 1]; "auto" is the penalty on lines.

    Args:
      dataset: 28x28 grey images.
      network: of both players.
      latent: dimensions of the generator's noise.
      channels: see `nn.DCGANGenerator`.
      steps: training steps (generator updates).
    """
    return gan_mnist(
        dataset=dataset,
        network=network,
        latent=latent,
        channels=channels,
        normalisation="batch",
        critic_normalisation="layer",
        steps=steps,
        play=play.or_penalty("lines"),
    )
