"""Learners: pairs of pure functions `(init, step)` that turn objectives into train steps."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from dgmjax.errors import require
from dgmjax.masks import counting
from dgmjax.training.averages import WEIGHT, averages
from dgmjax.training.gradients import Gradients, WholeBatch
from dgmjax.training.stages import staged
from dgmjax.types import Array, Batch, Key, Metrics, Objective, PyTree


@flax.struct.dataclass
class State:
    """Everything that the next step needs, as one pytree.

    Attributes:
      step: steps taken, int32.
      key: raw data of the run's PRNG key (`jax.random.key_data`); step s uses `fold_in(key, s)`.
      params: parameters of the module.
      optimisers: optimiser state of each player.
      collections: mutable collections of the module (batch statistics, codebooks).
      ema: exponential moving average of the parameters, or None.
      skipped: non-finite steps so far, int32.
      skipped_in_row: length of the current run of skipped steps, int32.
    """

    step: Array
    key: Array
    params: PyTree
    optimisers: dict[str, PyTree]
    collections: PyTree
    ema: PyTree | None
    skipped: Array
    skipped_in_row: Array


class Learner(Protocol):
    """A pair of pure functions; `fit` compiles, shards and scans `step`. Hashable.

    Attributes:
      module: the model without parameters; `contracts.data_rules` says what data it covers.
      batches_per_step: batches that make one step; above 1, it is the leading axis of the leaves of
        `batch`.
      gradients: the strategy that takes gradients (see `training.gradients`).
    """

    module: Any
    batches_per_step: int
    gradients: Gradients

    def init(self, key: Key, batch: Batch) -> State:
        """The state before the first step; `batch` is one batch (for data-dependent layers)."""
        ...

    def step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """The state after a step, and scalar metrics: `loss`, or `<player>/loss` of several."""
        ...

    def bind(self, state: State) -> Any:
        """The model with its current (or averaged) parameters, for objectives and sampling."""
        ...

    def variables(self, state: State) -> PyTree:
        """The arrays that `bind` and `call` give to the model."""
        ...

    def call(self, variables: PyTree, method: Callable | str, *arguments: Any) -> Any:
        """`method` of the model, or a function of the bound model, compiled."""
        ...

    def with_gradients(self, gradients: Gradients) -> "Learner":
        """The same learner with another way to take gradients (see `training.gradients`)."""
        ...


@dataclass(frozen=True)
class Player:
    """One of the players of a game; a model trained by one loss is a game of one player.

    Attributes:
      objective: `(model, batch, key) -> (loss[B], metrics)`; `Stages` of several, one after the
        other.
      optimiser: an optax transformation (schedules, clipping and accumulation come from optax).
      params: names of the parameter groups that it moves, or of parts of them, such as
        `posterior/encoder`; None for all. The others are frozen.
      steps: updates it makes in one step, each on a batch of its own.
      part: name of an entry of the batch, a batch itself (with `x`, and as many rows as it likes),
        that this player reads; None for the rest of the batch, without the parts of others.
    """

    objective: Objective
    optimiser: optax.GradientTransformation
    params: tuple[str, ...] | None = None
    steps: int = 1
    part: str | None = None

    def __post_init__(self):
        require(self.steps >= 1, "steps", "must be at least 1", self.steps)


def ema_decay_at(step: Array | int, ema_decay: float) -> Array:
    """min(ema_decay, (1 + step) / (10 + step)): early averages forget their start.

    With a constant decay of 0.999 a third of the average is still the initial parameters after a
    thousand steps.

    >>> [round(float(ema_decay_at(step, 0.999)), 4) for step in (0, 90, 20_000)]
    [0.1, 0.91, 0.999]
    """
    return jnp.minimum(ema_decay, (1.0 + step) / (10.0 + step))


class GradientLearner:
    """Gradient descent of one or more players on the parameters of one module.

    A step lets the players move one after the other, each `player.steps` times. A move whose
    loss or gradient is not finite changes nothing and is counted. With `ema_decay` the parameters
    are averaged, ema <- d ema + (1 - d) params, with d of `ema_decay_at`.

    The module is a Linen one. Networks written in NNX serve as parts of it through Flax's own
    adapter, `flax.nnx.bridge.to_linen(Network, *arguments)`: their parameters are then in
    "params", and the rest of their state (batch statistics) in collections that training moves.
    """

    def __init__(
        self, module: nn.Module, players: Mapping[str, Player], ema_decay: float | None = None
    ):
        require(len(players) >= 1, "players", "must name at least one player", "none")
        require(
            ema_decay is None or 0.0 < ema_decay < 1.0, "ema_decay", "must be in (0, 1)", ema_decay
        )
        self.module, self.players, self.ema_decay = module, dict(players), ema_decay
        self.batches_per_step = max(player.steps for player in self.players.values())
        self.gradients: Gradients = WholeBatch()
        self._sharded: dict[Any, GradientLearner] = {}

    def with_gradients(self, gradients: Gradients) -> "GradientLearner":
        """The same learner with another way to take gradients, such as `Microbatches(4)`.

        Equal strategies return the same object, so that it compiles once.
        """
        if gradients not in self._sharded:
            other = GradientLearner(self.module, self.players, self.ema_decay)
            other.gradients = gradients
            self._sharded[gradients] = other
        return self._sharded[gradients]

    def init(self, key: Key, batch: Batch) -> State:
        """Parameters made by every player's objective, so that none is missing."""

        def all_objectives(model, batch, key):
            players = self.players.values()
            return [player.objective(model, self._read(batch, player), key) for player in players]

        # All objectives in one `init`: a part of the model that only one of them uses (a critic, a
        # baseline) must have its parameters, too.
        init_key, sample_key, run_key = jax.random.split(key, 3)
        variables = self.module.init(init_key, batch, sample_key, method=all_objectives)
        collections = {name: tree for name, tree in variables.items() if name != "params"}
        params = variables.get("params", {})
        for name, player in self.players.items():
            missing = [path for path in player.params or () if not _select(params, (path,))]
            require(
                not missing,
                f"players[{name!r}].params",
                f"must be among the module's parameter groups {sorted(params)}",
                sorted(missing),
                "A path such as `posterior/encoder` names a part of a group.",
            )
        return State(
            step=jnp.zeros((), jnp.int32),
            key=jax.random.key_data(run_key),
            params=params,
            optimisers={
                name: player.optimiser.init(_select(params, player.params))
                for name, player in self.players.items()
            },
            collections=collections,
            ema=jax.tree.map(jnp.copy, params) if self.ema_decay else None,
            skipped=jnp.zeros((), jnp.int32),
            skipped_in_row=jnp.zeros((), jnp.int32),
        )

    def step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        # Random numbers are a function of the run's key and the step, so that a resumed run draws
        # those of an uninterrupted one.
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        metrics: dict[str, Array] = {}
        finite = jnp.array(True)
        for index, (name, player) in enumerate(self.players.items()):
            state, player_metrics, ok = self._moves(
                state, batch, jax.random.fold_in(key, index), name, player
            )
            prefix = f"{name}/" if len(self.players) > 1 else ""
            metrics |= {prefix + metric: value for metric, value in player_metrics.items()}
            # One player's failed move makes the step a skipped one, whose metrics do not count.
            finite &= ok
        ema = state.ema
        if self.ema_decay is not None:
            # Also after a skipped step, whose parameters are the old ones: the average moves
            # towards them.
            decay = ema_decay_at(state.step, self.ema_decay)
            ema = optax.incremental_update(state.params, ema, 1.0 - decay)
        return dataclasses.replace(
            state,
            step=state.step + 1,
            ema=ema,
            skipped=state.skipped + ~finite,
            skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
        ), {name: jnp.where(finite, value, 0.0) for name, value in metrics.items()}

    def _moves(self, state: State, batch: Batch, key: Key, name: str, player: Player):
        """All moves of one player; metrics are those of the last."""
        if self.batches_per_step == 1:
            return self._move(state, batch, key, name, player)
        batches = jax.tree.map(lambda a: a[: player.steps], batch)
        if player.steps == 1:
            return self._move(state, jax.tree.map(lambda a: a[0], batches), key, name, player)

        def body(state, inputs):
            index, batch = inputs
            move_key = jax.random.fold_in(key, index)
            state, metrics, ok = self._move(state, batch, move_key, name, player)
            return state, (metrics, ok)

        state, (metrics, ok) = jax.lax.scan(body, state, (jnp.arange(player.steps), batches))
        return state, jax.tree.map(lambda m: m[-1], metrics), ok.all()

    def _read(self, batch: Batch, player: Player) -> Batch:
        """What a player reads: its part of a batch, or the rest."""
        if player.part is not None:
            known = sorted(batch)
            require(player.part in batch, "part", f"must be in the batch {known}", player.part)
            return cast(Batch, batch[player.part])
        parts = {other.part for other in self.players.values()}
        return {name: value for name, value in batch.items() if name not in parts}

    def _move(self, state: State, batch: Batch, key: Key, name: str, player: Player):
        batch = self._read(batch, player)
        params = _select(state.params, player.params)

        fixed = (state.params, state.collections, state.step)

        def evaluate(objective, weighted):
            def loss_fn(params, fixed, batch, key):
                others, collections, step = fixed
                with counting(batch.get("mask")):
                    result, moved = self.module.apply(
                        {"params": _merged(others, params), **collections},
                        {**batch, "step": step},
                        key,
                        method=objective,
                        mutable=list(collections),
                        rngs={"dropout": jax.random.fold_in(key, 0)},
                    )
                loss, metrics = averages(result, batch, name, weighted)
                return loss, (metrics, moved)

            return self.gradients(loss_fn, params, fixed, batch, key)

        value, grads = staged(player.objective, state.step, evaluate)
        loss, (metrics, collections) = value
        # A batch of nothing but padding moves no running statistics, codebooks or chains.
        seen = metrics.get(WEIGHT, 1.0) > 0
        metrics = {name: value for name, value in metrics.items() if name != WEIGHT}
        # The norm is finite only if every entry of the gradient is: one number to look at.
        norm = optax.tree.norm(grads)
        ok = jnp.isfinite(loss) & jnp.isfinite(norm)

        def moved(grads, params, moments):
            updates, moments = player.optimiser.update(grads, moments, params)
            return optax.apply_updates(params, updates), moments

        def kept(grads, params, moments):
            return params, moments

        # A `where` over the state would copy parameters and moments in every step.
        params, moments = jax.lax.cond(ok, moved, kept, grads, params, state.optimisers[name])
        new = dataclasses.replace(
            state,
            params=_merged(state.params, params),
            optimisers={**state.optimisers, name: moments},
            collections=_where(ok & seen, {**state.collections, **collections}, state.collections),
        )
        return new, {"loss": loss, **metrics, "gradient_norm": norm}, ok

    def bind(self, state: State) -> Any:
        return self.module.bind(self.variables(state))

    def variables(self, state: State) -> dict[str, PyTree]:
        """Parameters, averaged where an average is kept, and collections."""
        params = state.params if state.ema is None else state.ema
        return {"params": params, **state.collections}

    def call(self, variables: PyTree, method: Callable | str, *arguments: Any) -> Any:
        return call(self.module, method, variables, *arguments)


@partial(jax.jit, static_argnums=(0, 1))
def call(module: nn.Module, method: Callable | str, variables: PyTree, *arguments: Any) -> Any:
    """`method(*arguments)` of the bound module; equal modules and methods compile once."""
    return module.apply(variables, *arguments, method=method)


def abstractly(module: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(model, *arguments)` with shapes in place of numbers (`jax.eval_shape`).

    Nothing is computed and no parameters are needed. Arrays inside of the result, a distribution or
    any other object, are tracers with a shape and a dtype.

    >>> from dgmjax import models
    >>> vae = models.DenseVAE((4,), latent=2, hidden=(8,))
    >>> abstractly(vae, lambda model, x: model.posterior(x).batch_shape, jnp.zeros((3, 4)))
    (3,)
    """
    found = []

    def look(model, *arguments):
        found.append(function(model, *arguments))

    jax.eval_shape(partial(module.init, method=look), jax.random.key(0), *arguments)
    return found[0]


def gradient_learner(
    module: nn.Module, players: Mapping[str, Player], *, ema_decay: float | None = None
) -> GradientLearner:
    """The usual learner: players, each with an objective and an optimiser, on one module.

    >>> import optax
    >>> from dgmjax import models, objectives
    >>> vae = models.DenseVAE((4,), latent=2, hidden=(8,))
    >>> learner = gradient_learner(vae, {"model": Player(objectives.elbo, optax.adam(1e-3))})
    >>> state = learner.init(jax.random.key(0), {"x": jnp.zeros((3, 4))})
    >>> state, metrics = learner.step(state, {"x": jnp.zeros((3, 4))})
    >>> int(state.step), sorted(metrics)
    (1, ['elbo', 'gradient_norm', 'kl', 'log_likelihood', 'loss'])
    """
    return GradientLearner(module, players, ema_decay)


def _where(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, dict(old))


def _select(params: Mapping[str, PyTree], names: Sequence[str] | None) -> dict[str, PyTree]:
    """The parts of the parameters at these paths, in dicts as deep as the whole."""
    if names is None:
        return dict(params)
    paths = [tuple(name.split("/")) for name in names]
    flat = flatten_dict(params).items()
    kept = {key: leaf for key, leaf in flat if any(key[: len(path)] == path for path in paths)}
    return unflatten_dict(kept)


def _merged(params: Mapping[str, PyTree], part: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """The parameters with a part of them, as `_select` takes it, replaced."""
    return {
        name: _merged(old, part[name])
        if isinstance(old, Mapping) and isinstance(part.get(name), Mapping)
        else part.get(name, old)
        for name, old in params.items()
    }
