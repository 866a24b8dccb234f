"""The variational autoencoder: prior, posterior and likelihood, four points of intervention."""

from collections.abc import Sequence

import distrax
import flax.linen as nn

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import Factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.errors import require
from dgmjax.models.base import StandardNormal
from dgmjax.models.latent.base import LatentVariableModel
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
      prior_model: density module of z; N(0, I) where None. One with `reads_posterior` (such as
        `VampPrior`) is called with the posterior instead of a context.
      posterior_model: conditional density module of z, whose context is what the encoder
        returns, `[..., C]`: a `Flow` over `DiagonalNormal`. None for `posterior_family`.
      likelihood_model: conditional density module of x, whose context is what the decoder
        returns, `[..., C]`: an autoregressive decoder. None for `observation`.
      event_ndims: rank of x.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, equation 3; Rezende,
    Mohamed & Wierstra, "Stochastic Backpropagation", 2014.
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

    def setup(self):
        self.prior_module = self.prior_model or StandardNormal(self.latent_shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Event shape of z."""
        return (self.latent,) if isinstance(self.latent, int) else tuple(self.latent)

    def prior(self) -> distrax.Distribution:
        """p(z), event shape `latent_shape`."""
        if getattr(self.prior_module, "reads_posterior", False):
            return self.prior_module(self.posterior)
        return self.prior_module()

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | x) for `x[..., *event]`, batch shape `[...]`."""
        if self.posterior_model is not None:
            return self.posterior_model(self.encoder(x))
        sites = self.posterior_family(as_float(self.encoder(x)))
        return distrax.Independent(sites, len(self.latent_shape))

    def likelihood(self, z: Array) -> distrax.Distribution:
        """p(x | z) for `z[..., *latent]`, batch shape `[...]`."""
        params = self.decoder(z)
        if self.likelihood_model is not None:
            return self.likelihood_model(params)
        sites = params.shape[params.ndim - 1 - self.event_ndims + self.observation.event_ndims : -1]
        return Factorised(self.observation, params, (*sites, *self.observation.site_shape))

    def shown(self, z: Array, key: Key) -> Array:
        """E[x | z], or a draw of a `likelihood_model`."""
        if self.likelihood_model is None:
            return self.likelihood(z).mean()
        return self.likelihood(z).sample(seed=key)


def dense_vae(
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

    `dense_vae((28, 28, 1), 50, (200, 200))` is the one-layer model of Burda, Grosse &
    Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5. With a `posterior_model`,
    the encoder ends at its last hidden layer, which is the posterior's context.
    """
    family: Family = observation or Bernoulli()
    event_shape, hidden = tuple(event_shape), tuple(hidden)
    require(len(hidden) >= 1, "hidden", "must name at least one layer", hidden)
    ndims = len(event_shape)
    if posterior_model is None:
        encoder = MLP(hidden, (latent, 2), activation, event_ndims=ndims)
    else:
        encoder = MLP(hidden[:-1], hidden[-1:], activation, ndims, activate_output=True)
    return VAE(
        latent=latent,
        encoder=encoder,
        decoder=MLP(tuple(reversed(hidden)), (*event_shape, family.num_params), activation),
        observation=family,
        prior_model=prior_model,
        event_ndims=ndims,
        posterior_model=posterior_model,
    )
