"""Variational autoencoder: prior, posterior and likelihood, each replaceable."""

from collections.abc import Iterable, Sequence

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import reads_posterior
from dgmjax.distributions.factorised import decoded_shape, factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.base import StandardNormal
from dgmjax.models.latent.base import LatentVariableModel, start_at_marginals
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.mlp import MLP
from dgmjax.types import Array, Key


class VAE(LatentVariableModel):
    """p(x, z) = p(z) p(x | z) with an amortised posterior q(z | x).

    The prior, the posterior, the likelihood and the loss (an objective) are exchanged
    independently of each other.

    Attributes:
      latent: length of z, or its shape.
      encoder: `x[..., *event]` -> parameters `[..., *latent, posterior_family.num_params]`.
      decoder: `z[..., *latent]` -> parameters `[..., *event, observation.num_params]`.
      observation: family of a site of x.
      posterior_family: family of a dimension of z.
      prior_model: density module of z; N(0, I) if None. One with `reads_posterior` (such as
        `VampPrior`) is called with the posterior instead of a context.
      posterior_model: conditional density module of z, whose context is what the encoder
        returns, `[..., C]`: a `Flow` over `DiagonalNormal`. None for `posterior_family`.
      likelihood_model: conditional density module of x, whose context is what the decoder
        returns, `[..., C]`: an autoregressive decoder. None for `observation`.
      event_ndims: rank of x.
      marginal_start: the bias of the decoder's output starts at the marginals of the data (of the
        batch that the parameters are made with, unless that is constant), where the decoder has
        `start_at_marginals`. A VAE of MLPs on binary images reaches in one epoch what otherwise
        takes three.

    Sources: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, Eq. 3,
    https://arxiv.org/abs/1312.6114; Rezende, Mohamed & Wierstra, "Stochastic Backpropagation and
    Approximate Inference in Deep Generative Models", 2014, https://arxiv.org/abs/1401.4082.
    """

    latent: int | tuple[int, ...]
    encoder: nn.Module
    decoder: nn.Module
    observation: Family = Bernoulli()
    posterior_family: Family = Normal()
    prior_model: nn.Module | None = None
    event_ndims: int = 3
    posterior_model: nn.Module | None = None
    likelihood_model: nn.Module | None = None
    marginal_start: bool = True

    def setup(self):
        require_sizes(latent=self.latent_shape)
        self.prior_module = self.prior_model or StandardNormal(self.latent_shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Event shape of z."""
        latent = self.latent
        return tuple(latent) if isinstance(latent, Iterable) else (int(latent),)

    def prior(self) -> distrax.Distribution:
        """p(z), event shape `latent_shape`."""
        if reads_posterior(self.prior_module):
            # Not `posterior`, which would start the decoder at the marginals of pseudo-inputs.
            return self.prior_module(self._posterior)
        return self.prior_module()

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | x) for `x[..., *event]`, batch shape `[...]`."""
        if self.is_initializing() and self.marginal_start and self.likelihood_model is None:
            z = jnp.zeros((*self.latent_shape, *self.posterior_family.site_shape))
            start_at_marginals(self.decoder, self.observation, x, self.event_ndims, z)
        return self._posterior(x)

    def _posterior(self, x: Array) -> distrax.Distribution:
        read = network_input(x, self.observation)
        if self.posterior_model is not None:
            return self.posterior_model(self.encoder(read))
        sites = self.posterior_family(as_float(self.encoder(read)))
        return distrax.Independent(sites, len(self.latent_shape))

    def likelihood(self, z: Array) -> distrax.Distribution:
        """p(x | z) for `z[..., *latent]`, batch shape `[...]`."""
        params = self.decoder(z)
        if self.likelihood_model is not None:
            return self.likelihood_model(params)
        return factorised(self.observation, params, self.event_ndims)

    def shown(self, z: Array, key: Key) -> Array:
        """E[x | z], or a draw of a `likelihood_model`."""
        if self.likelihood_model is None:
            return self.likelihood(z).mean()
        return self.likelihood(z).sample(seed=key)


def DenseVAE(
    event_shape: Sequence[int],
    latent: int,
    hidden: Sequence[int],
    *,
    activation=nn.tanh,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
    posterior_model: nn.Module | None = None,
) -> VAE:
    """A VAE whose encoder and decoder are MLPs with the same hidden layers in opposite order.

    `DenseVAE((28, 28, 1), 50, (200, 200))` is the one-layer model of the source. With a
    `posterior_model`, the encoder ends at its last hidden layer, which is the posterior's context.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5,
    https://arxiv.org/abs/1509.00519.
    """
    family: Family = observation or Bernoulli()
    event_shape, hidden = as_sizes("event_shape", event_shape), as_sizes("hidden", hidden)
    require(len(hidden) >= 1, "hidden", "must name at least one layer", hidden)
    ndims = len(event_shape)
    if posterior_model is None:
        encoder = MLP(hidden, (latent, 2), activation, event_ndims=ndims)
    else:
        encoder = MLP(hidden[:-1], hidden[-1:], activation, ndims, activate_output=True)
    return VAE(
        latent=latent,
        encoder=encoder,
        decoder=MLP(tuple(reversed(hidden)), decoded_shape(family, event_shape), activation),
        observation=family,
        prior_model=prior_model,
        event_ndims=ndims,
        posterior_model=posterior_model,
    )
