"""Networks of games of images, and the play of most of them: rows that experiments share."""

from functools import partial
from typing import Literal, NamedTuple

import flax.linen as linen

from dgmjax import nn
from dgmjax.errors import require
from dgmjax.nn.normalised import Normalisation, Weights, leaky_relu

from .games import Play

Network = Literal["dcgan", "resnet"]
FAMILIES = {
    "dcgan": (nn.DCGANGenerator, nn.DCGANFeatures),
    "resnet": (nn.ResidualGenerator, nn.ResidualFeatures),
}
IMAGE_PLAY = Play(game="non_saturating", penalty_weight=0.1, ema_decay=0.999, batch_size=64, b1=0.5)
"""The play of models that do more than to look like data (translations)."""
NORMALISED_PLAY = Play(
    game="non_saturating", penalty="none", batch_size=64, b1=0.5, b2=0.999, schedule="constant"
)
"""That of networks which are all normalised over the batch, as DCGAN, InfoGAN and BiGAN publish it.

Critics then do not look at each image by itself, as gradient penalties ask; running statistics are
not those of averaged parameters.
"""


class Networks(NamedTuple):
    """A generator, and what makes features of images for critics and encoders."""

    generator: linen.Module
    features: linen.Module


def networks(
    shape: tuple[int, ...],
    channels: int,
    critic_channels: int | None = None,
    *,
    network: Network = "dcgan",
    normalisation: Normalisation = "none",
    critic_normalisation: Normalisation = "none",
    weights: Weights = "plain",
    **options,
) -> Networks:
    """Both networks of one family.

    Args:
      channels: see `nn.DCGANGenerator` and `nn.ResidualGenerator`.
      critic_channels: of the features; as many if None.
      normalisation: of the generator's layers.
      critic_normalisation: of the layers of the features.
      weights: of the same.
      **options: further attributes of both.
    """
    generator, features = FAMILIES[network]
    return Networks(
        generator(shape, channels, normalisation, **options),
        features(
            critic_channels or channels,
            normalisation=critic_normalisation,
            weights=weights,
            **options,
        ),
    )


def dense_networks(
    shape: tuple[int, ...],
    units: int,
    *,
    normalisation: Normalisation = "none",
    critic_normalisation: Normalisation = "none",
) -> Networks:
    """Two hidden layers of `units` each, which do not know which pixels are neighbours."""
    network = partial(nn.NormalisedMLP, (units, units))
    return Networks(
        network(shape, normalisation=normalisation, bounded=True),
        network(None, leaky_relu, normalisation=critic_normalisation, event_ndims=len(shape)),
    )


def pair_critic(
    shape: tuple[int, ...], units: int, normalisation: Normalisation = "none"
) -> linen.Module:
    """A value `[..., 1]` of an image and its code, which dense layers read side by side."""
    return nn.NormalisedMLP(
        (units, units), (1,), leaky_relu, normalisation=normalisation, event_ndims=len(shape)
    )


def require_no_averages(play: Play, *normalisations: Normalisation) -> None:
    """An error where averaged parameters would meet the running statistics of others."""
    rule = "must be left out where layers are normalised over the batch: running statistics are not"
    remedy = "Leave it out, or set both normalisations to none."
    fits = play.ema_decay is None or "batch" not in normalisations
    require(fits, "ema_decay", f"{rule} those of averaged parameters", play.ema_decay, remedy)


def translator(channels: tuple[int, ...], *, residual: bool = False) -> linen.Module:
    """A U-Net from images to images in [-1, 1], at half of their resolution: it is fast."""
    return nn.Translator(nn.UNet(channels, patch=2), residual=residual)
