"""The optimiser that most experiments use, as one constructor over optax."""

from collections.abc import Callable
from typing import Any

import optax

from dgmjax.errors import require


def adam(
    learning_rate: float,
    steps: int,
    *,
    schedule: str = "cosine",
    weight_decay: float = 0.0,
    clip: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam (AdamW where `weight_decay` > 0) with the schedules that the experiments use.

    Args:
      learning_rate: peak rate.
      steps: length of the schedule.
      schedule: "constant", "cosine" (to 0), or "burda": 10^(-i/7) times the rate in stage i of
        8, stage i lasting 3^i of 3280 parts (Burda et al. 2016, appendix C).
      clip: global norm to which gradients are clipped, or None.
    """
    rates: dict[str, Callable[[], Any]] = {
        "constant": lambda: learning_rate,
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, steps),
        "burda": lambda: _burda_schedule(learning_rate, steps),
    }
    require(schedule in rates, "schedule", f"must be one of {sorted(rates)}", repr(schedule))
    adam = optax.adamw(rates[schedule](), b1, b2, eps, weight_decay=weight_decay)
    return adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)


def _burda_schedule(learning_rate: float, steps: int):
    parts = [3**i for i in range(8)]
    ends, total = [], 0
    for part in parts[:-1]:
        total += part
        ends.append(round(steps * total / sum(parts)))
    boundaries = {end: 10 ** (-1 / 7) for end in ends}
    return optax.piecewise_constant_schedule(learning_rate, boundaries)
