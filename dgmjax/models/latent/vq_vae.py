"""VQ-VAE and VQ-VAE-2: latents are codes of a codebook, on one or several levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.distributions.factorised import Factorised
from dgmjax.distributions.families import Bernoulli, Family
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.nn.dense import Dense
from dgmjax.nn.embeddings import scaled
from dgmjax.nn.quantiser import Quantised, VectorQuantiser
from dgmjax.nn.rescale import Downscale, Upscale, check_factor, enlarged
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key


@dataclass(frozen=True)
class Level:
    """One level of codes.

    Attributes:
      num_codes: K, size of the codebook.
      features: length of a code.
      factor: how much smaller its map is than what is below it (the image, or a level): a power
        of two.
      depth: codes of a site, each of what those before left (`nn.VectorQuantiser`).
    """

    num_codes: int
    features: int
    factor: int
    depth: int = 1


class HierarchicalVQVAE(nn.Module):
    """p(x | e_0, .., e_{L-1}) with every e_l a map of codes; level 0 is the finest.

    h_0 = Down_0(x),  h_l = Down_l(h_{l-1})
    e_{L-1} = quantise(W h_{L-1}),  e_l = quantise(W [h_l, Up_{l+1}(e_{l+1}, ..)])
    p(x | e) = family(Up_0(e_0, and the coarser codes, enlarged))

    One level is VQ-VAE, with a depth of several codes for each site RQ-VAE. The prior is uniform
    while it trains: `models.CodePrior` learns one.

    Attributes:
      event_shape: (height, width, channels) of x.
      levels: from the finest to the coarsest.
      channels, blocks: of the residual networks.
      observation: family of a site of x.
      learning, decay, restart_below: of the codebooks, see `nn.VectorQuantiser`.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    https://arxiv.org/abs/1711.00937; Razavi, van den Oord & Vinyals, "Generating Diverse
    High-Fidelity Images with VQ-VAE-2", 2019, section 3.1, https://arxiv.org/abs/1906.00446; Lee,
    Kim, Kim, Cho & Han, "Autoregressive Image Generation using Residual Quantization", 2022,
    section 3.1, https://arxiv.org/abs/2203.01941.
    """

    event_shape: tuple[int, ...]
    levels: tuple[Level, ...]
    channels: int = 64
    blocks: int = 2
    observation: Family = Bernoulli()
    learning: Literal["ema", "gradient"] = "ema"
    decay: float = 0.99
    restart_below: float = 0.1

    def setup(self):
        require(len(self.levels) >= 1, "levels", "must name at least one level", self.levels)
        require_sizes(event_shape=tuple(self.event_shape))
        require_sizes(features=tuple(one.features for one in self.levels), channels=self.channels)
        self.index_shapes  # noqa: B018 (checks the factors)
        self.embed = scaled(self.observation)
        self.down = [Downscale(self.channels, one.factor, self.blocks) for one in self.levels]
        self.to_code = [Dense(one.features) for one in self.levels]
        self.quantisers = [
            VectorQuantiser(
                one.num_codes,
                one.features,
                self.learning,
                self.decay,
                restart_below=self.restart_below,
                depth=one.depth,
            )
            for one in self.levels
        ]
        sites = self.event_shape[len(self.event_shape) - self._channel_axes :]
        outputs = math.prod(sites) * self.observation.num_params
        self.up = [
            Upscale(self.channels if level else outputs, self.channels, one.factor, self.blocks)
            for level, one in enumerate(self.levels)
        ]

    @property
    def _channel_axes(self) -> int:
        """The axis of channels, where they are sites of their own."""
        return 0 if self.observation.event_ndims else 1

    @property
    def index_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Height and width of the map of indices of every level, and the depth where not 1."""
        shapes, shape = [], self.event_shape
        for one in self.levels:
            height, width = check_factor("factor", one.factor, shape)
            shape = (height, width, one.features)
            shapes.append((height, width) if one.depth == 1 else (height, width, one.depth))
        return tuple(shapes)

    @property
    def code_nats(self) -> float:
        """-log p(indices) under the uniform prior: sum over all codes of log K."""
        return sum(
            math.prod(shape) * math.log(one.num_codes)
            for shape, one in zip(self.index_shapes, self.levels)
        )

    def quantise(
        self, x: Array, key: Key | None = None, mask: Array | None = None
    ) -> tuple[Quantised, ...]:
        """The codes of `x[B, *event]`, the finest level first; with a key, dead codes restart.

        Args:
          mask: `[B]`, 1 for rows of data and 0 for padding, which the codebooks do not see.
        """
        require_event(x, self.event_shape)
        maps, h = [], self._read(x)
        for down in self.down:
            h = down(h)
            maps.append(h)
        results: list[Quantised] = []
        above = None
        # From the coarsest down: a finer level is quantised given all codes above it, so that it
        # need only hold what they do not say.
        for level in reversed(range(len(self.levels))):
            h = maps[level] if above is None else jnp.concatenate([maps[level], above], -1)
            # By level, so that the noise of a level does not depend on how many there are.
            level_key = None if key is None else jax.random.fold_in(key, level)
            quantised = self.quantisers[level](self.to_code[level](h), level_key, mask)
            results.insert(0, quantised)
            if level:
                codes = quantised.codes
                above = codes if above is None else jnp.concatenate([codes, above], -1)
                above = self.up[level](above)
        return tuple(results)

    def _read(self, x: Array) -> Array:
        """Feature maps `[..., H, W, F]` of the values of x."""
        h = self.embed(x)
        rest = math.prod(h.shape[x.ndim - 1 :])
        return h.reshape(*x.shape[:-1], rest) if h.ndim > x.ndim else h

    def encode(self, x: Array) -> tuple[Array, ...]:
        """Indices `[B, *index_shapes[l]]` of every level, the finest first."""
        return tuple(quantised.indices for quantised in self.quantise(x))

    def codes(self, indices: Sequence[Array]) -> tuple[Array, ...]:
        """The codes `[..., h_l, w_l, features]` of indices of every level."""
        ranks = [len(shape) for shape in self.index_shapes]
        shapes = tuple(tuple(one.shape[-rank:]) for one, rank in zip(indices, ranks))
        rule = f"must be maps of the sizes {self.index_shapes}, the finest level first"
        require(shapes == self.index_shapes, "indices", rule, shapes)
        return tuple(q.lookup(one) for q, one in zip(self.quantisers, indices))

    def likelihood(self, codes: Sequence[Array]) -> Factorised:
        """p(x | e) of codes `[..., h_l, w_l, features]` of every level, the finest first."""
        joined = codes[-1]
        for level in reversed(range(len(codes) - 1)):
            # Codes are repeated here; the learned maps `up[1:]` between levels belong to the
            # encoder.
            larger = enlarged(joined, self.levels[level + 1].factor)
            joined = jnp.concatenate([codes[level], larger], -1)
        params = self.up[0](joined)
        sites = self.event_shape if self._channel_axes else self.event_shape[:-1]
        params = params.reshape(*params.shape[:-3], *sites, self.observation.num_params)
        return Factorised(self.observation, params, tuple(self.event_shape))

    def decode(self, indices: Sequence[Array]) -> Factorised:
        """p(x | e) of indices, the finest level first."""
        return self.likelihood(self.codes(indices))

    def reconstruct(self, x: Array, key: Key | None = None) -> Array:
        """E[x' | e(x)]; the key is not used."""
        return self.decode(self.encode(x)).mean()

    def _uniform(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(
            jax.random.randint(
                jax.random.fold_in(key, level), (*sample_shape, *shape), 0, one.num_codes
            )
            for level, (shape, one) in enumerate(zip(self.index_shapes, self.levels))
        )

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """x ~ p(x | e) with indices drawn uniformly: the prior of the first stage."""
        index_key, x_key = jax.random.split(key)
        return self.decode(self._uniform(index_key, sample_shape)).sample(seed=x_key)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | e] with indices drawn uniformly."""
        return self.decode(self._uniform(key, sample_shape)).mean()


def VQVAE(
    event_shape: Sequence[int],
    num_codes: int = 128,
    features: int = 16,
    factor: int = 4,
    depth: int = 1,
    **options,
) -> HierarchicalVQVAE:
    """One level of codes: a map of `1 / factor` of the image's height and width.

    Args:
      depth: codes of a site; above 1 it is an RQ-VAE.
      options: of `HierarchicalVQVAE`.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    https://arxiv.org/abs/1711.00937; Lee, Kim, Kim, Cho & Han, "Autoregressive Image Generation
    using Residual Quantization", 2022, section 3.1, https://arxiv.org/abs/2203.01941.

    >>> VQVAE((28, 28, 1), num_codes=64, factor=4, depth=2).index_shapes
    ((7, 7, 2),)
    """
    level = Level(num_codes, features, factor, depth)
    return HierarchicalVQVAE(as_sizes("event_shape", event_shape), (level,), **options)


def VQVAE2(
    event_shape: Sequence[int],
    num_codes: int = 128,
    features: int = 16,
    factors: tuple[int, int] = (4, 2),
    depth: int = 1,
    **options,
) -> HierarchicalVQVAE:
    """Two levels with codebooks of their own; the finer one is conditioned on the coarser.

    Args:
      factors: of the bottom level (below the image), and of the top level (below the bottom).
      depth: codes of a site, on both levels.
      options: of `HierarchicalVQVAE`.

    Source: Razavi, van den Oord & Vinyals, "Generating Diverse High-Fidelity Images with VQ-VAE-2",
    2019, section 3.1 and Figure 2a, https://arxiv.org/abs/1906.00446.
    """
    levels = tuple(Level(num_codes, features, factor, depth) for factor in factors)
    return HierarchicalVQVAE(as_sizes("event_shape", event_shape), levels, **options)
