"""Second stage of a VQ-VAE: an autoregressive prior over the indices of its codes."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.distributions.families import Categorical
from dgmjax.errors import require
from dgmjax.models.autoregressive.images import GatedPixelCNN
from dgmjax.models.autoregressive.model import AutoregressiveModel
from dgmjax.nn.autoregressive.causal import Chain, Pointwise, Residual
from dgmjax.nn.autoregressive.masked_conv import masked_convolution
from dgmjax.nn.conditioning import AddContext, join_context
from dgmjax.nn.embeddings import Table
from dgmjax.nn.rescale import Upscale
from dgmjax.types import Array, Key


class CodePrior(nn.Module):
    """p(i) = p(i_{L-1}) prod_l p(i_l | i_{l+1}): a gated PixelCNN for every map of indices.

    A finer map is conditioned on the next coarser one, which a convolutional network turns into
    features of each of its sites; residual blocks of masked convolutions read them. Where a site
    has several codes, these are its channels: each is conditioned on those before. One x `[..., D]`
    holds all indices: the maps in raster order one after another, the coarsest first (`join` and
    `split`). It is trained by `objectives.negative_log_likelihood`, exactly.

    Attributes:
      shapes: (height, width), or (height, width, depth) of a depth above 1, of every map of
        indices, the finest first.
      num_codes: of every level.
      features, blocks: of each gated PixelCNN.
      context_blocks: residual blocks of a conditioned one.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    section 3.3, https://arxiv.org/abs/1711.00937; Razavi, van den Oord & Vinyals, "Generating
    Diverse High-Fidelity Images with VQ-VAE-2", 2019, section 3.2 (without its attention),
    https://arxiv.org/abs/1906.00446.
    """

    shapes: tuple[tuple[int, ...], ...]
    num_codes: tuple[int, ...]
    features: int = 32
    blocks: int = 5
    context_blocks: int = 2

    def setup(self):
        num = len(self.shapes)
        require(num >= 1, "shapes", "must name at least one level", self.shapes)
        known = all(len(shape) == 2 or (len(shape) == 3 and shape[2] > 1) for shape in self.shapes)
        rule = "must be (height, width) or, of a depth above 1, (height, width, depth)"
        require(known, "shapes", rule, self.shapes)
        require(len(self.num_codes) == num, "num_codes", f"must be {num} numbers", self.num_codes)
        self.densities = [self._density(level) for level in range(num)]
        self.tables = [Table(k, self.features) for k in self.num_codes[1:]]
        self.readers = [
            Upscale(self.features, self.features, self._factor(level), 1)
            for level in range(num - 1)
        ]

    def _factor(self, level: int) -> int:
        (height, width), (low, narrow) = (shape[:2] for shape in self.shapes[level : level + 2])
        fits = height % low == 0 and width % narrow == 0 and height // low == width // narrow
        rule = "must be multiples of one another by one factor, the finest first"
        require(fits, "shapes", rule, self.shapes)
        return height // low

    def _density(self, level: int) -> AutoregressiveModel:
        """p(i_l | coarser), over events (height, width, 1 or depth)."""
        shape, features = self.shapes[level], self.features
        model = GatedPixelCNN(
            self._event(level),
            Categorical(self.num_codes[level]),
            features=features,
            blocks=self.blocks,
            first_kernel=7 if min(shape[:2]) >= 7 else 3,
            head_features=2 * features,
            site_bias=True,
        )
        # Categories have no order: they are read through a table.
        network = model.network.clone(embed=Table(self.num_codes[level], features))
        if level == len(self.shapes) - 1:
            return model.clone(network=network)
        # The coarser map is known as a whole, so its features may enter at every site; only indices
        # of the own level are masked.
        layers: list[nn.Module] = [AddContext(features, 0, features, len(shape))]
        layers += [_context_block(features, shape) for _ in range(self.context_blocks)]
        network = network.clone(layers=(*layers, *network.layers), local_features=features)
        return model.clone(network=network, context_features=math.prod(shape) * features)

    def _event(self, level: int) -> tuple[int, ...]:
        """The shape of a map, with an axis of channels."""
        shape = tuple(self.shapes[level])
        return shape if len(shape) == 3 else (*shape, 1)

    @property
    def family(self) -> Categorical:
        """Covers the indices of every level."""
        return Categorical(max(self.num_codes))

    def join(self, indices: tuple[Array, ...]) -> Array:
        """x `[..., D]` of maps `[..., *shapes[l]]`, which are given with the finest first."""
        pairs = zip(reversed(indices), reversed(self.shapes))
        flat = [
            one.reshape(*one.shape[: one.ndim - len(shape)], math.prod(shape))
            for one, shape in pairs
        ]
        return jnp.concatenate(flat, -1)

    def split(self, x: Array) -> tuple[Array, ...]:
        """The maps `[..., *shapes[l]]` of x, the finest first."""
        sizes = [math.prod(shape) for shape in self.shapes]
        ends = x.ndim >= 1 and x.shape[-1] == sum(sizes)
        require(ends, "x", f"must end in the {sum(sizes)} indices", f"shape {x.shape}")
        maps, start = [], 0
        for shape, size in zip(reversed(self.shapes), reversed(sizes)):
            maps.append(x[..., start : start + size].reshape(*x.shape[:-1], *shape))
            start += size
        return tuple(reversed(maps))

    def _context(self, level: int, coarser: Array) -> Array:
        """Features of every site of a level, as one vector, from the indices above."""
        coarse, fine = self.shapes[level + 1], self.shapes[level]
        known = self.tables[level](coarser)
        known = known if len(coarse) == 2 else known.sum(-2)
        read = self.readers[level](known)
        if len(fine) == 3:  # the same for every code of a site
            read = jnp.repeat(read[..., None, :], fine[2], -2)
        batch, sites = read.shape[: -len(fine) - 1], math.prod(fine)
        return join_context(None, read.reshape(*batch, sites, self.features))

    def _as_event(self, level: int, indices: Array) -> Array:
        return indices if len(self.shapes[level]) == 3 else indices[..., None]

    def log_prob(self, x: Array) -> Array:
        """log p(x) in nats, `[...]`."""
        maps, total = self.split(x), jnp.zeros(x.shape[:-1])
        for level, density in enumerate(self.densities):
            last = level == len(maps) - 1
            context = () if last else (self._context(level, maps[level + 1]),)
            total = total + density.log_prob(self._as_event(level, maps[level]), *context)
        return total

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Indices `[*sample_shape, D]`, int32, the coarsest level first."""
        maps: list[Array] = []
        for level in reversed(range(len(self.shapes))):
            level_key = jax.random.fold_in(key, level)
            if not maps:
                drawn = self.densities[level].sample(level_key, sample_shape)
            else:
                context = self._context(level, maps[0])
                # The context already has the sample axes: one finer map for each coarser one.
                drawn = self.densities[level].sample(level_key, (), context)
            whole = len(self.shapes[level]) == 3
            maps.insert(0, (drawn if whole else drawn[..., 0]).astype(jnp.int32))
        return self.join(tuple(maps))


def _context_block(features: int, sites: tuple[int, ...]) -> Residual:
    """h + W act(V l + K * act(U act(h))), with masks that read up to the own site."""
    act = Pointwise(nn.relu)
    parts = (
        act,
        Pointwise(nn.Dense(features)),
        act,
        masked_convolution(features, sites, 3),
        AddContext(features, 0, features, len(sites)),
        act,
        Pointwise(nn.Dense(features)),
    )
    return Residual(Chain(parts))
