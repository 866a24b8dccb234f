"""Adversarial autoencoder, FactorVAE and VAE-GAN: a latent-variable model and a critic of it."""

from typing import Literal

import flax.linen as nn
import jax

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.nn.dense import Dense
from dgmjax.types import Array, Batch, Key, PyTree


class JudgedVAE(Wrapper):
    """A latent-variable model with a critic: of its codes or of its images.

    Attributes:
      model: a latent-variable model, `models.VAE`.
      critic: `[..., *event]` of a code or of x -> features `[..., F]`, on which a linear layer
        `head` puts the critic's value.
      judges: what the critic compares: "codes", with draws of the prior; "dimensions", codes with
        codes whose dimensions come from different examples; "images", with samples.
    """

    critic: nn.Module
    judges: Literal["codes", "dimensions", "images"] = "codes"

    def setup(self):
        known = ("codes", "dimensions", "images")
        require(self.judges in known, "judges", f"must be one of {known}", repr(self.judges))
        self.head = Dense(1)

    def pairs(self, batch: Batch, key: Key) -> tuple[PyTree, PyTree]:
        """What the critic takes for data, and as many events that it takes for samples.

        z ~ p(z) and z ~ q(z | x); z ~ prod_d q(z_d) and z ~ q(z), of the batch's examples; or x and
        E[x | z] with z ~ p(z).
        """
        prior_key, key = jax.random.split(key)
        x = batch["x"]
        if self.judges == "dimensions":
            q = self.posterior(x)
            drawn, order = jax.random.split(prior_key)
            return shuffled(q.sample(seed=drawn), order), q.sample(seed=key)
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


def shuffled(z: PyTree, key: Key) -> Array:
    """Codes `z[B, *latent]` whose dimensions are permuted over the batch, each by itself.

    Raises:
      DgmjaxError: latents of several parts.
    """
    rule = "must have one array of latents"
    require(isinstance(z, jax.Array), "model", rule, type(z).__name__)
    return jax.random.permutation(key, z, axis=0, independent=True)


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


def FactorVAE(vae: nn.Module, critic: nn.Module) -> JudgedVAE:
    """A VAE with a critic that estimates the total correlation of its codes.

    The critic tells z ~ q(z) = E_x q(z | x) from z ~ prod_d q(z_d). Its value on codes is, at its
    optimum, log prod_d q(z_d) / q(z), whose negative mean is the total correlation.

    Players: the critic, of the parameters `critic` and `head`; and `model`, by a `weighted_sum` of
    `objectives.elbo` and, with the weight gamma, `objectives.generator_loss`; both players with
    `game="density_ratio"`.

    Args:
      vae: whose latents are one array.
      critic: codes -> features.

    The codes that are permuted are another draw for the same images; in the source they have images
    of their own.

    Source: Kim & Mnih, "Disentangling by Factorising", 2018, Eq. 2 and 3, algorithm 2,
    https://arxiv.org/abs/1802.05983.
    """
    return JudgedVAE(vae, critic, "dimensions")


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
