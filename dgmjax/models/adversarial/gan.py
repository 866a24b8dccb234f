"""Generative adversarial network: a sampler, and a critic that judges its samples."""

from typing import Any, ClassVar, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.errors import require, require_sizes
from dgmjax.nn.conditioning import class_context
from dgmjax.types import Array, Batch, Key


class GAN(nn.Module):
    """x = generator(z), z ~ N(0, I), and a critic with one value per example.

    Attributes:
      latent: length of z.
      generator: `z[..., latent]` -> `x[..., *event]`; of a conditional model
        `(z, context[..., C])` -> x.
      critic: `x[..., *event]` -> `[..., 1]`, unbounded: the logit of "x is data" in the logistic
        games; `[..., F]` for games that compare features. Of a conditional model it is called with
        `(x, context[..., C])`, see `nn.Projection`.
      num_classes: C, of a model of x given its class, whose context is one-hot; None for none.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, Eq. 1,
    https://arxiv.org/abs/1406.2661.
    """

    latent: int
    generator: nn.Module
    critic: nn.Module
    num_classes: int | None = None
    # Networks that come with a name keep it for their group of parameters.
    preserve_adopted_names: ClassVar[bool] = True

    def setup(self):
        require_sizes(latent=self.latent)
        if self.num_classes is not None:
            require_sizes(num_classes=self.num_classes)

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        of_label = {} if self.num_classes is None else {"label": range(self.num_classes)}
        # A generator that ends in a hyperbolic tangent reaches "signed" values only.
        return {"x": getattr(self.generator, "values", "real"), **of_label, "context": "real"}

    def prior(self) -> distrax.Distribution:
        """N(0, I) over z."""
        loc = jnp.zeros(self.latent)
        return distrax.Independent(distrax.Normal(loc, jnp.ones_like(loc)), 1)

    def generate(self, z: Array, context: Array | None = None) -> Array:
        """x of `z[..., latent]`, and of classes `context[..., C]` where the model has them."""
        return as_float(self.generator(z, *self._known(context)))

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """Samples of shape `sample_shape + batch_shape + event_shape`.

        The batch is that of the context. A conditional model without one draws classes uniformly.
        """
        if context is None and self.num_classes is not None:
            label_key, key = jax.random.split(key)
            label = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
            context, sample_shape = class_context(label, self.num_classes), ()
        batch = () if context is None else context.shape[:-1]
        z = jax.random.normal(key, (*sample_shape, *batch, self.latent))
        if context is not None:
            context = jnp.broadcast_to(context, (*z.shape[:-1], context.shape[-1]))
        return self.generate(z, context)

    def logit(self, x: Array, context: Array | None = None) -> Array:
        """The critic's value, of shape `[...]`."""
        value = self.features(x, context)
        remedy = "Games that compare features read several outputs (`mmd_gan`)."
        rule = "must have one output for a game of values"
        require(value.shape[-1] == 1, "critic", rule, value.shape[-1], remedy)
        return value[..., 0]

    def features(self, x: Array, context: Array | None = None) -> Array:
        """All outputs of the critic, `[..., F]`."""
        return as_float(self.critic(x, *self._known(context)))

    def of_classes(self, label: Array) -> "GANOfClasses":
        """The model of known classes `label[B]`, see `contracts.implicit`."""
        require(self.num_classes is not None, "num_classes", "must be given", "none")
        return GANOfClasses(self, class_context(label, int(self.num_classes or 0)))

    def _known(self, context: Array | None) -> tuple[Array, ...]:
        given = context is not None
        rule = f"must {'be' if self.num_classes else 'not be'} given for this model"
        remedy = "`num_classes` says whether it is conditional."
        told = "one" if given else "none"
        require(given == (self.num_classes is not None), "context", rule, told, remedy)
        return () if context is None else (context,)


class GANOfClasses(NamedTuple):
    """A conditional GAN whose examples have known classes: `model` and their `context[B, C]`."""

    model: GAN
    context: Array

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """One sample for each example, `[B, *event]`; `sample_shape` must be that of the batch."""
        batch = self.context.shape[:-1]
        same = tuple(sample_shape) == batch
        require(same, "sample_shape", f"must be that of the classes, {batch}", sample_shape)
        return self.model.sample(key, (), self.context)

    def logit(self, x: Array) -> Array:
        """The critic's value `[B]` of x as an example of its class."""
        return self.model.logit(x, self.context)

    def features(self, x: Array) -> Array:
        """All outputs of the critic, `[B, F]`."""
        return self.model.features(x, self.context)
