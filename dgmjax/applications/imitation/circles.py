"""Circles in the plane: three kinds of demonstrations that nothing in a batch tells apart."""

import math

import jax.numpy as jnp
import numpy as np

from dgmjax.applications.imitation.environment import Environment, Outcome
from dgmjax.distributions.families import Normal
from dgmjax.errors import require_sizes
from dgmjax.types import Array, Key

SPEED, HISTORY, HORIZON = 0.1, 5, 100
RADII = (1.0, -1.0, 2.0)
"""Signed radii of the three circles: positive ones are to the left of the first heading, +x."""


def _reset(key: Key, shape: tuple[int, ...]) -> Array:
    del key
    return jnp.zeros((*shape, HISTORY, 2))


def _direction(action: Array) -> Array:
    """The unit vector of an action; +x where it is too short to have a direction."""
    norm = jnp.sqrt((action**2).sum(-1, keepdims=True))
    ahead = jnp.array([1.0, 0.0], action.dtype)
    return jnp.where(norm > 1e-6, action / jnp.maximum(norm, 1e-6), ahead)


def _step(state: Array, action: Array) -> Outcome:
    position = state[..., -1, :] + SPEED * _direction(action)
    after = jnp.concatenate([state[..., 1:, :], position[..., None, :]], -2)
    nothing = jnp.zeros(position.shape[:-1])
    return Outcome(after, nothing, nothing > 0)


def _observe(state: Array) -> Array:
    """The last position, and the moves before it in units of a step, the newest first."""
    moves = jnp.flip(jnp.diff(state, axis=-2), -2) / SPEED
    seen = jnp.concatenate([state[..., -1:, :], moves], -2)
    return seen.reshape(*state.shape[:-2], 2 * HISTORY)


CIRCLES = Environment(
    "circles",
    reset=_reset,
    step=_step,
    observe=_observe,
    observation_shape=(2 * HISTORY,),
    actions=Normal(),
    horizon=HORIZON,
    action_shape=(2,),
    executed=_direction,
)
"""An agent that moves at constant speed and chooses its direction; it sees its last five positions.
There is no reward.

Source: Li, Song & Ermon, "InfoGAIL: Interpretable Imitation Learning from Visual Demonstrations",
2017, section 5.1, https://arxiv.org/abs/1703.08840. The radii of its circles are not published.
"""


def circle_positions(radius: float) -> np.ndarray:
    """Positions `[HORIZON + 1, 2]` on the circle of a signed radius, from the origin on."""
    angle = SPEED * np.arange(HORIZON + 1) / radius
    return np.stack([radius * np.sin(angle), radius * (1.0 - np.cos(angle))], -1)


def circle_demonstrations(
    each: int, seed: int = 0, noise: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations `[N, H, ...]`, actions `[N, H, 2]` and circles `[N]` of `each` per circle.

    The expert heads along the circle and back towards it where it has left it.

    Args:
      noise: standard deviation of its heading, in radians.
    """
    require_sizes(each=each)
    generator = np.random.default_rng(seed)
    radius = np.repeat(np.array(RADII), each)
    centre = np.stack([np.zeros_like(radius), radius], -1)
    state = np.zeros((len(radius), HISTORY, 2))
    seen, taken = [], []
    for _ in range(HORIZON):
        outward = state[:, -1] - centre
        distance = np.linalg.norm(outward, axis=-1)
        outward = outward / distance[:, None]
        heading = np.arctan2(outward[:, 1], outward[:, 0]) + np.sign(radius) * math.pi / 2
        # A pull of a radian for each unit that it is off, towards the circle.
        heading += np.sign(radius) * 2.0 * (distance - np.abs(radius))
        heading += noise * generator.standard_normal(len(radius))
        action = np.stack([np.cos(heading), np.sin(heading)], -1)
        seen.append(np.asarray(_observe(jnp.asarray(state, jnp.float32))))
        taken.append(action.astype(np.float32))
        after = state[:, -1] + SPEED * action
        state = np.concatenate([state[:, 1:], after[:, None]], 1)
    return np.stack(seen, 1), np.stack(taken, 1), np.repeat(np.arange(len(RADII)), each)
