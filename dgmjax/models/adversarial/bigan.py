"""BiGAN and ALI: a generator and an encoder, told apart by a critic of pairs."""

from typing import Any, ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import Normal
from dgmjax.errors import require, require_sizes
from dgmjax.nn.mlp import MLP
from dgmjax.types import Array, Batch, Key


class BiGAN(nn.Module):
    """Pairs (x, e(x)) of data and (g(z), z) of the prior; at the optimum e inverts g.

    With a `stochastic` encoder, e(x) ~ N(m(x), s(x)^2), this is ALI. Generator and encoder are
    trained by `objectives.generator_loss(..., both=True)`.

    Attributes:
      latent: length of z ~ N(0, I).
      generator: `z[..., latent]` -> `x[..., *event]`.
      encoder: `x[..., *event]` -> features `[..., F]`; a dense layer makes the code of them.
      critic: `PairCritic`, or another module of `(x, z)` -> `[...]`.
      stochastic: the code is drawn.

    Sources: Donahue, Kraehenbuehl & Darrell, "Adversarial Feature Learning", 2017, section 3,
    https://arxiv.org/abs/1605.09782; Dumoulin et al., "Adversarially Learned Inference", 2017,
    https://arxiv.org/abs/1606.00704.
    """

    latent: int
    generator: nn.Module
    encoder: nn.Module
    critic: nn.Module
    stochastic: bool = False
    preserve_adopted_names: ClassVar[bool] = True

    def setup(self):
        require_sizes(latent=self.latent)
        self.to_code = MLP((), (self.latent, 2 if self.stochastic else 1))

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {"x": getattr(self.generator, "values", "real")}

    def prior(self) -> distrax.Distribution:
        """N(0, I) over z."""
        loc = jnp.zeros(self.latent)
        return distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)

    def generate(self, z: Array) -> Array:
        """x of `z[..., latent]`."""
        return as_float(self.generator(z))

    def hidden(self, x: Array) -> Array:
        """Features `[..., F]` of the encoder, before the layer that makes the code."""
        return as_float(self.encoder(x))

    def encode(self, x: Array, key: Key | None = None) -> Array:
        """The code `[..., latent]` of x: its mean, or with a key a draw of a stochastic encoder."""
        params = as_float(self.to_code(self.hidden(x)))
        if not self.stochastic or key is None:
            return params[..., 0]
        return Normal()(params).sample(seed=key)

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples `[*sample_shape, *event]`."""
        del context
        return self.generate(jax.random.normal(key, (*sample_shape, self.latent)))

    def reconstruct(self, x: Array, key: Key) -> Array:
        """g(e(x))."""
        return self.generate(self.encode(x, key))

    def pairs(self, batch: Batch, key: Key) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """(x, e(x)) of the batch, and as many (g(z), z)."""
        code_key, z_key = jax.random.split(key)
        x = batch["x"]
        z = jax.random.normal(z_key, (len(x), self.latent))
        return (x, self.encode(x, code_key)), (self.generate(z), z)

    def logit(self, pair: tuple[Array, Array]) -> Array:
        """The critic's value `[...]` of a pair."""
        value = as_float(self.critic(*pair))
        rule = "must have one output"
        require(value.shape[-1] == 1, "critic", rule, value.shape[-1])
        return value[..., 0]


class PairCritic(nn.Module):
    """(x, z) -> `[..., 1]`: features of x and of z, together through two dense layers.

    Attributes:
      features: `x[..., *event]` -> `[..., F]`.
      hidden: units of the layer of z, and of those of both.
    """

    features: nn.Module
    hidden: int = 512

    @nn.compact
    def __call__(self, x: Array, z: Array) -> Array:
        require_sizes(hidden=self.hidden)
        of_z = MLP((self.hidden,), (self.hidden,), nn.leaky_relu, activate_output=True)(z)
        both = jnp.concatenate([self.features(x), of_z], -1)
        return MLP((self.hidden,), (1,), nn.leaky_relu)(both)
