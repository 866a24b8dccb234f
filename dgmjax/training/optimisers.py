"""Optimisers of the experiments, as constructors over optax."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgmjax.errors import require, require_sizes


def adam(
    learning_rate: float,
    steps: int,
    *,
    schedule: str = "cosine",
    weight_decay: float = 0.0,
    decayed: tuple[str, ...] | None = None,
    clip: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam (AdamW where `weight_decay` > 0) with the schedules that the experiments use.

    Args:
      learning_rate: peak rate, positive.
      steps: length of the schedule in updates, at least 1; of a player that makes several in a step
        of training, as many times more.
      schedule: "constant"; "cosine", to 0; "flat_cosine", constant for 70% of the steps and then
        to 0, for averaged parameters, which profit from a high rate for long; or "burda": 10^(-i/7)
        times the rate in stage i of 8, stage i lasting 3^i of 3280 parts (Burda et al., 2016,
        appendix C, https://arxiv.org/abs/1509.00519).
      decayed: names of the parameter groups whose weights decay; None for all.
      clip: global norm to which gradients are clipped, or None.
    """
    rate = _rate(learning_rate, steps, schedule)
    _require_not_negative(weight_decay=weight_decay, eps=eps, clip=0.0 if clip is None else clip)

    def groups(params: Any) -> Any:
        unknown = sorted(set(decayed or ()) - set(params))
        require(not unknown, "decayed", f"must be groups among {sorted(params)}", unknown)
        return {name: name in (decayed or ()) for name in params}

    mask = None if decayed is None else groups
    adam = optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=mask)
    return adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)


def sgd(
    learning_rate: float,
    steps: int,
    *,
    schedule: str = "cosine",
    momentum: float = 0.9,
    l1: float = 0.0,
    l2: float = 0.0,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum on loss + l1 |params|_1 + l2 / 2 |params|^2.

    Args:
      learning_rate, steps, schedule: see `adam`.
      l1, l2: weights of the penalties; that of the first norm makes parameters sparse.
    """

    def penalised(gradient: jax.Array, param: jax.Array) -> jax.Array:
        return gradient + l1 * jnp.sign(param) + l2 * param

    rate = _rate(learning_rate, steps, schedule)
    _require_not_negative(momentum=momentum, l1=l1, l2=l2)
    penalty = optax.stateless_with_tree_map(penalised)
    return (
        optax.chain(penalty, optax.sgd(rate, momentum)) if l1 or l2 else optax.sgd(rate, momentum)
    )


def robbins_monro(delay: float = 10.0, forgetting: float = 0.7) -> optax.GradientTransformation:
    """Gradient descent with the rate (t + delay)^-forgetting in step t.

    Args:
      delay: at least 1; a larger one makes early steps smaller.
      forgetting: in (0.5, 1], so that steps converge.

    Source: Robbins & Monro, "A Stochastic Approximation Method", 1951,
    https://doi.org/10.1214/aoms/1177729586.
    """
    require(delay >= 1.0, "delay", "must be at least 1", delay)
    require(0.5 < forgetting <= 1.0, "forgetting", "must be in (0.5, 1]", forgetting)
    return optax.sgd(lambda step: (step + delay) ** -forgetting)


def keep_within(bound: float) -> optax.GradientTransformation:
    """Updates after which every parameter is in [-bound, bound]; the last part of a chain.

    `optax.chain(optax.rmsprop(5e-5), keep_within(0.01))` clips the weights of a critic.

    Source: Arjovsky, Chintala & Bottou, "Wasserstein GAN", 2017, algorithm 1,
    https://arxiv.org/abs/1701.07875.
    """
    require(0.0 < bound < math.inf, "bound", "must be a positive number", bound)

    def projected(updates: Any, params: Any) -> Any:
        require(params is not None, "params", "must be given to `update`", "none")
        box = partial(optax.projections.projection_box, lower=-bound, upper=bound)

        def inside(step: jax.Array, old: jax.Array) -> jax.Array:
            step = box(old + step) - old
            # The sum with the old parameter may round to the number beyond the bound.
            beyond = jnp.abs(old + step) > bound
            least = bound * jnp.finfo(old.dtype).eps
            return jnp.where(beyond, step - jnp.sign(old + step) * least, step)

        return jax.tree.map(inside, updates, params)

    return optax.stateless(projected)


def _require_not_negative(**numbers: float) -> None:
    for name, number in numbers.items():
        require(0.0 <= number < math.inf, name, "must be a number of at least 0", number)


def _rate(learning_rate: float, steps: int, schedule: str) -> Any:
    sound = 0.0 < learning_rate < math.inf
    require(sound, "learning_rate", "must be a positive number", learning_rate)
    require_sizes(steps=steps)
    rates: dict[str, Callable[[], Any]] = {
        "constant": lambda: learning_rate,
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, steps),
        "flat_cosine": lambda: _flat_cosine_schedule(learning_rate, steps),
        "burda": lambda: _burda_schedule(learning_rate, steps),
    }
    require(schedule in rates, "schedule", f"must be one of {sorted(rates)}", repr(schedule))
    return rates[schedule]()


def _flat_cosine_schedule(learning_rate: float, steps: int):
    flat = round(0.7 * steps)
    parts = [
        optax.constant_schedule(learning_rate),
        optax.cosine_decay_schedule(learning_rate, max(1, steps - flat)),
    ]
    return optax.join_schedules(parts, [flat])


def _burda_schedule(learning_rate: float, steps: int):
    parts = [3**i for i in range(8)]
    boundaries: dict[int, float] = {}
    for total in itertools.accumulate(parts[:-1]):
        # In short runs several stages end at one step.
        end = round(steps * total / sum(parts))
        boundaries[end] = boundaries.get(end, 1.0) * 10 ** (-1 / 7)
    return optax.piecewise_constant_schedule(learning_rate, boundaries)
