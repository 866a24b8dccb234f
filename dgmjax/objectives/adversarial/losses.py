"""Losses of the two players of an adversarial game."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import check_batch, implicit, makes_pairs, offers, recognises_codes
from dgmjax.errors import DataError, require
from dgmjax.objectives.adversarial.games import Game, game_of
from dgmjax.objectives.adversarial.penalties import Penalty
from dgmjax.types import Array, Batch, Key, Metrics, PyTree


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
      A critic with several values for an event (of patches) plays one game for each, and their
      mean counts; penalties take the slope of the mean value.

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
    x, samples = jax.lax.stop_gradient(compared(model, batch, key))
    look = partial(_output, model, row)
    data, of_samples = look(x), look(samples)
    loss = _of_events(row.critic(data, of_samples))
    metrics = {}
    if row.boundary is not None:
        right = (data > row.boundary) * 1.0 + (of_samples <= row.boundary) * 1.0
        metrics["accuracy"] = _of_events(0.5 * right)
    if row.head == "value":
        metrics["logit_data"] = _of_events(data)
    if not penalties:
        return loss, metrics
    value = partial(_value, look)
    if row.witness is not None:
        value = partial(_witness, row.witness, look, data, of_samples)
    terms = [
        penalty(value, x, samples, jax.random.fold_in(key, index))
        for index, penalty in enumerate(penalties, 1)
    ]
    total = sum(terms[1:], terms[0])
    return loss + total, {**metrics, "gradient_penalty": total}


def generator_loss(
    model,
    batch: Batch,
    key: Key,
    *,
    game: str | Game = "non_saturating",
    both: bool = False,
) -> tuple[Array, Metrics]:
    """What the generator minimises, on as many samples as the batch has examples.

    Args:
      both: the model also has a part in the events of the data (the code of an encoder), which are
        to look like samples: the generator's loss of the critic's values on data, mirrored about
        the game's boundary, is added. For games that do not compare both already.

    Returns:
      loss `[B]`; metric `logit_samples`, the critic's value on them, where there is one.
    """
    row = game_of(game)
    model = implicit(model, batch)
    x, samples = compared(model, batch, key)
    of_samples = _output(model, row, samples)
    loss = row.generator(_output(model, row, x) if row.reads_data else None, of_samples)
    if both and not row.reads_data:
        # Without a boundary only differences of values count, and any point mirrors them.
        mirrored = 2.0 * (row.boundary or 0.0) - _output(model, row, x)
        loss = loss + row.generator(None, mirrored)
    metrics = {"logit_samples": _of_events(of_samples)} if row.head == "value" else {}
    return _of_events(loss), metrics


def compared(model, batch: Batch, key: Key) -> tuple[PyTree, PyTree]:
    """Events of the data and of the model, of one shape, which the critic tells apart."""
    if makes_pairs(model):
        x, samples = model.pairs(batch, key)
    else:
        x = batch["x"]
        samples = model.sample(key, (len(x),))
    shapes = [jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], events) for events in (x, samples)]
    rule = f"must have the shape of the generator's samples, {shapes[1]}"
    require(shapes[0] == shapes[1], "x", rule, shapes[0], "", DataError)
    return x, samples


def _output(model, row: Game, x: PyTree) -> Array:
    """What the game reads of the critic at x."""
    looks: dict[str, Callable[[Any], Array]] = {
        "value": lambda x: model.logit(x),
        "features": lambda x: model.features(x),
        "none": lambda x: x,
    }
    return looks[row.head](x)


def _of_events(values: Array) -> Array:
    """`[B]`: the mean of an event's values, of which most critics have one."""
    return values if values.ndim == 1 else values.reshape(len(values), -1).mean(-1)


def _value(look: Callable[[Any], Array], x: PyTree) -> Array:
    return _of_events(look(x))


def _witness(
    witness: Callable, look: Callable[[Any], Array], data: Array, samples: Array, x: PyTree
) -> Array:
    return witness(look(x), data, samples)


def absolute_error(
    model, batch: Batch, key: Key, *, of: str = "translations"
) -> tuple[Array, Metrics]:
    """|made - wanted|, averaged over the entries of an image and added over images, `[B]`.

    The term that keeps translations near paired images (pix2pix), or images near themselves after a
    cycle (CycleGAN); by itself a regression.

    Args:
      of: method of the model that makes them, `(batch, key) -> (made, wanted)`, two pytrees of
        arrays `[B, ...]`: see `models.Pix2Pix` and `models.CycleGAN`.

    Sources: Isola, Zhu, Zhou & Efros, "Image-to-Image Translation with Conditional Adversarial
    Networks", 2017, Eq. 3, https://arxiv.org/abs/1611.07004; Zhu, Park, Isola & Efros, "Unpaired
    Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017, Eq. 2,
    https://arxiv.org/abs/1703.10593.
    """
    made, wanted = _made(model, batch, key, of)
    return _added(jax.tree.map(lambda a, b: _of_events(jnp.abs(a - b)), made, wanted)), {}


def squared_error(
    model, batch: Batch, key: Key, *, of: str = "reconstructed_features"
) -> tuple[Array, Metrics]:
    """1/2 |made - wanted|^2 of each example, `[B]`: -log N(wanted; made, I) up to a constant.

    Args:
      of: see `absolute_error`; `models.VAEGAN` reconstructs features of its critic.

    Source: Larsen, Sonderby, Larochelle & Winther, "Autoencoding beyond Pixels using a Learned
    Similarity Metric", 2016, Eq. 7, https://arxiv.org/abs/1512.09300.
    """
    made, wanted = _made(model, batch, key, of)
    half = lambda a, b: 0.5 * jnp.square(a - b).reshape(len(a), -1).sum(-1)
    return _added(jax.tree.map(half, made, wanted)), {}


def _made(model, batch: Batch, key: Key, of: str) -> tuple[PyTree, PyTree]:
    check_batch(batch)
    remedy = "See `models.Pix2Pix`, `models.CycleGAN` and `models.VAEGAN`."
    require(offers(model, of), "model", f"must make `{of}`", type(model).__name__, remedy)
    return getattr(model, of)(batch, key)


def _added(errors: PyTree) -> Array:
    parts: list[Array] = jax.tree.leaves(errors)
    return sum(parts[1:], parts[0])


def information(
    model, batch: Batch, key: Key, *, weights: Mapping[str, float] | None = None
) -> tuple[Array, Metrics]:
    """-log q(c | x) at samples x of codes c, in nats: I(c; x) >= H(c) - its mean.

    Added to the losses of both players it makes the codes of a generator recognisable (InfoGAN).

    Args:
      model: with `codes(key, shape)`, `generate(codes)` and `log_recognition(x, codes)`, a dict of
        terms `[B]`, see `models.InfoGAN`.
      weights: of the terms by name; 1 where none is given.

    Returns:
      loss `[B]`; metrics `nll_<code>`, each term's.

    Source: Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel, "InfoGAN", 2016, Eq. 5,
    https://arxiv.org/abs/1606.03657.
    """
    check_batch(batch)
    remedy = "Use `models.InfoGAN`."
    rule = "must have codes that it recognises"
    require(recognises_codes(model), "model", rule, type(model).__name__, remedy)
    codes = model.codes(key, (len(batch["x"]),))
    terms = model.log_recognition(model.generate(codes), codes)
    weights = weights or {}
    unknown = sorted(set(weights) - set(terms))
    require(not unknown, "weights", f"must be of {sorted(terms)}", unknown)
    loss = -sum((weights.get(name, 1.0) * term for name, term in terms.items()), jnp.zeros(()))
    return loss, {f"nll_{name}": -term for name, term in terms.items()}
