"""Very deep VAE: a hierarchy of maps of latents at several resolutions."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.ancestral import Ancestral, Latents
from dgmjax.distributions.base import check_temperature
from dgmjax.distributions.factorised import Factorised, decoded_shape
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.errors import require, require_sizes
from dgmjax.models.latent.base import LatentVariableModel
from dgmjax.nn.convolution import Conv
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.rescale import enlarged
from dgmjax.nn.very_deep import BottomUp, TopDownBlock
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key, PyTree

_NORMAL = Normal()
Temperature = float | Mapping[str, float]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables", "features", "temperature"],
    meta_fields=["module"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A block with its parameters: p(z | state), or q(z | state, x) where there are features."""

    module: Any
    variables: PyTree
    features: Array | None = None
    temperature: Array | float = 1.0

    def __call__(self, state: Array) -> distrax.Distribution:
        if self.features is None:
            params = self.module.apply(self.variables, state, method="prior")
        else:
            params = self.module.apply(self.variables, state, self.features, method="posterior")
        return distrax.Independent(_NORMAL(as_float(params), self.temperature), 3)

    def absorb(self, state: Array, z: Array) -> Array:
        """The state that the next block is given."""
        return self.module.apply(self.variables, state, z, method="absorb")


class VeryDeepVAE(LatentVariableModel):
    """p(z_L) p(z_{L-1} | z_L) ... p(z_1 | z_2 .. z_L) p(x | z); latents are {"z1": .., "zL": ..}.

    Latents are maps `[H / f, W / f, latent]` of normals, z_L the coarsest. From the data up, one
    deterministic pass gives features d of every size. From the top down, a deterministic state h
    goes through L blocks; block i gives p(z_i | h) and q(z_i | h, d) from the same h, which then
    absorbs z_i (`nn.TopDownBlock`), so that the KL divergence of each block is in closed form
    (metrics `kl_z1`, ...). p(x | z) reads the last state.

    Attributes:
      event_shape: (H, W, C) of x.
      factors: f of every size, from the data up: how much smaller it is than x.
      blocks: top-down blocks, and bottom-up ones, of each size; L is their sum.
      latent: channels of every z.
      width: channels of h and d.
      hidden: channels of the blocks' bottlenecks.
      observation: family of a site of x.
      dtype: of the networks' computation; densities are in float32.

    Sources: Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on
    Images", 2021, section 3, https://arxiv.org/abs/2011.10650; the posterior from the top down:
    Sonderby, Raiko, Maaloe, Sonderby & Winther, "Ladder Variational Autoencoders", 2016,
    https://arxiv.org/abs/1602.02282, and, with a deterministic path: Kingma et al., "Improving
    Variational Inference with Inverse Autoregressive Flow", 2016, appendix C,
    https://arxiv.org/abs/1606.04934.

    >>> vae = VeryDeepVAE((4, 4, 1), factors=(2, 4), blocks=(1, 1), latent=3, width=8, hidden=4)
    >>> x = jnp.zeros((6, 4, 4, 1))
    >>> variables = vae.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    >>> vae.apply(variables, x, method="posterior").event_shape
    {'z2': (1, 1, 3), 'z1': (2, 2, 3)}
    """

    event_shape: tuple[int, ...]
    factors: tuple[int, ...] = (1, 2, 4, 28)
    blocks: tuple[int, ...] = (1, 2, 2, 1)
    latent: int = 16
    width: int = 32
    hidden: int = 16
    observation: Family = Bernoulli()
    dtype: jnp.dtype | None = None

    def setup(self):
        self._check()
        place: dict[str, Any] = {"width": self.width, "hidden": self.hidden, "dtype": self.dtype}
        self.bottom_up = BottomUp(tuple(self.factors), tuple(self.blocks), **place)
        scale = 1.0 / math.sqrt(sum(self.blocks))
        size: dict[str, Any] = {
            "latent": self.latent,
            "hidden": self.hidden,
            "scale": scale,
            "dtype": self.dtype,
        }
        top_down, before = [], self.factors[-1]
        for factor, count in zip(reversed(self.factors), reversed(self.blocks)):
            shape = self._state_shape(factor)
            top_down.append(TopDownBlock(shape, factor=before // factor, first=True, **size))
            top_down += [TopDownBlock(shape, **size) for _ in range(count - 1)]
            before = factor
        self.top_down = top_down
        outputs = math.prod(decoded_shape(self.observation, tuple(self.event_shape))[2:])
        self.head = Conv(outputs, (3, 3), dtype=self.dtype)

    def _check(self) -> None:
        event, factors, blocks = map(tuple, (self.event_shape, self.factors, self.blocks))
        require(len(event) == 3, "event_shape", "must be (height, width, channels)", event)
        require(len(factors) >= 1, "factors", "must name at least one size", factors)
        rule = f"must be one for each of the {len(factors)} factors"
        require(len(blocks) == len(factors), "blocks", rule, blocks)
        require_sizes(event_shape=event, factors=factors, blocks=blocks)
        require_sizes(latent=self.latent, width=self.width, hidden=self.hidden)
        rising = all(b > a and b % a == 0 for a, b in itertools.pairwise(factors))
        require(rising, "factors", "must each be a larger multiple of the one before", factors)
        divides = event[0] % factors[-1] == 0 and event[1] % factors[-1] == 0
        require(divides, "factors", f"must divide the height and width of {event}", factors)

    def _state_shape(self, factor: int) -> tuple[int, int, int]:
        height, width, _ = self.event_shape
        return height // factor, width // factor, self.width

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latents, from the data up."""
        return tuple(f"z{level}" for level in range(1, sum(self.blocks) + 1))

    @property
    def _start(self) -> Array:
        """The state before the first block."""
        return jnp.zeros(self._state_shape(self.factors[-1]), self.dtype or jnp.float32)

    def _steps(
        self, features: list[Array] | None = None, temperature: Temperature = 1.0
    ) -> dict[str, Step]:
        """Every block from the top down, with features of its size, the finest first."""
        sizes = [level for level, count in enumerate(self.blocks) for _ in range(count)]
        order = zip(reversed(self.names), reversed(sizes), self.top_down, strict=True)
        steps, state = {}, self._start
        for name, level, block in order:
            if self.is_initializing():  # steps are called outside of Flax's scopes
                block.posterior(state, jnp.zeros((*block.shape[:2], self.width), state.dtype))
                z = jnp.zeros((*block.shape[:2], self.latent))
                state = block.absorb(state, z)
            given = None if features is None else features[level]
            warmth = temperature[name] if isinstance(temperature, Mapping) else temperature
            steps[name] = Step(*block.unbind(), given, warmth)
        return steps

    def prior(self, temperature: Temperature = 1.0) -> Ancestral:
        """p(z), from the top down; scales are multiplied by a temperature, one or by latent."""
        if isinstance(temperature, Mapping):
            known = set(temperature) <= set(self.names)
            rule = f"must be of the latents {list(self.names)}"
            require(known, "temperature", rule, sorted(temperature))
            temperature = {name: temperature.get(name, 1.0) for name in self.names}
        jax.tree.map(check_temperature, temperature)
        return Ancestral(self._steps(temperature=temperature), self._start)

    def posterior(self, x: Array) -> Ancestral:
        """q(z | x) for `x[..., *event]`, batch shape `[...]`."""
        require_event(x, self.event_shape)
        features = self.bottom_up(as_float(network_input(x, self.observation)))
        return Ancestral(self._steps(features), self._start)

    def likelihood(self, z: Latents) -> Factorised:
        """p(x | z), batch shape that of the latents."""
        state = self._start
        for name, step in self._steps().items():
            state = step.absorb(state, z[name])
        params = self.head(nn.gelu(enlarged(state, self.factors[0])))
        event = tuple(self.event_shape)
        sites = decoded_shape(self.observation, event)
        return Factorised(self.observation, params.reshape(*params.shape[:-3], *sites), event)

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), temperature: Temperature = 1.0
    ) -> Array:
        """x ~ p(x | z), z ~ p(z) at a temperature of the latents: of all, or by name.

        Source: Child, 2021, section 5.3, https://arxiv.org/abs/2011.10650.
        """
        z_key, x_key = jax.random.split(key)
        z = self.prior(temperature).sample(seed=z_key, sample_shape=sample_shape)
        return self.likelihood(z).sample(seed=x_key)

    def mean(
        self, key: Key, sample_shape: tuple[int, ...] = (), temperature: Temperature = 1.0
    ) -> Array:
        """E[x | z] with z ~ p(z): what figures show."""
        z_key, x_key = jax.random.split(key)
        z = self.prior(temperature).sample(seed=z_key, sample_shape=sample_shape)
        return self.shown(z, x_key)
