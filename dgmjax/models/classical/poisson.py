"""Probabilistic PCA for counts, by variational inference."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.distributions.families import Poisson
from dgmjax.errors import as_sizes, require
from dgmjax.models.latent.vae import VAE
from dgmjax.nn.mlp import MLP


def PoissonPPCA(features: int, latent: int, hidden: Sequence[int] = (64,)) -> VAE:
    """x_d ~ Poisson(exp(w_d z + b_d)) with z ~ N(0, I): PCA of counts, on a logarithmic scale.

    The posterior has no closed form. q(z | x) is a normal whose parameters an MLP reads from
    log(1 + x); train it by `objectives.elbo` or `objectives.iwae`. Means are bounded by exp(16),
    smoothly (see `families.Poisson`).

    Args:
      features: counts in x.
      latent: length of z.
      hidden: units of the encoder's hidden layers; none makes it linear.

    Source: Collins, Dasgupta & Schapire, "A Generalization of Principal Component Analysis to the
    Exponential Family", 2001, with a prior on z and amortised inference,
    https://papers.nips.cc/paper_files/paper/2001/hash/f410588e48dc83f2822a880a68f78923-Abstract.html.
    """
    require(features >= 1, "features", "must be at least 1", features)
    require(latent >= 1, "latent", "must be at least 1", latent)
    encoder = nn.Sequential((jnp.log1p, MLP(as_sizes("hidden", hidden), (latent, 2), nn.tanh)))
    decoder = MLP((), (features, 1))
    return VAE(latent, encoder, decoder, observation=Poisson(), event_ndims=1)
