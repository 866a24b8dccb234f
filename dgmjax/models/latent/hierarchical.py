"""VAEs with any number of stochastic layers, inferred from the bottom up or as a ladder."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import distrax
import flax.linen as nn
import jax

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import reads_posterior
from dgmjax.distributions.ancestral import Ancestral, Latents
from dgmjax.distributions.factorised import Factorised, decoded_shape, factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.distributions.normal_product import product_of_normals
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.models.base import StandardNormal
from dgmjax.models.latent.base import LatentVariableModel, start_at_marginals
from dgmjax.nn.autoregressive.binding import bind_network
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.mlp import MLP
from dgmjax.types import Activation, Array

Inference = Literal["bottom_up", "ladder"]
_NORMAL = Normal()


@functools.partial(jax.tree_util.register_dataclass, data_fields=["distribution"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False)
class Root:
    """The first latent of a chain: a distribution that depends on no other."""

    distribution: Any

    def __call__(self, latents: Latents) -> distrax.Distribution:
        return self.distribution


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["network", "estimate"],
    meta_fields=["parent", "family"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """family(network(parent)); a normal also combined with an estimate from the data."""

    network: Any
    estimate: Any
    parent: str
    family: Family = _NORMAL

    def __call__(self, latents: Latents) -> distrax.Distribution:
        sites = self.family(as_float(self.network(latents[self.parent])))
        if self.estimate is not None:
            # Where the data say nothing, the estimate is wide and the product is the prior's
            # normal: such a unit costs no KL divergence.
            sites = product_of_normals([self.estimate, sites])
        return distrax.Independent(sites, 1)


class HierarchicalVAE(LatentVariableModel):
    """p(z_L) p(z_{L-1} | z_L) ... p(z_1 | z_2) p(x | z_1); latents are a dict {"z1": .., "zL": ..}.

    Conditionals of latents have independent dimensions: diagonal normals, or of `latent_family`.

    "bottom_up": q(z_1 | x) q(z_2 | z_1) ... q(z_L | z_{L-1}), each encoder reading the sample
    below it.

    "ladder": the encoders make one deterministic pass d_l = encoder_l(d_{l-1}), d_0 = x, whose
    heads estimate N(m_l, s_l^2), and the posterior goes from the top down like the prior, with
    whose networks it is shared: q(z_L | x) = N(m_L, s_L^2), and q(z_l | z_{l+1}, x) has the
    precision s_l^-2 + s_p^-2 and the mean (m_l s_l^-2 + m_p s_p^-2) / (s_l^-2 + s_p^-2), where
    N(m_p, s_p^2) is p(z_l | z_{l+1}). Prior and posterior are chains of the same order, so that
    the KL divergence of each layer is in closed form (metrics `kl_z1`, ...). The paper's warm-up
    is `objectives.elbo` with a schedule as `beta`; its batch normalisation is not used here.

    Attributes:
      latents: dimensions of z_1 (next to x) .. z_L.
      encoders: L modules, from x up. Bottom up, they return parameters `[..., latents[l], 2]`,
        for a ladder features `[..., C]`.
      decoders: L modules, from x up: z_1 to parameters of x, `[..., *event, num_params]`, then
        z_{l+1} to parameters of z_l, `[..., latents[l - 1], 2]`.
      inference: see above.
      observation: family of a site of x.
      prior_model: density module of z_L; N(0, I) if None. One that reads the posterior
        (`VampPrior`) needs q(z_L | x) as a function of x alone: a ladder's, or that of one layer.
      event_ndims: rank of x.
      marginal_start: as in `VAE`.
      latent_family: of a dimension of every layer: `Normal()`, or bottom up also others, such as
        `Bernoulli()`, with a `prior_model` of that family. Parameters that are said above to be
        two of a dimension are then `latent_family.num_params`.

    Sources: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, sections 3 and
    5, https://arxiv.org/abs/1509.00519; Sonderby, Raiko, Maaloe, Sonderby & Winther, "Ladder
    Variational Autoencoders", 2016, section 2, https://arxiv.org/abs/1602.02282.
    """

    latents: tuple[int, ...]
    encoders: tuple[nn.Module, ...]
    decoders: tuple[nn.Module, ...]
    inference: Inference = "bottom_up"
    observation: Family = Bernoulli()
    prior_model: nn.Module | None = None
    event_ndims: int = 3
    marginal_start: bool = True
    latent_family: Family = _NORMAL

    def setup(self):
        normal = self.latent_family == _NORMAL
        rule = "must be normal for a ladder, which multiplies densities"
        require(normal or self.inference != "ladder", "latent_family", rule, self.latent_family)
        rule = "must be given for latents that are not normal"
        require(normal or self.prior_model is not None, "prior_model", rule, "none")
        kinds = ("bottom_up", "ladder")
        require(self.inference in kinds, "inference", f"must be one of {kinds}", self.inference)
        require(len(self.latents) >= 1, "latents", "must name at least one layer", self.latents)
        require_sizes(latents=tuple(self.latents))
        for name, networks in {"encoders": self.encoders, "decoders": self.decoders}.items():
            fits = len(networks) == len(self.latents)
            rule = f"must be one for each of the {len(self.latents)} layers"
            require(fits, name, rule, len(networks))
        self.prior_module = self.prior_model or StandardNormal(self.latents[-1:])
        if self.inference == "ladder":
            self.heads = [MLP((), (size, 2)) for size in self.latents]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latents, from the data up."""
        return tuple(f"z{level}" for level in range(1, len(self.latents) + 1))

    def _bound(self, network: nn.Module, size: int):
        """A network over `[..., size]` as a pytree that carries its parameters."""
        # Links call networks as data, outside of Flax's scopes, where no parameter can be made.
        if self.is_initializing():
            network(jax.numpy.zeros(size))
        return bind_network(network)

    def _downward(self, estimates: Sequence[Any]) -> dict[str, Link]:
        """The conditionals below the top: those of the prior, or of a posterior by estimates."""
        links = {}
        for level in reversed(range(len(self.latents) - 1)):
            # The same networks for prior and posterior: a ladder corrects the generative path,
            # instead of modelling it a second time.
            network = self._bound(self.decoders[level + 1], self.latents[level + 1])
            parent, family = self.names[level + 1], self.latent_family
            links[self.names[level]] = Link(network, estimates[level], parent, family)
        return links

    def prior(self) -> Ancestral:
        """p(z), from the top down."""
        top = {self.names[-1]: Root(self._top_prior())}
        return Ancestral({**top, **self._downward([None] * len(self.latents))})

    def _top_prior(self) -> distrax.Distribution:
        """p(z_L)."""
        if not reads_posterior(self.prior_module):
            return self.prior_module()
        require(
            self.inference == "ladder" or len(self.latents) == 1,
            "prior_model",
            "must not read the posterior of layers inferred bottom up, where q(z_L | x) is an "
            "integral over the layers below",
            type(self.prior_module).__name__,
            'Use inference="ladder".',
        )
        return self.prior_module(self._top_posterior)

    def _top_posterior(self, x: Array) -> distrax.Distribution:
        """q(z_L | x) of a ladder, or of one layer."""
        if self.inference == "ladder":
            return distrax.Independent(self.estimates(x)[-1], 1)
        return self._first(x)

    def _first(self, x: Array) -> distrax.Distribution:
        """q(z_1 | x), bottom up."""
        read = network_input(x, self.observation)
        return distrax.Independent(self.latent_family(as_float(self.encoders[0](read))), 1)

    def posterior(self, x: Array) -> Ancestral:
        """q(z | x) for `x[..., *event]`, batch shape `[...]`."""
        if self.is_initializing() and self.marginal_start:
            z = jax.numpy.zeros(self.latents[0])
            start_at_marginals(self.decoders[0], self.observation, x, self.event_ndims, z)
        if self.inference == "ladder":
            return self._ladder(x)
        chain: dict[str, Any] = {self.names[0]: Root(self._first(x))}
        for level in range(1, len(self.latents)):
            network = self._bound(self.encoders[level], self.latents[level - 1])
            parent, family = self.names[level - 1], self.latent_family
            chain[self.names[level]] = Link(network, None, parent, family)
        return Ancestral(chain)

    def estimates(self, x: Array) -> list[distrax.Normal]:
        """N(m_l, s_l^2) of the deterministic pass of a ladder, from the data up."""
        found, h = [], network_input(x, self.observation)
        for encoder, head in zip(self.encoders, self.heads, strict=True):
            h = encoder(h)
            found.append(_NORMAL(as_float(head(h))))
        return found

    def _ladder(self, x: Array) -> Ancestral:
        estimates = self.estimates(x)
        # Nothing above the top sharpens its estimate: it stands alone, as the prior's root does.
        top = {self.names[-1]: Root(distrax.Independent(estimates[-1], 1))}
        return Ancestral({**top, **self._downward(estimates)})

    def likelihood(self, z: Latents) -> Factorised:
        """p(x | z_1), batch shape that of the latents."""
        params = self.decoders[0](z["z1"])
        return factorised(self.observation, params, self.event_ndims)


def DenseHierarchicalVAE(
    event_shape: Sequence[int],
    latents: Sequence[int],
    hidden: Sequence[Sequence[int]],
    *,
    inference: Inference = "bottom_up",
    activation: Activation = nn.tanh,
    observation: Family | None = None,
    prior_model: nn.Module | None = None,
) -> HierarchicalVAE:
    """A hierarchical VAE of MLPs.

    Args:
      latents: dimensions of z_1 (next to x) .. z_L.
      hidden: for each layer the hidden units of the encoder that leads to it; the decoder from
        it has them in reverse.

    >>> vae = DenseHierarchicalVAE((4,), latents=(3, 2), hidden=((8,), (5,)), inference="ladder")
    >>> x = jax.numpy.zeros((6, 4))
    >>> variables = vae.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    >>> vae.apply(variables, x, method="posterior").event_shape
    {'z2': (2,), 'z1': (3,)}
    """
    family: Family = observation or Bernoulli()
    event, sizes = as_sizes("event_shape", event_shape), as_sizes("latents", latents)
    layers = tuple(tuple(units) for units in hidden)
    require(len(sizes) >= 1, "latents", "must name at least one layer", sizes)
    require(
        len(layers) == len(sizes) and all(layers),
        "hidden",
        f"must name the hidden layers, at least one, for each of the {len(sizes)} layers",
        layers,
    )
    # Only the first encoder reads events of the rank of x; those above read vectors.
    ndims = (len(event), *[1] * (len(sizes) - 1))
    if inference == "ladder":
        # The heads of a ladder are linear, so that its encoders end in a nonlinearity.
        encoders = tuple(
            MLP(units[:-1], units[-1:], activation, rank, activate_output=True)
            for units, rank in zip(layers, ndims)
        )
    else:
        encoders = tuple(
            MLP(units, (size, 2), activation, rank)
            for units, size, rank in zip(layers, sizes, ndims)
        )
    outputs = (decoded_shape(family, event), *((size, 2) for size in sizes[:-1]))
    decoders = tuple(
        MLP(tuple(reversed(units)), output, activation) for units, output in zip(layers, outputs)
    )
    return HierarchicalVAE(
        latents=sizes,
        encoders=encoders,
        decoders=decoders,
        inference=inference,
        observation=family,
        prior_model=prior_model,
        event_ndims=len(event),
    )


def TwoLayerVAE(
    event_shape: Sequence[int], *, inference: Inference = "bottom_up"
) -> HierarchicalVAE:
    """The model of two stochastic layers of the importance weighted autoencoder.

    x, 200, 200 tanh units, z_1 of 100; 100, 100 tanh units, z_2 of 50; and back.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5,
    https://arxiv.org/abs/1509.00519.
    """
    return DenseHierarchicalVAE(
        event_shape, (100, 50), ((200, 200), (100, 100)), inference=inference
    )
