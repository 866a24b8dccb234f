"""VAEs with discrete latents: recipes over the same four parts."""

from collections.abc import Sequence

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.distributions.factorised import decoded_shape
from dgmjax.distributions.families import Bernoulli, Family, OneHotCategorical
from dgmjax.errors import as_sizes, require
from dgmjax.models.base import DensityModel
from dgmjax.models.latent.hierarchical import HierarchicalVAE
from dgmjax.models.latent.vae import VAE
from dgmjax.nn.mlp import MLP
from dgmjax.types import Array


class FactorisedPrior(DensityModel):
    """p(z) = prod_s family(params_s).prob(z_s), independent sites with learned parameters.

    Attributes:
      family: of a site.
      sites: shape of the sites; events are `(*sites, *family.site_shape)`.
      learned: learn the parameters; otherwise all of them stay 0, the uniform distribution for
        `Bernoulli` and `OneHotCategorical`. Learned ones start there.
    """

    family: Family
    sites: tuple[int, ...]
    learned: bool = True

    @nn.compact
    def __call__(self, context: Array | None = None) -> distrax.Distribution:
        shape = (*self.sites, self.family.num_params)
        params = jnp.zeros(shape)
        if self.learned:
            params = self.param("params", nn.initializers.zeros, shape)
        return distrax.Independent(self.family(params), len(self.sites))


def DiscreteVAE(
    event_shape: Sequence[int],
    latent: int,
    levels: int,
    hidden: Sequence[int],
    *,
    activation=nn.tanh,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
    learned_prior: bool = True,
) -> VAE:
    """A VAE whose latents are `latent` categories of `levels` levels, encoder and decoder MLPs.

    Two levels are Bernoulli variables, events `[latent]` of 0 and 1; more are one-hot vectors,
    events `[latent, levels]`. The decoder reads them, or their relaxations. Train it by
    `reinforce`, `vimco` or `relax`, by `concrete` or `straight_through`; `elbo` and `iwae` evaluate
    its bounds, but have no gradient for the posterior.

    Args:
      event_shape: of x.
      latent: number of latent variables.
      levels: of each, at least 2.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      observation: family of a site of x; Bernoulli if None.
      prior_model: density module of z (for binary latents, a `MADE((latent,))`); independent
        variables if None.
      learned_prior: whether their probabilities are learned; uniform otherwise.

    >>> import jax, jax.numpy as jnp
    >>> vae = DiscreteVAE((4,), latent=3, levels=5, hidden=(8,))
    >>> x = jnp.zeros((2, 4))
    >>> variables = vae.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    >>> vae.apply(variables, x, method="posterior").event_shape
    (3, 5)
    """
    require(latent >= 1, "latent", "must be at least 1", latent)
    require(levels >= 2, "levels", "must be at least 2", levels)
    event_shape, hidden = as_sizes("event_shape", event_shape), as_sizes("hidden", hidden)
    require(len(hidden) >= 1, "hidden", "must name at least one layer", hidden)
    # One logit says as much as a one-hot pair, with half of the parameters and no direction along
    # which both could drift.
    family: Family = Bernoulli() if levels == 2 else OneHotCategorical(levels)
    seen: Family = observation or Bernoulli()
    ndims = len(event_shape)
    return VAE(
        latent=latent,
        encoder=MLP(hidden, (latent, family.num_params), activation, event_ndims=ndims),
        decoder=MLP(
            tuple(reversed(hidden)),
            decoded_shape(seen, event_shape),
            activation,
            event_ndims=1 + family.event_ndims,
        ),
        observation=seen,
        posterior_family=family,
        prior_model=prior_model or FactorisedPrior(family, (latent,), learned_prior),
        event_ndims=ndims,
    )


def SigmoidBeliefNetwork(
    event_shape: Sequence[int],
    latents: Sequence[int],
    hidden: Sequence[int] = (),
    *,
    activation=nn.tanh,
    observation: Family | None = None,
) -> HierarchicalVAE:
    """Layers of binary units: p(h_L) p(h_{L-1} | h_L) ... p(x | h_1), and the same shape upwards.

    Each unit is a Bernoulli variable whose logit is linear in the layer that it is drawn from, in
    p and in q (the "recognition" or Helmholtz machine's); units of the top layer have a bias each.
    Train it by two players: `elbo` and `sleep_phase` (wake-sleep), or `iwae` and `wake_phase` of
    several samples (reweighted wake-sleep), the first for the groups `decoders_0`, ... and
    `prior_model`, the second for `encoders_0`, ...

    Args:
      event_shape: of x.
      latents: units of h_1 (next to x) .. h_L.
      hidden: deterministic units between two layers, in both directions; none in the source.
      observation: family of a site of x; Bernoulli if None.

    Sources: Saul, Jaakkola & Jordan, "Mean Field Theory for Sigmoid Belief Networks", 1996,
    section 2, https://arxiv.org/abs/cs/9603102; Hinton, Dayan, Frey & Neal, "The Wake-Sleep
    Algorithm for Unsupervised Neural Networks", 1995, https://doi.org/10.1126/science.7761831.

    >>> import jax, jax.numpy as jnp
    >>> net = SigmoidBeliefNetwork((4,), latents=(3, 2))
    >>> x = jnp.zeros((6, 4))
    >>> variables = net.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    >>> net.apply(variables, x, method="posterior").event_shape
    {'z1': (3,), 'z2': (2,)}
    """
    event, sizes = as_sizes("event_shape", event_shape), as_sizes("latents", latents)
    require(len(sizes) >= 1, "latents", "must name at least one layer", sizes)
    units, family, seen = tuple(hidden), Bernoulli(), observation or Bernoulli()
    ranks = (len(event), *[1] * (len(sizes) - 1))
    outputs = (decoded_shape(seen, event), *((size, 1) for size in sizes[:-1]))
    return HierarchicalVAE(
        latents=sizes,
        encoders=tuple(
            MLP(units, (size, 1), activation, rank) for size, rank in zip(sizes, ranks, strict=True)
        ),
        decoders=tuple(MLP(units, output, activation) for output in outputs),
        observation=seen,
        prior_model=FactorisedPrior(family, sizes[-1:]),
        event_ndims=len(event),
        latent_family=family,
    )
