"""Baselines of score-function gradients: a running mean, a network of the input, or both."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.masks import weighted_mean
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.types import Array


class WithBaseline(Wrapper):
    """A latent-variable model that predicts its own learning signal, for `reinforce`.

    b(x) = C(x) + c, with C a network of the input and c the running mean of the remainder, signal -
    C(x); the signal is divided by max(1, sigma), sigma its running standard deviation. All of them
    are those of the steps before, so that the baseline does not depend on the sample and the
    gradient stays unbiased; `normalise` scales that of the posterior.

    The running moments are a mutable collection "state": they move in training only.

    Attributes:
      model: the latent-variable model.
      network: `x -> [..., 1]`, an `MLP(hidden, (1,), event_ndims=...)`; None for the running
        mean alone. It is trained by least squares, by the same objective and optimiser.
      decay: of the running moments, in [0, 1).
      normalise: divide by the running standard deviation where it exceeds 1.

    Source: Mnih & Gregor, "Neural Variational Inference and Learning in Belief Networks", 2014,
    section 2.3 and Algorithm 1, https://arxiv.org/abs/1402.0030.
    """

    network: nn.Module | None = None
    decay: float = 0.8
    normalise: bool = True

    def setup(self):
        require(0.0 <= self.decay < 1.0, "decay", "must be in [0, 1)", self.decay)
        # Sums of the signal, of its square and of the weights: linear, so that parts of a batch
        # may be averaged.
        self.moments = self.variable("state", "moments", jnp.zeros, (3,))

    def make_all(self) -> Any:
        """Makes every parameter, those of the baseline too."""
        made = super().make_all()
        if made is not None:
            self.baseline(made[1])
        return made

    def _mean(self) -> Array:
        total, _, weight = self.moments.value
        return total / jnp.maximum(weight, 1e-8)

    def baseline(self, x: Array) -> Array:
        """b(x), `[...]`, in the units of the signal: nats."""
        if self.network is None:
            return jnp.broadcast_to(self._mean(), x.shape[:1])
        prediction = self.network(x)
        require(
            prediction.shape == (x.shape[0], 1),
            "network",
            f"must return one number per example, {(x.shape[0], 1)}",
            f"shape {prediction.shape}",
        )
        return prediction[..., 0] + self._mean()

    def signal_scale(self) -> Array:
        """max(1, sigma), or 1."""
        if not self.normalise:
            return jnp.ones(())
        _, square, weight = self.moments.value
        # Bounded below by 1 (nats): dividing by a small deviation would blow up the noise of a
        # signal that is nearly learned.
        variance = square / jnp.maximum(weight, 1e-8) - jnp.square(self._mean())
        return jnp.sqrt(jnp.maximum(variance, 1.0))

    def observe(self, residual: Array, mask: Array | None = None) -> None:
        """Moves the moments by the batch's signal - b(x) `[..., B]`, in training.

        Args:
          mask: `[B]`, 1 for rows of data and 0 for padding, which does not count.
        """
        if self.is_initializing() or not self.is_mutable_collection("state"):
            return
        left = jax.lax.stop_gradient(residual) + self._mean()
        means = [weighted_mean(left, mask), weighted_mean(jnp.square(left), mask)]
        seen = jnp.stack([*means, jnp.ones(())])
        new = self.decay * self.moments.value + (1.0 - self.decay) * seen
        some = True if mask is None else mask.sum() > 0
        self.moments.value = jnp.where(some, new, self.moments.value)
