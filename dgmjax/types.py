"""Type aliases of signatures."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

Array = jax.Array
ArrayLike = jax.typing.ArrayLike
"""An array as a user may give it: a JAX or NumPy array, or a number."""

Key = jax.Array
"""A typed PRNG key, as `jax.random.key` makes it."""

PyTree = Any
Activation = Callable[[Array], Array]
Batch = Mapping[str, Array]
"""A batch: arrays with one leading dimension. `x` is the data; `label`, `mask` and `log_det`
are optional. `mask[B]` is 1 for real rows and 0 for padding. `log_det[B]` is the log absolute
determinant of the transforms that made `x` from the original data, so that the density of the
original is `log_prob(x) + log_det`. In training a learner adds `step`, a scalar: what schedules
read (`objectives.schedules`)."""

Metrics = Mapping[str, Array]
Objective = Callable[..., tuple[Array, Metrics]]
"""`(model, batch, key) -> (loss[B], metrics)`: what to minimise, in nats per example, and
named quantities to look at (each `[B]` or a scalar)."""
