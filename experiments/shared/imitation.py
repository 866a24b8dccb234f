"""Demonstrations, estimators and figures of imitation."""

import json
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import applications as app, data, evaluation, lab
from dgmjax.data.dataset import describe
from dgmjax.data.reading.files import read_npz
from dgmjax.data.reading.folders import data_dir as folder_of
from dgmjax.errors import require
from dgmjax.plotting.canvas import DATA_COLOUR, MODEL_COLOUR, new_figure, tidy

FOLDER = Path(__file__).parent
HELD_OUT = 5
"""Recorded episodes that no policy learns from."""

RETURN_EPISODES = 200
AXES = {
    "cartpole": ("angle [rad]", "angular velocity [rad/s]", lambda s: s[..., 2:4]),
    "acrobot": (
        "height of the tip",
        "angular velocity of the first link [rad/s]",
        lambda s: np.stack([_height(s), s[..., 4]], -1),
    ),
    "mountain_car": ("position", "velocity", lambda s: s[..., :2]),
    "pendulum": (
        "angle [rad]",
        "angular velocity [rad/s]",
        lambda s: np.stack([np.arctan2(s[..., 1], s[..., 0]), s[..., 2]], -1),
    ),
}
"""Two coordinates of a phase portrait: their names, and a function of observations."""


def _height(s):
    """-cos a - cos(a + b) of the angles of both links, the goal being at 1."""
    return -s[..., 0] - (s[..., 0] * s[..., 2] - s[..., 1] * s[..., 3])


@lru_cache
def returns_of(name: str) -> dict[str, float]:
    """Mean returns of the recorded expert and of random actions."""
    return json.loads((FOLDER / "demonstrations.json").read_text(encoding="utf-8"))[name]


@lru_cache
def recorded(environment: app.Environment) -> app.Demonstrations:
    """The recorded episodes of an expert."""
    arrays = read_npz(FOLDER / "demonstrations.npz")
    x, action, reward = (arrays[f"{environment.name}/{name}"] for name in ("x", "action", "reward"))
    return app.demonstrations(environment, list(x), list(action), list(reward))


@lru_cache
def wrong(environment: app.Environment, num: int) -> app.Demonstrations:
    """Episodes of an expert for nothing: the first choice, or the lowest torque, at all times."""
    kind, lowest = (jnp.int32, 0) if environment.discrete else (jnp.float32, -jnp.inf)
    always = environment.executed(jnp.full((num, *environment.action_shape), lowest, kind))
    act = lambda observation, code, key: always

    @jax.jit
    def walk(key):
        start = app.begin(environment, key, num)
        return app.rollout(environment, act, start, key, environment.horizon)[1]

    seen = walk(jax.random.key(0))
    turned = [list(np.moveaxis(np.asarray(a), 1, 0)) for a in (seen[0], seen[1], seen[2])]
    return app.demonstrations(environment, *turned)


def demonstrated(
    environment: app.Environment,
    num: int,
    *,
    bad: bool = False,
    expert_file: str | None = None,
    data_dir: str | None = None,
) -> app.Demonstrations:
    """Episodes of the recorded expert, of a file, or of a wrong expert; at least `num` and 5."""
    if bad:
        require(num >= 1, "demonstrations", "must be at least 1", num)
        rule = "must be left out where the expert is a wrong one"
        require(expert_file is None, "expert_file", rule, expert_file)
        return wrong(environment, num + HELD_OUT)
    found = recorded(environment)
    if expert_file is not None:
        path = Path(expert_file)
        path = path if path.is_file() else folder_of(data_dir) / expert_file
        found = app.load_demonstrations(path, environment)
    known = len(found.action)
    rule = f"must be between 1 and {known - HELD_OUT}: {HELD_OUT} of {known} episodes are held out"
    require(1 <= num <= known - HELD_OUT, "demonstrations", rule, num)
    return found


def dataset_of(
    name: str, found: app.Demonstrations, num: int, every: int, validation: float = 0.0
) -> data.Dataset:
    """Pairs of states and actions of the first `num` episodes, and of the last 5 as test split.

    Args:
      every: steps of an episode of which one pair is kept.
      validation: share of the training pairs that is set apart.
    """
    first, last = (
        app.Demonstrations(found.observation[rows], found.action[rows]).pairs(every)
        for rows in (slice(num), slice(-HELD_OUT, None))
    )
    splits: dict = {"train": first}
    if validation:
        splits = data.split_rows(first, {"train": 1.0 - validation, "validation": validation})
    splits["test"] = last
    facts = {"demonstrations": num, "every": every, "derived": True}
    return data.Dataset(name, splits, describe(splits, **facts))


def _play(model, key):
    return model.play(key, 8)


@lru_cache
def _returns(greedy: bool):
    return lambda model, key: model.returns(key, RETURN_EPISODES, greedy=greedy)


def returns(greedy: bool = False):
    """A measure: the mean return of 200 episodes of the policy, or of its modes."""

    def measure(trained, arrays):
        found = trained.call(_returns(greedy), jax.random.key(1))
        return evaluation.average(np.asarray(found))

    return measure


def return_estimators(name: str, published, rewards: np.ndarray | None):
    """The return of the policy, of its modes, as a share of the expert's, and of demonstrations."""
    known = returns_of(name)

    def share(trained, arrays):
        value, error, num = returns()(trained, arrays)
        between = known["expert"] - known["random"]
        return evaluation.Measurement((value - known["random"]) / between, error / between, num)

    episodes = f"{RETURN_EPISODES} episodes"
    return (
        lab.Estimator(
            "mean_return", f"{episodes} of the policy", returns(), "reward", published=published
        ),
        lab.Estimator("mean_return_greedy", f"{episodes} of its modes", returns(True), "reward"),
        lab.Estimator(
            "normalised_return", "0 for random actions, 1 for the expert's policy", share, "share"
        ),
        *([] if rewards is None else [_of_demonstrations(rewards.sum(1))]),
    )


def _of_demonstrations(returns: np.ndarray):
    measure = lambda trained, arrays: evaluation.average(returns)
    return lab.Estimator(
        "mean_return",
        "those imitated",
        measure,
        "reward",
        split="train",
        model="demonstrations",
    )


def phase_portrait(name: str, demonstrations: np.ndarray):
    """A figure: episodes of the policy over those demonstrated, in two coordinates."""
    across, up, coordinates = AXES[name]

    def figure(trained):
        own = np.asarray(trained.call(_play, jax.random.key(2)).observation)
        drawn = new_figure(5.2, 4.2, f"Episodes of {trained.experiment.model}")
        axes = drawn.add_subplot()
        learned = own.swapaxes(0, 1)
        for episodes, colour, label in (
            (learned, MODEL_COLOUR, "policy"),
            (demonstrations, "#c8102e", "demonstrations"),
        ):
            for index, episode in enumerate(episodes):
                points = coordinates(episode[episode[:, -1] == 0])
                # An angle that wraps leaves a gap.
                jumps = np.abs(np.diff(points[:, 0])) > np.pi
                points = np.insert(points, np.flatnonzero(jumps) + 1, np.nan, axis=0)
                axes.plot(
                    points[:, 0],
                    points[:, 1],
                    color=colour,
                    linewidth=0.8,
                    alpha=0.4 if colour == MODEL_COLOUR else 1.0,
                    label=label if index == 0 else None,
                )
        axes.set_xlabel(across, fontsize=9)
        axes.set_ylabel(up, fontsize=9)
        axes.legend(fontsize=8, frameon=False)
        tidy(axes)
        return drawn

    return figure


def return_curve(name: str):
    """A figure: the return over the environment's steps of training."""
    known = returns_of(name)

    def figure(trained):
        lines = trained.folder.read_metrics() if trained.folder else []
        found = [(line["step"], line["return"]) for line in lines if "return" in line]
        drawn = new_figure(5.2, 3.4, f"Return of {trained.experiment.model}")
        axes = drawn.add_subplot()
        if found:
            axes.plot(*np.array(found).T, color=MODEL_COLOUR, linewidth=1.2, label="policy")
        for label, style in (("expert", "-"), ("random", ":")):
            axes.axhline(known[label], color=DATA_COLOUR, linestyle=style, label=label)
        axes.set_xlabel("step of training", fontsize=9)
        axes.set_ylabel("return", fontsize=9)
        axes.legend(fontsize=8, frameon=False)
        tidy(axes)
        return drawn

    return figure
