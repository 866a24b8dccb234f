"""Class-conditional densities, and their marginal over uniform classes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.contracts import reads_mask
from dgmjax.errors import require, require_sizes
from dgmjax.models.base import DensityModel
from dgmjax.nn.conditioning import class_context, join_context
from dgmjax.types import Array, Batch, Key


class ClassConditional(DensityModel):
    """p(x | y) for classes y in 0 .. num_classes - 1, and p(x) = (1/C) sum_y p(x | y).

    Attributes:
      density: a density model whose context is the one-hot class, `context_features=num_classes`,
        and, with a timeline, `local_features=timeline[1]`.
      num_classes: C.
      timeline: (frames, features) of a learned sequence of vectors for each class, so that the
        density may differ from frame to frame; None for none.
    """

    density: nn.Module
    num_classes: int
    timeline: tuple[int, int] | None = None

    def setup(self):
        if self.timeline is not None:
            require_sizes(timeline=min(self.timeline))
            shape = (self.num_classes, *self.timeline)
            self.frames = self.param("frames", nn.initializers.normal(0.1), shape)

    def data_rules(self, batch: Batch) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        family = getattr(self.density, "family", None)
        steps = jnp.shape(batch["x"])[1:2]
        of_x = {} if family is None else {"x": family}
        of_length = {"length": range(steps[0] + 1)} if steps else {}
        return of_x | of_length | {"label": range(self.num_classes), "context": "real"}

    def context(self, label: Array) -> Array:
        """One-hot classes `[..., C]`, with the timeline of the class where there is one."""
        classes = class_context(label, self.num_classes)
        if self.timeline is None:
            return classes
        return join_context(classes, self.frames[jnp.asarray(label, jnp.int32)])

    def __call__(self, context: Array | None = None):
        """The distribution of x given the context of a class."""
        remedy = "log_prob and sample average over the classes where none is given."
        require(context is not None, "context", "must be given", "none", remedy)
        return self.density(context)

    @property
    def reads_mask(self) -> bool:
        """Whether `log_prob` takes the rows of a batch that are data."""
        return reads_mask(self.density)

    def log_prob(self, x: Array, context: Array | None = None, **options: Any) -> Array:
        """log p(x | y) in nats given the context of a class; otherwise log p(x), at C passes.

        Args:
          **options: of the density's `log_prob`, such as the `mask` of a flow.
        """
        if self.is_initializing():  # every class through the same parameters
            context = self.context(jnp.zeros((), jnp.int32)) if context is None else context
        if context is not None:
            return self.density.log_prob(x, context, **options)
        return jax.nn.logsumexp(self.log_joint(x, **options), axis=-1)

    def log_joint(self, x: Array, **options: Any) -> Array:
        """log p(x, y) of every class, `[..., C]`: the classifier p(y | x) is its softmax."""
        one = lambda label: self.density.log_prob(x, self.context(label), **options)
        # In turn, not at once: C passes in the memory of one.
        each = jax.lax.map(one, jnp.arange(self.num_classes))
        return jnp.moveaxis(each, 0, -1) - jnp.log(self.num_classes)

    def complete(
        self,
        key: Key,
        observed: Array,
        mask: Any = None,
        context: Array | None = None,
        **options: Any,
    ) -> Array:
        """Samples in which observed sites keep their values, given the context of a class.

        See `AutoregressiveModel.complete`; **options are its further arguments.
        """
        rule = "must be that of a class (`context(label)`)"
        require(context is not None, "context", rule, "none")
        return self.density.complete(key, observed, mask, context=context, **options)

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        **options: Any,
    ) -> Array:
        """Samples given the context of classes, otherwise of classes drawn uniformly.

        Args:
          **options: of the density's `sample`, such as the temperature of an autoregressive model.
        """
        if context is not None:
            return self.density.sample(key, sample_shape, context, **options)
        label_key, key = jax.random.split(key)
        label = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
        return self.density.sample(key, (), self.context(label), **options)
