"""Players of adversarial games by name: game, penalty and optimisers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import optax

from dgmjax import data, lab, nn, objectives, training
from dgmjax.errors import require
from dgmjax.types import Objective

Game = Literal[
    "minimax",
    "non_saturating",
    "density_ratio",
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
    "f_kl_non_saturating",
    "f_pearson_chi2_non_saturating",
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
Terms = Mapping[str, tuple[Any, Objective]]
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
      generator_rate: of the generator's Adam, where it is another
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
    generator_rate: float | None = None
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

    def or_penalty(self, name: PenaltyName) -> "Play":
        """The same, where "auto" is another penalty than R1 and R2."""
        headless = objectives.game_of(self.game).head == "none"
        return self if headless or self.penalty != "auto" else replace(self, penalty=name)

    @property
    def penalty_name(self) -> PenaltyName:
        """The penalty that "auto" stands for."""
        if self.penalty != "auto":
            return self.penalty
        return "none" if objectives.game_of(self.game).head == "none" else "r1_r2"

    def require_critic(self) -> None:
        """An error where the game has no critic, for models that need what it learns."""
        has = objectives.game_of(self.game).head != "none"
        require(has, "game", "must be one with a critic", self.game)

    def packed(self, critic, size: int, event_ndims: int):
        """The critic, of packs of `size` events; see `nn.Packed`."""
        if size == 1:
            return critic
        require(size > 1, "packing", "must be at least 1", size)
        headless = objectives.game_of(self.game).head == "none"
        require(not headless, "packing", f"must be 1, since {self.game} has no critic", size)
        rule = "must be none or clip for a critic of packs, which does not see events by themselves"
        require(self.penalty_name in ("none", "clip"), "penalty", rule, self.penalty_name)
        whole = self.batch_size % size == 0
        rule = f"must be a multiple of the packing, {size}"
        require(whole, "batch_size", rule, self.batch_size)
        return nn.Packed(critic, size, event_ndims)

    def players(
        self,
        steps: int,
        *,
        generator: tuple[str, ...] = ("generator",),
        critic: tuple[str, ...] = ("critic",),
        terms: Terms | None = None,
        critic_terms: Terms | None = None,
        both: bool = False,
    ) -> dict[str, training.Player]:
        """The critic, where the game has one, and the generator.

        Args:
          generator: the groups of parameters that the generator's player moves.
          critic: those of the critic's player.
          terms: name -> weight and objective that are added to the generator's loss.
          critic_terms: the same for the critic.
          both: see `objectives.generator_loss`.
        """
        headless = objectives.game_of(self.game).head == "none"
        name = self.penalty_name
        rule = f"must be none, since {self.game} has no critic"
        require(not headless or name == "none", "penalty", rule, name)
        adam = partial(training.adam, steps=steps, schedule=self.schedule, b1=self.b1, b2=self.b2)
        loss = _with(partial(objectives.generator_loss, game=self.game, both=both), terms)
        rate = self.learning_rate if self.generator_rate is None else self.generator_rate
        generating = {"generator": training.Player(loss, adam(rate), params=generator)}
        if headless:
            return generating
        # Its schedule counts its own updates.
        optimiser = adam(self.learning_rate, steps=steps * self.critic_steps)
        if name == "clip":
            optimiser = optax.chain(optimiser, training.keep_within(self.penalty_weight))
        penalties = tuple(make(self.penalty_weight) for make in PENALTIES[name])
        loss = _with(
            partial(objectives.critic_loss, game=self.game, penalties=penalties), critic_terms
        )
        judging = training.Player(loss, optimiser, params=critic, steps=self.critic_steps)
        return {"critic": judging, **generating}


def _with(loss: Objective, terms: Terms | None) -> Objective:
    """The loss of a game and further terms."""
    return partial(objectives.weighted_sum, terms={"game": (1.0, loss), **terms}) if terms else loss


def images_of(play: Play, dataset: str = "mnist"):
    """Images, the levels of their pixels, and those of one: digits in miniature."""
    if play.tiny:
        return data.load("digits"), 17
    return data.load(dataset, data_dir=play.data_dir), 256


def image_experiment(
    play: Play, *, model: str, module, players, dataset, levels: int, steps: int, **options
) -> lab.Experiment:
    """A game of images in [-1, 1], evaluated with averaged parameters, samples drawn on the way."""
    figures = {"samples": lab.figures.samples, **options.pop("figures", {})}
    return lab.Experiment(
        model=model,
        module=module,
        players=players,
        dataset=dataset,
        steps=steps,
        batch_size=play.batch_size,
        evaluate_every=max(1, steps // 10),
        log_every=max(1, steps // 100),
        ema_decay=play.ema_decay,
        figures=figures,
        **{"transform": data.Scale(levels, low=-1.0), "previews": ("samples",), **options},
    )
