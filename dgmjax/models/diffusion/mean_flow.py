"""Average velocities: a network that follows the straight process over a whole interval."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.base import check_temperature
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.noising.gaussian import GaussianProcess, aligned, straight
from dgmjax.types import Array, Key


class MeanFlow(nn.Module):
    """x_r = x_t - (t - r) u(x_t, r, t): samples in one network call, or in `num_steps` of them.

    u is the average over [r, t] of the velocity of the straight process, from noise (t = 1) to data
    (r = 0). Trained by `objectives.mean_flow`, from data or from a denoiser as teacher. The network
    reads the length t - r as one more channel of x, whose output is left out.

    Attributes:
      event_shape: of x.
      network: `network(x, t, context=None)` -> array of the shape of x, as of `models.Denoiser`.
      num_classes: classes of the context; 0 for none.
      num_steps: network calls of a sample.

    Source: Geng, Deng, Bai, Kolter & He, "Mean Flows for One-step Generative Modeling", 2025,
    section 4, https://arxiv.org/abs/2505.13447.
    """

    event_shape: tuple[int, ...]
    network: nn.Module
    num_classes: int = 0
    num_steps: int = 1
    path: ClassVar[GaussianProcess] = straight()

    def setup(self):
        as_sizes("event_shape", self.event_shape)
        require_sizes(num_steps=self.num_steps)

    def data_rules(self, batch: Any) -> dict[str, Any]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        of_label = {"label": range(self.num_classes)} if self.num_classes else {}
        return {"x": "real", **of_label}

    def average_velocity(self, x: Array, r: Array, t: Array, context: Array | None = None) -> Array:
        """u at `x[*batch, *event]` from time r to t, `[*batch]` each."""
        length = jnp.broadcast_to(aligned(t - r, x), (*x.shape[:-1], 1)).astype(x.dtype)
        given = () if context is None else (context,)
        found = self.network(jnp.concatenate([x, length], -1), t, *given)
        shape = (*x.shape[:-1], x.shape[-1] + 1)
        rule = f"must return the shape {shape} of what it is given, the length's channel among it"
        require(found.shape == shape, "network", rule, found.shape)
        return as_float(found)[..., : x.shape[-1]].astype(x.dtype)

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        temperature: Array | float = 1.0,
        num_steps: int | None = None,
    ) -> Array:
        """Samples `[*sample_shape, *batch, *event]`; the batch is that of the classes.

        A model of classes draws them uniformly where none are given. `num_steps` is the model's if
        None.
        """
        num = self.num_steps if num_steps is None else num_steps
        require_sizes(num_steps=num)
        check_temperature(temperature, zero=True)
        label_key, key = jax.random.split(key)
        if context is None and self.num_classes:
            context = jax.random.randint(label_key, sample_shape, 0, self.num_classes)
            sample_shape = ()
        batch = sample_shape + (() if context is None else jnp.shape(context))
        x = temperature * jax.random.normal(key, (*batch, *self.event_shape))
        for step in range(num, 0, -1):
            t, r = (jnp.full(batch, n / num) for n in (step, step - 1))
            x = x - aligned(t - r, x) * self.average_velocity(x, r, t, context)
        return x
