"""Adversarial autoencoder and VAE-GAN: a latent-variable model and a critic of its parts."""

from typing import Literal

import flax.linen as nn
import jax

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, Batch, Key, PyTree


class JudgedVAE(Wrapper):
    """A latent-variable model with a critic: of its codes against the prior, or of its images.

    Attributes:
      model: a latent-variable model, `models.VAE`.
      critic: `[..., *event]` of a code or of x -> features `[..., F]`, on which a linear layer
        `head` puts the critic's value.
      judges: "codes" or "images".
    """

    critic: nn.Module
    judges: Literal["codes", "images"] = "codes"

    def setup(self):
        known = self.judges in ("codes", "images")
        require(known, "judges", "must be 'codes' or 'images'", repr(self.judges))
        self.head = Dense(1)

    def pairs(self, batch: Batch, key: Key) -> tuple[PyTree, PyTree]:
        """z ~ p(z) and as many z ~ q(z | x); or x and as many E[x | z], z ~ p(z)."""
        prior_key, key = jax.random.split(key)
        x = batch["x"]
        z = self.prior().sample(seed=prior_key, sample_shape=(len(x),))
        if self.judges == "codes":
            return z, self.posterior(x).sample(seed=key)
        return x, self.shown(z, key)

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]` of a code, or of x."""
        return as_float(self.head(self.features(x)))[..., 0]

    def features(self, x: Array) -> Array:
        """Features `[..., F]` of the critic."""
        return as_float(self.critic(x))

    def reconstructed_features(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        """Features of E[x' | z], z ~ q(z | x), and of x, for `objectives.squared_error`."""
        return self.features(self.reconstruct(batch["x"], key)), self.features(batch["x"])


def AdversarialAutoencoder(vae: nn.Module, critic: nn.Module) -> JudgedVAE:
    """A VAE whose codes a critic holds to the prior, in place of the KL divergence.

    Players: the critic, of the parameters `critic` and `head`; and `model`, by a `weighted_sum` of
    `objectives.elbo` with a `beta` of 0 and `objectives.generator_loss`.

    Args:
      vae: with any posterior that can be sampled, and any prior.
      critic: codes -> features.

    Source: Makhzani, Shlens, Jaitly, Goodfellow & Frey, "Adversarial Autoencoders", 2016, section
    2, https://arxiv.org/abs/1511.05644.
    """
    return JudgedVAE(vae, critic, "codes")


def VAEGAN(vae: nn.Module, critic: nn.Module) -> JudgedVAE:
    """A VAE whose decoder is a generator, and which reconstructs features of the critic.

    Players: the critic, of the parameters `critic` and `head`; `model/encoder`, by a `weighted_sum`
    of `objectives.rate` and `objectives.squared_error`; and `model/decoder`, by one of the latter
    and `objectives.generator_loss`. Samples that are judged are those of the prior.

    Args:
      vae: whose likelihood is used for its mean alone.
      critic: x -> features.

    Source: Larsen, Sonderby, Larochelle & Winther, "Autoencoding beyond Pixels using a Learned
    Similarity Metric", 2016, algorithm 1, https://arxiv.org/abs/1512.09300.
    """
    return JudgedVAE(vae, critic, "images")
