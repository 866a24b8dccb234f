"""Named VAEs: recipes over the four parts."""

from collections.abc import Sequence

import flax.linen as nn

from dgmjax.distributions.factorised import decoded_shape
from dgmjax.distributions.families import Bernoulli, Family
from dgmjax.errors import as_sizes
from dgmjax.models.autoregressive.images import PixelCNN
from dgmjax.models.latent.densities import AR1Prior
from dgmjax.models.latent.vae import VAE
from dgmjax.nn.image_coders import ImageDecoder, ImageEncoder
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation


def SkipVAE(
    event_shape: Sequence[int],
    latent: int,
    hidden: Sequence[int],
    *,
    activation: Activation = nn.relu,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
) -> VAE:
    """A VAE whose decoder reads z in every layer, so that no layer can ignore it.

    Source: Dieng, Kim, Rush & Blei, "Avoiding Latent Variable Collapse with Generative Skip
    Models", 2019, Eq. 6, https://arxiv.org/abs/1807.04863.
    """
    family, event = observation or Bernoulli(), as_sizes("event_shape", event_shape)
    widths, ndims = as_sizes("hidden", hidden), len(event)
    return VAE(
        latent=latent,
        encoder=MLP(widths, (latent, 2), activation, event_ndims=ndims),
        decoder=MLP(tuple(reversed(widths)), decoded_shape(family, event), activation, skip=True),
        observation=family,
        prior_model=prior_model,
        event_ndims=ndims,
    )


def ConvVAE(
    event_shape: Sequence[int],
    latent: int,
    *,
    channels: int = 32,
    blocks: int = 1,
    factor: int = 4,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
    posterior_model: nn.Module | None = None,
    context_features: int = 128,
) -> VAE:
    """A VAE on images with residual convolutional networks.

    With a `posterior_model`, the encoder returns `context_features` features, its context.
    """
    family, event = observation or Bernoulli(), as_sizes("event_shape", event_shape)
    amortised = posterior_model is not None
    output = (context_features,) if amortised else (latent, 2)
    return VAE(
        latent=latent,
        encoder=ImageEncoder(output, channels, factor, blocks, activate_output=amortised),
        decoder=ImageDecoder(decoded_shape(family, event), channels, factor, blocks),
        observation=family,
        prior_model=prior_model,
        event_ndims=len(event),
        posterior_model=posterior_model,
    )


def PixelVAE(
    event_shape: Sequence[int],
    latent: int,
    *,
    channels: int = 32,
    factor: int = 4,
    features: int = 16,
    blocks: int = 2,
    kernel_size: int = 3,
    first_kernel: int = 5,
    context_features: int = 64,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
    posterior_model: nn.Module | None = None,
) -> VAE:
    """A VAE whose decoder is a PixelCNN given z: p(x | z) = prod_t p(x_t | x_<t, z).

    The receptive field decides what z encodes: with few blocks (the variational lossy autoencoder)
    the decoder models the texture and z the rest; a strong decoder leaves nothing to z, and the
    posterior collapses to the prior unless the objective (free bits) or the prior
    (`AR1Prior`) commits a rate.

    Args:
      channels, factor: of the encoder, see `nn.ImageEncoder`.
      features, blocks, kernel_size, first_kernel: of the `PixelCNN`; it sees
        `first_kernel // 2 + blocks (kernel_size // 2)` rows up.
      context_features: what it reads of z, after one layer.

    Sources: Gulrajani et al., "PixelVAE: A Latent Variable Model for Natural Images", 2017,
    section 3.1, https://arxiv.org/abs/1611.05013; Chen et al., "Variational Lossy Autoencoder",
    2017, section 3.1, https://arxiv.org/abs/1611.02731.
    """
    family, event = observation or Bernoulli(), as_sizes("event_shape", event_shape)
    # A posterior module reads features; otherwise the output is q's mean and scale themselves.
    amortised = posterior_model is not None
    output = (context_features,) if amortised else (latent, 2)
    return VAE(
        latent=latent,
        encoder=ImageEncoder(output, channels, factor, activate_output=amortised),
        decoder=MLP((context_features,), (context_features,), activate_output=True),
        observation=family,
        prior_model=prior_model,
        event_ndims=len(event),
        posterior_model=posterior_model,
        likelihood_model=PixelCNN(
            event,
            family,
            features=features,
            blocks=blocks,
            kernel_size=kernel_size,
            first_kernel=first_kernel,
            head_features=2 * features,
            context_features=context_features,
        ),
    )


def DeltaVAE(
    event_shape: Sequence[int],
    latent: tuple[int, int],
    *,
    slowest: float = 0.95,
    fastest: float = 0.2,
    **options,
) -> VAE:
    """A `PixelVAE` whose latents are a sequence, `latent` = (length, features), AR(1) a priori.

    No independent posterior equals the prior: the rate stays above `AR1Prior`'s committed rate.

    Args:
      options: of `PixelVAE`.

    Source: Razavi, van den Oord, Poole & Vinyals, "Preventing Posterior Collapse with delta-VAEs",
    2019, section 2, https://arxiv.org/abs/1901.03416.
    """
    prior = AR1Prior(*latent, slowest, fastest)
    vae = PixelVAE(event_shape, latent[1], prior_model=prior, **options)
    return vae.clone(
        latent=latent,
        encoder=vae.encoder.clone(output=(*latent, 2)),
        decoder=vae.decoder.clone(event_ndims=2),
    )
