"""Progressive growing of a GAN: the stages of one run, as a function of the step."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.dense import Dense
from dgmjax.nn.equalised import Equalised
from dgmjax.nn.progressive import coarsened, num_levels
from dgmjax.types import Array, Batch, Key

COLLECTION = "growth"


class ProgressiveGAN(nn.Module):
    """A game whose images grow: at step `boundaries[i]` level i + 1 begins to fade in.

    All levels are parameters from the start, so that at a boundary parameters and the state of the
    optimisers go on, and a checkpoint is the same whatever the stage. How far the networks have
    grown is a function of the step of the batch, and is kept in a collection for sampling. Images
    have their full size throughout, with larger pixels before the end, and a penalty takes slopes
    with respect to these pixels: that of a level which is halved k times is 4^k times smaller.

    Attributes:
      latent: length of z ~ N(0, I).
      generator: `nn.ProgressiveGenerator`, or another module of `(z, growth)`.
      features: `nn.ProgressiveFeatures`, or another module of `(x, growth)`.
      boundaries: a step for each level but the coarsest, increasing; zeros train at full size.
      fade: steps that a level takes to fade in.

    Source: Karras, Aila, Laine & Lehtinen, "Progressive Growing of GANs for Improved Quality,
    Stability, and Variation", 2018, section 2, https://arxiv.org/abs/1710.10196.
    """

    latent: int
    generator: nn.Module
    features: nn.Module
    boundaries: tuple[int, ...]
    fade: int = 1
    preserve_adopted_names: ClassVar[bool] = True

    def setup(self):
        require_sizes(latent=self.latent, fade=self.fade)
        steps = tuple(self.boundaries)
        sorted_ = steps == tuple(sorted(steps)) and all(step >= 0 for step in steps)
        require(sorted_, "boundaries", "must be increasing steps of at least 0", steps)
        self.head = Equalised(Dense(1))

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        return {"x": getattr(self.generator, "values", "real")}

    def growth_at(self, step: Array | int) -> Array:
        """The number of levels that have faded in, with fractions, at a step."""
        since = jnp.asarray(step, jnp.float32) - jnp.asarray(self.boundaries, jnp.float32)
        # The first step after a boundary has begun already: a boundary of 0 with a fade of 1 is
        # the full size from the start.
        return jnp.clip((since + 1.0) / self.fade, 0.0, 1.0).sum()

    def growth(self) -> Array:
        """That of the last step of training; all levels before there was one."""
        last = jnp.float32(len(self.boundaries))
        return self.get_variable(COLLECTION, "value", last)

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples `[*sample_shape, H, W, C]`."""
        del context
        z = jax.random.normal(key, (*sample_shape, self.latent))
        return as_float(self.generator(z, self.growth()))

    def pairs(self, batch: Batch, key: Key) -> tuple[Array, Array]:
        """Images of the batch with the pixels of this step, and as many samples."""
        x = batch["x"]
        levels = num_levels(x.shape[-3:])
        rule = f"must have a step for each of {levels - 1} levels that images of {x.shape[1:]} grow"
        require(len(self.boundaries) == levels - 1, "boundaries", rule, tuple(self.boundaries))
        if self.is_mutable_collection(COLLECTION):
            self.put_variable(COLLECTION, "value", self.growth_at(batch.get("step", 0)))
        return coarsened(x, self.growth(), levels), self.sample(key, (len(x),))

    def logit(self, x: Array) -> Array:
        """The critic's value `[...]`."""
        return as_float(self.head(self.features(x, self.growth())))[..., 0]
