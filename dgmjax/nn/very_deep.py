"""Networks of a very deep hierarchy: bottleneck blocks, features from x up, states from the top."""

import math

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.errors import require_sizes
from dgmjax.nn.convolution import Conv
from dgmjax.nn.dense import Dense
from dgmjax.nn.progressive import averaged
from dgmjax.nn.rescale import enlarged
from dgmjax.nn.steps import join
from dgmjax.types import Array


def scaled_normal(scale: float) -> nn.initializers.Initializer:
    """Truncated normal kernels of variance `scale^2` / inputs; 0 for zeros."""
    if scale == 0.0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


class Bottleneck(nn.Module):
    """`x[..., H, W, C]` -> `[..., H, W, features]`: D act(C act(B act(A act(x)))), act = GELU.

    A and D are 1x1 convolutions, to `hidden` channels and back, B and C 3x3 ones; 1x1 too on maps
    of 1 or 2 pixels a side, where most taps of a larger kernel would read padding.

    Attributes:
      features: of the output.
      hidden: channels between.
      scale: D starts this much smaller than usual; 0 for an output of zero.
      dtype: of the computation; parameters stay float32.

    Source: Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on
    Images", 2021, Figure 3 and section 3.2, https://arxiv.org/abs/2011.10650.

    >>> import jax
    >>> block = Bottleneck(features=6, hidden=2)
    >>> block.init_with_output(jax.random.key(0), jnp.zeros((5, 4, 4, 3)))[0].shape
    (5, 4, 4, 6)
    """

    features: int
    hidden: int
    scale: float = 1.0
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        require_sizes(features=self.features, hidden=self.hidden)
        h = Dense(self.hidden, dtype=self.dtype)(nn.gelu(x))
        for _ in range(2):
            wide = min(x.shape[-3:-1]) > 2
            layer = Conv(self.hidden, (3, 3), dtype=self.dtype) if wide else None
            h = (layer or Dense(self.hidden, dtype=self.dtype))(nn.gelu(h))
        init = scaled_normal(self.scale)
        return Dense(self.features, kernel_init=init, dtype=self.dtype)(nn.gelu(h))


class BottomUp(nn.Module):
    """`x[..., H, W, C]` -> maps `[..., H / f, W / f, width]` for every factor f, the finest first.

    Each map is the mean over pixels of the map before, and residual blocks h + B(h).

    Attributes:
      factors: f, rising, each a multiple of the one before.
      blocks: residual blocks of each map.
      width: channels of every map.
      hidden: see `Bottleneck`.
      dtype: of the computation.
    """

    factors: tuple[int, ...]
    blocks: tuple[int, ...]
    width: int
    hidden: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        # A sum of N blocks keeps its variance at any depth where each has a share of 1 / N.
        scale = 1.0 / math.sqrt(sum(self.blocks))
        h = Conv(self.width, (3, 3), dtype=self.dtype)(x)
        maps, before = [], 1
        for factor, count in zip(self.factors, self.blocks, strict=True):
            h = averaged(h, factor // before)
            for _ in range(count):
                h = h + Bottleneck(self.width, self.hidden, scale, self.dtype)(h)
            maps.append(h)
            before = factor
        return maps


class TopDownBlock(nn.Module):
    """One latent z of a hierarchy, and the state h `[..., H, W, width]` that it changes.

    p(z | h) and r = A(h), q(z | h, d) = B([h, d]) with features d of the data at this size, and

        h' = h + r + W z,  h'' = h' + C(h').

    The first block of a size enlarges the state to it and adds a learned map.

    Attributes:
      shape: (H, W, width) of the state.
      latent: channels of z, `[..., H, W, latent]`.
      hidden: see `Bottleneck`.
      factor: how much larger its state is than the one it is given.
      first: the first block of its size.
      scale: of W and the last layer of C at the start.
      dtype: of the computation.

    Source: Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on
    Images", 2021, Figure 3, https://arxiv.org/abs/2011.10650.
    """

    shape: tuple[int, int, int]
    latent: int
    hidden: int
    factor: int = 1
    first: bool = False
    scale: float = 1.0
    dtype: jnp.dtype | None = None

    def setup(self):
        width, params = self.shape[-1], 2 * self.latent
        if self.first:
            self.map = self.param("map", nn.initializers.zeros, self.shape)
        self.ahead = Bottleneck(width + params, self.hidden, 0.0, self.dtype)
        self.reader = Bottleneck(params, self.hidden, dtype=self.dtype)
        self.embed = Dense(width, kernel_init=scaled_normal(self.scale), dtype=self.dtype)
        self.after = Bottleneck(width, self.hidden, self.scale, self.dtype)

    def _enter(self, state: Array) -> Array:
        """The state at this size."""
        state = enlarged(state, self.factor)
        return state + jnp.asarray(self.map, state.dtype) if self.first else state

    def _sites(self, params: Array) -> Array:
        return params.reshape(*params.shape[:-1], self.latent, 2)

    def prior(self, state: Array) -> Array:
        """Parameters of p(z | h), `[..., H, W, latent, 2]`."""
        return self._sites(self.ahead(self._enter(state))[..., self.shape[-1] :])

    def posterior(self, state: Array, features: Array) -> Array:
        """Parameters of q(z | h, d), `[..., H, W, latent, 2]`, d `[..., H, W, F]`."""
        return self._sites(self.reader(join(self._enter(state), features)))

    def absorb(self, state: Array, z: Array) -> Array:
        """The state after z is known."""
        h = self._enter(state)
        h = h + self.ahead(h)[..., : self.shape[-1]] + self.embed(z)
        return h + self.after(h)
