"""Players of adversarial games by name: game, penalty and optimisers."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import optax

from dgmjax import objectives, training
from dgmjax.errors import require

Game = Literal[
    "minimax",
    "non_saturating",
    "least_squares",
    "hinge",
    "wasserstein",
    "relativistic",
    "f_kl",
    "f_reverse_kl",
    "f_jensen_shannon",
    "f_pearson_chi2",
    "f_squared_hellinger",
    "f_total_variation",
    "mmd",
    "mmd_rational_quadratic",
    "mmd_gan",
    "mmd_gan_rational_quadratic",
]
PenaltyName = Literal["auto", "none", "r1", "r2", "r1_r2", "lines", "dragan", "clip"]

PENALTIES = {
    "none": (),
    "r1": (objectives.r1,),
    "r2": (objectives.r2,),
    "r1_r2": (objectives.r1, objectives.r2),
    "lines": (objectives.on_lines,),
    "dragan": (objectives.dragan,),
    "clip": (),
}
FEATURES = 16
"""Outputs of a critic whose features a game compares."""


@dataclass(frozen=True, kw_only=True)
class Play:
    """Options of a game.

    Attributes:
      game: a name in `objectives.GAMES`
      penalty: of the critic; "lines" is that of WGAN-GP, "clip" bounds the weights, "auto" is
        "r1_r2" for games that have a critic
      penalty_weight: of the penalties; the bound of the weights for "clip"
      learning_rate: of both players' Adam
      critic_steps: updates of the critic for one of the generator
      b1: of both players' Adam
      b2: of both players' Adam
      schedule: of the learning rate
      ema_decay: decay of the averaged parameters that are evaluated; none are averaged if left out
      batch_size: examples per update
      tiny: a few steps
      data_dir: folder of data sets
    """

    game: Game = "relativistic"
    penalty: PenaltyName = "auto"
    penalty_weight: float = 1.0
    learning_rate: float = 2e-4
    critic_steps: int = 1
    b1: float = 0.0
    b2: float = 0.99
    schedule: Literal["constant", "cosine"] = "cosine"
    ema_decay: float | None = None
    batch_size: int = 100
    tiny: bool = False
    data_dir: str | None = None

    @property
    def outputs(self) -> int:
        """Of the critic."""
        return FEATURES if objectives.game_of(self.game).head == "features" else 1

    def players(self, steps: int) -> dict[str, training.Player]:
        """The critic, where the game has one, and the generator."""
        headless = objectives.game_of(self.game).head == "none"
        name = self.penalty
        if name == "auto":
            name = "none" if headless else "r1_r2"
        rule = f"must be none, since {self.game} has no critic"
        require(not headless or name == "none", "penalty", rule, name)
        adam = partial(
            training.adam, self.learning_rate, steps, schedule=self.schedule, b1=self.b1, b2=self.b2
        )
        loss = partial(objectives.generator_loss, game=self.game)
        generator = {"generator": training.Player(loss, adam(), params=("generator",))}
        if headless:
            return generator
        optimiser = adam()
        if name == "clip":
            optimiser = optax.chain(optimiser, training.keep_within(self.penalty_weight))
        penalties = tuple(make(self.penalty_weight) for make in PENALTIES[name])
        loss = partial(objectives.critic_loss, game=self.game, penalties=penalties)
        critic = training.Player(loss, optimiser, params=("critic",), steps=self.critic_steps)
        return {"critic": critic, **generator}
