"""Sequences drawn step by step from a recurrent state: p(z) = prod_t p(z_t | z_<t)."""

from typing import Any, Protocol

import distrax
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.carry import scan
from dgmjax.distributions.base import Distribution
from dgmjax.errors import require
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key, PyTree


class Steps(Protocol):
    """The functions of a step, as a pytree (`nn.steps.bind_steps` makes one of a Flax module).

    `inputs` are given sequences, each leaf `[T, *batch, ...]` (or None); a step sees its own.
    """

    inputs: PyTree

    def init_carry(self, batch_shape: tuple[int, ...]) -> PyTree:
        """The state before the first step."""

    def emit(self, carry: PyTree, inputs: PyTree) -> tuple[PyTree, Array]:
        """The parameters of p(z_t | z_<t), `[*batch_shape, *site, num_params]`."""

    def absorb(self, carry: PyTree, inputs: PyTree, value: Array) -> PyTree:
        """The state after z_t `[*batch_shape, *site]` is known."""


class Sequential(Distribution):
    """log p(z) = sum_t log family(emit(h_t)).log_prob(z_t), h_{t+1} = absorb(h_t, z_t).

    Unlike `Autoregressive`, whose network also has a parallel pass over all sites, a step here
    depends on a state that only the steps before can give. Sampling is one scan, and so is
    `log_prob`. Events are `[T, *site]`.

    Args:
      steps: see `Steps`.
      family: of one number; its parameters are the last axis of the result of `emit`.
      event_shape: `(T, *site)`.
      batch_shape: of the condition of the steps.

    >>> class RandomWalk:
    ...     inputs = None
    ...     def init_carry(self, batch_shape): return jnp.zeros((*batch_shape, 1))
    ...     def emit(self, carry, inputs): return carry, jnp.stack([carry, 0 * carry], -1)
    ...     def absorb(self, carry, inputs, value): return value
    >>> from dgmjax.distributions import families
    >>> walk = Sequential(RandomWalk(), families.Normal(), (3, 1))
    >>> walk.sample(seed=0, sample_shape=(5,)).shape
    (5, 3, 1)
    >>> round(float(walk.log_prob(jnp.ones((3, 1)))), 3)
    -3.257
    """

    def __init__(
        self,
        steps: Any,
        family: Any,
        event_shape: tuple[int, ...],
        batch_shape: tuple[int, ...] = (),
    ):
        super().__init__()
        sound = len(event_shape) >= 1 and event_shape[0] >= 1
        require(sound, "event_shape", "must be (T, *site) with T >= 1", event_shape)
        lengths = {leaf.shape[0] for leaf in jax.tree.leaves(steps.inputs)}
        require(
            lengths <= {event_shape[0]},
            "steps.inputs",
            f"must have {event_shape[0]} steps along their first axis",
            sorted(lengths),
        )
        self.steps, self.family = steps, family
        self._event_shape, self._batch_shape = tuple(event_shape), tuple(batch_shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self._batch_shape

    def _conditional(self, params: Array) -> distrax.Distribution:
        return distrax.Independent(self.family(as_float(params)), len(self._event_shape) - 1)

    def draw_steps(
        self, key: Key, sample_shape: tuple[int, ...]
    ) -> tuple[Array, Array, distrax.Distribution]:
        """Paths, their log-probabilities, and `conditionals(paths)`, all in one scan."""
        batch = (*sample_shape, *self._batch_shape)

        def body(carry: PyTree, inputs: PyTree):
            index, inputs = inputs
            carry, params = self.steps.emit(carry, inputs)
            conditional = self._conditional(params)
            # By step: a longer sequence begins with the numbers of a shorter one.
            noise = jax.random.fold_in(key, index)
            # Drawn and scored in one pass over the steps; by itself `log_prob` would have to repeat
            # it.
            value, log_prob = conditional.sample_and_log_prob(seed=noise)
            return self.steps.absorb(carry, inputs, value), (value, log_prob, params)

        start = self.steps.init_carry(batch)
        scanned = (jnp.arange(self._event_shape[0]), self.steps.inputs)
        _, (values, log_probs, params) = scan(body, start, scanned)
        values, params = (jnp.moveaxis(a, 0, len(batch)) for a in (values, params))
        return values, log_probs.sum(0), self._conditional(params)

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        return self.draw_steps(key, sample_shape)[:2]

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self.draw_steps(key, sample_shape)[0]

    def params(self, value: Array) -> Array:
        """Parameters of every step along a path, `[..., T, *site, num_params]`."""
        batch = require_event(value, self._event_shape, "value")
        batch = jnp.broadcast_shapes(batch, self._batch_shape)
        value = jnp.broadcast_to(value, (*batch, *self._event_shape))

        def body(carry: PyTree, inputs: PyTree):
            value, inputs = inputs
            carry, params = self.steps.emit(carry, inputs)
            return self.steps.absorb(carry, inputs, value), params

        scanned = (jnp.moveaxis(value, len(batch), 0), self.steps.inputs)
        _, params = scan(body, self.steps.init_carry(batch), scanned)
        return jnp.moveaxis(params, 0, len(batch))

    def conditionals(self, value: Array) -> distrax.Distribution:
        """p(z_t | z_<t) of every step along a path: batch shape `[..., T]`."""
        return self._conditional(self.params(value))

    def log_prob(self, value: Array) -> Array:
        return self.conditionals(value).log_prob(value).sum(-1)

    def kl_along(
        self,
        other: distrax.Distribution,
        value: Array,
        conditionals: distrax.Distribution | None = None,
    ) -> Array:
        """sum_t KL(q(z_t | z_<t) || p(z_t | z_<t)) along paths `value[..., T, *site]`, in nats.

        Its mean over paths drawn from q is KL(q || p), by the chain rule, with less noise than
        log q(z) - log p(z).

        Args:
          conditionals: `self.conditionals(value)`, where `draw_steps` has given them already.

        Raises:
          NotImplementedError: no closed form, or `other` is not a distribution of steps.
        """
        own = self.conditionals(value) if conditionals is None else conditionals
        return own.kl_divergence(_conditionals(other, value)).sum(-1)


def _conditionals(distribution: distrax.Distribution, value: Array) -> distrax.Distribution:
    """The distribution of every step along a path, batch shape `[..., T]`."""
    if isinstance(distribution, Sequential):
        return distribution.conditionals(value)
    if isinstance(distribution, distrax.Independent):
        return distrax.Independent(distribution.distribution, len(distribution.event_shape) - 1)
    raise NotImplementedError(f"{distribution.name} is not a distribution of steps.")
