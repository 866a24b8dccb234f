"""Losses of the two players of an adversarial game."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from dgmjax.contracts import implicit
from dgmjax.errors import DataError, require
from dgmjax.objectives.adversarial.games import Game, game_of
from dgmjax.objectives.adversarial.penalties import Penalty
from dgmjax.types import Array, Batch, Key, Metrics


def critic_loss(
    model,
    batch: Batch,
    key: Key,
    *,
    game: str | Game = "non_saturating",
    penalties: Sequence[Penalty] = (),
) -> tuple[Array, Metrics]:
    """What the critic minimises: the game's loss on data and as many samples, and penalties.

    Args:
      model: see `contracts.ImplicitModel`.
      game: a name in `GAMES`, or a row.
      penalties: such as `(r1(1.0), r2(1.0))`.

    Returns:
      loss `[B]`; metrics `logit_data` (the critic's value on data), `accuracy` (of the critic on
      both halves, where the game has a boundary) and `gradient_penalty`, the sum of the penalties.

    Raises:
      DgmjaxError: the game has no critic; samples and data differ in shape; see `game_of`.
    """
    row = game_of(game)
    remedy = "Leave out the critic's player and its penalties."
    require(row.head != "none", "game", "must have a critic to train", repr(game), remedy)
    for penalty in penalties:
        rule = "must hold rows of `objectives.Penalty`, such as `r1(1.0)`"
        require(isinstance(penalty, Penalty), "penalties", rule, repr(penalty))
    model = implicit(model, batch)
    x = batch["x"]
    samples = jax.lax.stop_gradient(model.sample(key, (len(x),)))
    _check_shapes(x, samples)
    look = partial(_output, model, row)
    data, of_samples = look(x), look(samples)
    loss = row.critic(data, of_samples)
    metrics = {}
    if row.boundary is not None:
        right = (data > row.boundary) * 1.0 + (of_samples <= row.boundary) * 1.0
        metrics["accuracy"] = 0.5 * right
    if row.head == "value":
        metrics["logit_data"] = data
    if not penalties:
        return loss, metrics
    value = look if row.witness is None else partial(_witness, row.witness, look, data, of_samples)
    terms = [
        penalty(value, x, samples, jax.random.fold_in(key, index))
        for index, penalty in enumerate(penalties, 1)
    ]
    total = sum(terms[1:], terms[0])
    return loss + total, {**metrics, "gradient_penalty": total}


def generator_loss(
    model, batch: Batch, key: Key, *, game: str | Game = "non_saturating"
) -> tuple[Array, Metrics]:
    """What the generator minimises, on as many samples as the batch has examples.

    Returns:
      loss `[B]`; metric `logit_samples`, the critic's value on them, where there is one.
    """
    row = game_of(game)
    model = implicit(model, batch)
    x = batch["x"]
    samples = model.sample(key, (len(x),))
    _check_shapes(x, samples)
    of_samples = _output(model, row, samples)
    loss = row.generator(_output(model, row, x) if row.reads_data else None, of_samples)
    return loss, {"logit_samples": of_samples} if row.head == "value" else {}


def _output(model, row: Game, x: Array) -> Array:
    """What the game reads of the critic at x."""
    looks: dict[str, Callable[[Array], Array]] = {
        "value": lambda x: model.logit(x),
        "features": lambda x: model.features(x),
        "none": lambda x: x,
    }
    return looks[row.head](x)


def _witness(
    witness: Callable, look: Callable[[Array], Array], data: Array, samples: Array, x: Array
) -> Array:
    return witness(look(x), data, samples)


def _check_shapes(x: Array, samples: Array) -> None:
    rule = f"must have the shape of the generator's samples, {samples.shape[1:]}"
    require(x.shape[1:] == samples.shape[1:], "x", rule, jnp.shape(x)[1:], "", DataError)
