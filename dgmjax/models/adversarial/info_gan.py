"""InfoGAN: a generator whose codes a part of the critic recognises."""

from typing import Any, ClassVar

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.dense import Dense
from dgmjax.nn.mlp import MLP
from dgmjax.types import Array, Batch, Key

Codes = dict[str, Array]


class InfoGAN(nn.Module):
    """x = generator(e, c): noise e ~ N(0, I), a category and continuous codes c_j ~ U(-1, 1).

    The critic and the recognition q(c | x) share `features`. Train the players `features`, `head`
    and `recognition`, and `generator` and `recognition`, each by a `weighted_sum` of its game's
    loss and `objectives.information`.

    Attributes:
      generator: `z[..., noise + categories + continuous]` -> `x[..., *event]`.
      features: `x[..., *event]` -> `[..., F]`.
      noise: length of e.
      categories: values of the category, of equal probability; 0 for none.
      continuous: number of continuous codes.
      hidden: units of the recognition's hidden layer.

    Source: Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, "InfoGAN: Interpretable
    Representation Learning by Information Maximizing Generative Adversarial Nets", 2016,
    https://arxiv.org/abs/1606.03657.
    """

    generator: nn.Module
    features: nn.Module
    noise: int = 62
    categories: int = 10
    continuous: int = 2
    hidden: int = 128
    preserve_adopted_names: ClassVar[bool] = True

    def setup(self):
        require_sizes(noise=self.noise, hidden=self.hidden)
        for name in ("categories", "continuous"):
            require(getattr(self, name) >= 0, name, "must be at least 0", getattr(self, name))
        outputs = self.categories + 2 * self.continuous
        require(outputs > 0, "categories", "must be positive without continuous codes", 0)
        self.head = Dense(1)
        self.recognition = MLP((self.hidden,), (outputs,), nn.leaky_relu)

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {"x": getattr(self.generator, "values", "real")}

    def codes(self, key: Key, shape: tuple[int, ...] = ()) -> Codes:
        """Draws of `noise [*shape, noise]`, `category [*shape]` and `continuous [*shape, n]`."""
        noise_key, category_key, code_key = jax.random.split(key, 3)
        category = jnp.zeros(shape, jnp.int32)
        if self.categories:
            category = jax.random.randint(category_key, shape, 0, self.categories)
        return {
            "noise": jax.random.normal(noise_key, (*shape, self.noise)),
            "category": category,
            "continuous": jax.random.uniform(code_key, (*shape, self.continuous), minval=-1.0),
        }

    def generate(self, codes: Codes) -> Array:
        """x of codes."""
        one_hot = jax.nn.one_hot(codes["category"], self.categories)
        z = jnp.concatenate([codes["noise"], one_hot, codes["continuous"]], -1)
        return as_float(self.generator(z))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples `[*sample_shape, *event]`; `context[...]` fixes their category."""
        shape = sample_shape + (() if context is None else jnp.shape(context))
        codes = self.codes(key, shape)
        if context is not None:
            codes["category"] = jnp.broadcast_to(context, shape)
        return self.generate(codes)

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]`."""
        return as_float(self.head(self.features(x)))[..., 0]

    def recognise(self, x: Array) -> tuple[distrax.Categorical, distrax.Distribution]:
        """q of the category, and of the continuous codes, at images `[...]`."""
        outputs = as_float(self.recognition(self.features(x)))
        logits, rest = outputs[..., : self.categories], outputs[..., self.categories :]
        loc, log_scale = jnp.split(rest, 2, -1)
        # A scale that may vanish would be rewarded without end for codes it knows exactly.
        normal = distrax.Normal(loc, jnp.exp(jnp.maximum(log_scale, -3.0)))
        return distrax.Categorical(logits), distrax.Independent(normal, 1)

    def log_recognition(self, x: Array, codes: Codes) -> dict[str, Array]:
        """log q(c | x) of each kind of code, `[...]` in nats."""
        category, continuous = self.recognise(x)
        found = {}
        if self.categories:
            found["category"] = category.log_prob(codes["category"])
        if self.continuous:
            found["continuous"] = continuous.log_prob(codes["continuous"])
        return found
