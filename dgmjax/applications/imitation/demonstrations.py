"""Demonstrations: episodes of states and actions, checked against their environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dgmjax.applications.imitation.environment import Environment
from dgmjax.data.reading.files import read_npz
from dgmjax.errors import DataError, require


class Demonstrations(NamedTuple):
    """N episodes of H steps.

    Attributes:
      observation: before each step, `[N, H, *observation_shape]`.
      action: `[N, H, *action_shape]`.
      reward: `[N, H]`, which no learner reads, or None.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray | None = None

    def pairs(self, every: int = 1) -> dict[str, np.ndarray]:
        """One state and action of every so many steps, as arrays `x` and `action` of a data set.

        >>> episodes = Demonstrations(np.zeros((2, 8, 4)), np.zeros((2, 8)))
        >>> episodes.pairs(every=4)["x"].shape
        (4, 4)
        """
        horizon = self.action.shape[1]
        rule = f"must be between 1 and the horizon, {horizon}"
        require(1 <= every <= horizon, "every", rule, every)
        # From the middle of each window: neither the first nor the last state is in all of them.
        rows = slice(every // 2, None, every)
        flat = lambda a: a[:, rows].reshape(-1, *a.shape[2:])
        return {"x": flat(self.observation), "action": flat(self.action)}


def demonstrations(
    environment: Environment,
    observations: Sequence[np.ndarray],
    actions: Sequence[np.ndarray],
    rewards: Sequence[np.ndarray] | None = None,
) -> Demonstrations:
    """Episodes, each cut to the horizon of the environment, as arrays.

    Args:
      observations: of each episode `[H, ...]`, or `[H + 1, ...]` with the last state; those of an
        environment with absorbing states may lack the number that says so.
      actions: of each episode `[H, ...]`.
      rewards: of each episode `[H]`, if they were recorded.

    Raises:
      DataError: shapes or actions of another environment; episodes that end at different times.

    >>> from dgmjax.applications import ENVIRONMENTS
    >>> states, choices = [np.zeros((150, 4)), np.zeros((90, 4))], [np.zeros(150), np.zeros(90)]
    >>> demonstrations(ENVIRONMENTS["cartpole"], states, choices)
    Traceback (most recent call last):
    ...
    dgmjax.errors.DataError: `demonstrations` must be episodes of 200 steps each; got 90 to 150 \
steps. A horizon that depends on the policy leaks the reward: record them in \
`fixed_horizon(environment)`, or choose an environment with a shorter horizon.
    """
    count = len(actions)
    require(count >= 1, "demonstrations", "must hold an episode", count, "", DataError)
    same = len(observations) == count
    rule = f"must be those of {count} episodes, as the actions are"
    require(same, "observations", rule, len(observations), "", DataError)
    found = [_checked(environment, s, a) for s, a in zip(observations, actions, strict=True)]
    horizon = environment.horizon
    lengths = [len(action) for _, action in found]
    require(
        min(lengths) >= horizon,
        "demonstrations",
        f"must be episodes of {horizon} steps each",
        f"{min(lengths)} to {max(lengths)} steps",
        "A horizon that depends on the policy leaks the reward: record them in "
        "`fixed_horizon(environment)`, or choose an environment with a shorter horizon.",
        DataError,
    )
    if rewards is not None:
        rewards = [_numbers("rewards", reward) for reward in rewards]
        shapes = [reward.shape for reward in rewards]
        rule = f"must be one for each action, of shapes {[(length,) for length in lengths]}"
        require(shapes == [(n,) for n in lengths], "rewards", rule, f"{shapes}", "", DataError)
    cut = lambda arrays: np.stack([np.asarray(array)[:horizon] for array in arrays])
    reward = None if rewards is None else cut(rewards).astype(np.float32)
    return Demonstrations(cut(s for s, _ in found), cut(a for _, a in found), reward)


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    kind = f"dtype {array.dtype}"
    require(array.dtype.kind in "biuf", name, "must be numbers", kind, "", DataError)
    finite = bool(np.isfinite(array).all())
    require(finite, name, "must be finite", "NaN or infinity", "", DataError)
    return array


def _checked(
    environment: Environment, observation: np.ndarray, action: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of one episode, of the types of the environment."""
    observation, action = _numbers("observations", observation), _numbers("actions", action)
    if environment.absorbs and observation.shape[1:] == (environment.observation_shape[0] - 1,):
        # Recorded without absorbing states: it is in none of them.
        observation = np.pad(observation, ((0, 0), (0, 1)))
    remedy = f"They must have been recorded in {environment.name}."
    for name, array, shape in (
        ("observations", observation, environment.observation_shape),
        ("actions", action, environment.action_shape),
    ):
        rule = f"must be [H, {', '.join(map(str, shape))}]" if shape else "must be [H]"
        rule = f"{rule} in the environment {environment.name}"
        fits = array.ndim == 1 + len(shape) and array.shape[1:] == shape
        require(fits, name, rule, f"shape {array.shape}", remedy, DataError)
    extra = len(observation) - len(action)
    rule = f"must be {len(action)}, one for each action, or one more"
    require(extra in (0, 1), "observations", rule, len(observation), "", DataError)
    if environment.discrete:
        levels = environment.actions.num_params
        whole = bool(np.isin(action, np.arange(levels)).all())
        rule = f"must be the integers 0 .. {levels - 1} in the environment {environment.name}"
        given = f"values between {action.min()} and {action.max()}" if action.size else "none"
        require(whole, "actions", rule, given, remedy, DataError)
    kind = np.int32 if environment.discrete else np.float32
    return observation.astype(np.float32), action.astype(kind)


def load_demonstrations(path: str | Path, environment: Environment) -> Demonstrations:
    """The episodes of an `.npz` file, cut to the horizon of the environment.

    The arrays are those of the library `imitation`: `obs`, with a state more than there are actions
    in each episode, `acts`, and `indices`, the actions at which an episode begins (without the
    first); `rews` is optional.

    Raises:
      DataError: a file without these arrays, or see `demonstrations`.

    Source: Gleave et al., "imitation: Clean Imitation Learning Implementations", 2022,
    https://arxiv.org/abs/2211.11972.
    """
    arrays = read_npz(Path(path))
    wanted = {"obs", "acts", "indices"}
    rule = f"must hold the arrays {sorted(wanted)}"
    require(wanted <= set(arrays), "path", rule, sorted(arrays), "", DataError)
    starts, acts = arrays["indices"], arrays["acts"]
    total = acts.shape[0] if acts.ndim else 0
    require(total > 0, "acts", "must hold an action", f"shape {acts.shape}", "", DataError)
    whole = starts.ndim == 1 and (starts.dtype.kind in "iu" or not starts.size)
    rising = whole and bool((np.diff([0, *map(int, starts), total]) > 0).all())
    rule = f"must be increasing numbers of actions between 1 and {total - 1}"
    require(rising, "indices", rule, starts, "", DataError)
    starts = starts.astype(int)
    for name, count in (("obs", total + len(starts) + 1), ("rews", total)):
        array = arrays.get(name, acts[:count])  # rewards are optional
        given = array.shape[0] if array.ndim else "a single number"
        require(given == count, name, f"must be {count}", given, "", DataError)
    cut = lambda name, extra: np.split(
        arrays[name], [start + extra * (n + 1) for n, start in enumerate(starts)]
    )
    rewards = cut("rews", 0) if "rews" in arrays else None
    return demonstrations(environment, cut("obs", 1), cut("acts", 0), rewards)
