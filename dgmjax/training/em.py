"""Learner for expectation maximisation in closed form."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import runs_em
from dgmjax.errors import require
from dgmjax.models.classical.base import EMModel
from dgmjax.training.averages import masked_mean
from dgmjax.training.gradients import Gradients, WholeBatch
from dgmjax.training.learner import State, call
from dgmjax.types import Array, Batch, Key, Metrics, PyTree


class EMLearner:
    """One step is an E-step and an M-step on the batch. See `em_learner`."""

    batches_per_step = 1

    def __init__(self, module: EMModel):
        rule = "must have `em_start` and `em_step` (see `models.classical.base.EMModel`)"
        require(runs_em(module), "module", rule, type(module).__name__)
        self.module = module
        self.gradients: Gradients = WholeBatch()

    def with_gradients(self, gradients: Gradients) -> "EMLearner":
        """Itself: EM takes no gradients, so other ways to take them are refused."""
        require(
            isinstance(gradients, WholeBatch),
            "gradients",
            "must be those of the whole batch, since EM takes none",
            gradients,
            "Leave out --deterministic, --accumulate, --compute-dtype and --remat.",
        )
        return self

    def init(self, key: Key, batch: Batch) -> State:
        start_key, run_key = jax.random.split(key)
        return State(
            step=jnp.zeros((), jnp.int32),
            key=jax.random.key_data(run_key),
            params=self.module.em_start(start_key, *_data(batch)),
            optimisers={},
            collections={},
            ema=None,
            skipped=jnp.zeros((), jnp.int32),
            skipped_in_row=jnp.zeros((), jnp.int32),
        )

    def step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        x, rows = _data(batch)
        params, log_prob = self.module.em_step(state.params, x, rows)
        value = masked_mean(log_prob, rows)
        # As in `GradientLearner`: a step whose numbers are not finite changes nothing and is
        # counted.
        leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((params, value))]
        finite = jnp.stack(leaves).all()
        kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), params, state.params)
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=kept,
            skipped=state.skipped + ~finite,
            skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
        )
        metrics = {"loss": -value, "log_likelihood": value}
        return new, {name: jnp.where(finite, m, 0.0) for name, m in metrics.items()}

    def bind(self, state: State):
        return self.module.bind(self.variables(state))

    def variables(self, state: State) -> dict[str, PyTree]:
        """The parameters."""
        return {"params": state.params}

    def call(self, variables: PyTree, method: Callable | str, *arguments: Any) -> Any:
        """`method` of the model, or a function of the bound model, compiled."""
        return call(self.module, method, variables, *arguments)


def em_learner(module: EMModel) -> EMLearner:
    """A learner whose step is one exact step of EM: `PPCA`, `FactorAnalysis`, `GaussianMixture`.

    With `fit(..., batch_size=N)` for N training rows each step sees all of them, and the metric
    `log_likelihood` (nats per example, under the parameters before the step) never falls. With
    smaller batches each step forgets the ones before, and EM does not converge.

    >>> from dgmjax.models import PPCA
    >>> learner = em_learner(PPCA(features=3, latent=1))
    >>> batch = {"x": jax.random.normal(jax.random.key(0), (50, 3))}
    >>> state, metrics = learner.step(learner.init(jax.random.key(1), batch), batch)
    >>> int(state.step), sorted(metrics)
    (1, ['log_likelihood', 'loss'])
    """
    return EMLearner(module)


def _data(batch: Batch) -> tuple[Array, Array]:
    """x `[B, ...]` and the weights of its rows `[B]`: those of the padding are 0."""
    x = as_float(batch["x"])
    return x, jnp.asarray(batch.get("mask", jnp.ones(x.shape[0])), x.dtype)
