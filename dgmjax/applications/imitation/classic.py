"""Four tasks of classic control, with the equations and constants of Gymnasium.

States `[..., D]` may have any floating dtype. Sources: Barto, Sutton & Anderson, "Neuronlike
Adaptive Elements That Can Solve Difficult Learning Control Problems", 1983,
https://doi.org/10.1109/TSMC.1983.6313077 (CartPole); Sutton, "Generalization in Reinforcement
Learning: Successful Examples Using Sparse Coarse Coding", 1996,
https://papers.nips.cc/paper/1109 (Acrobot, with the book's equation of motion); Moore, "Efficient
Memory-based Learning for Robot Control", 1990, https://www.cl.cam.ac.uk/techreports/UCAM-CL-TR-209
(MountainCar); Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning
Environments", 2024, https://arxiv.org/abs/2407.17032.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dgmjax.applications.imitation.environment import Environment, Outcome
from dgmjax.distributions.families import Categorical, Normal
from dgmjax.types import Array, Key


def _uniform(low: Sequence[float], high: Sequence[float]) -> Callable:
    """`reset` by independent uniform numbers."""

    def reset(key: Key, shape: tuple[int, ...]) -> Array:
        return jax.random.uniform(
            key, (*shape, len(low)), minval=jnp.array(low), maxval=jnp.array(high)
        )

    return reset


def _numbers(state: Array) -> list[Array]:
    return [state[..., index] for index in range(state.shape[-1])]


def _cartpole(state: Array, action: Array) -> Outcome:
    """Euler's method with steps of 0.02 s; forces of 10 N to the left (0) or right (1)."""
    x, velocity, angle, rate = _numbers(state)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    pole, total, half_length, tau = 0.1, 1.1, 0.5, 0.02
    force = jnp.where(action == 1, 10.0, -10.0).astype(state.dtype)
    common = (force + pole * half_length * rate**2 * sin) / total
    inertia = half_length * (4.0 / 3.0 - pole * cos**2 / total)
    angular = (9.8 * sin - cos * common) / inertia
    acceleration = common - pole * half_length * angular * cos / total
    x, angle = x + tau * velocity, angle + tau * rate
    velocity, rate = velocity + tau * acceleration, rate + tau * angular
    terminated = (jnp.abs(x) > 2.4) | (jnp.abs(angle) > 12 * 2 * math.pi / 360)
    return Outcome(jnp.stack([x, velocity, angle, rate], -1), jnp.ones_like(x), terminated)


def _acrobot_slope(state: Array, torque: Array) -> Array:
    """Time derivative of both angles and their rates."""
    first, second, rate1, rate2 = _numbers(state)
    # Links of length 1 and mass 1, with centres at 0.5 and moments of inertia 1.
    d1 = 0.25 + (1.25 + jnp.cos(second)) + 2.0
    d2 = 0.25 + 0.5 * jnp.cos(second) + 1.0
    phi2 = 0.5 * 9.8 * jnp.cos(first + second - math.pi / 2)
    sin = jnp.sin(second)
    phi1 = -0.5 * rate2**2 * sin - rate2 * rate1 * sin
    phi1 = phi1 + 1.5 * 9.8 * jnp.cos(first - math.pi / 2) + phi2
    second_rate = torque + d2 / d1 * phi1 - 0.5 * rate1**2 * sin - phi2
    second_rate = second_rate / (1.25 - d2**2 / d1)
    first_rate = -(d2 * second_rate + phi1) / d1
    return jnp.stack([rate1, rate2, first_rate, second_rate], -1)


def _wrapped(angle: Array) -> Array:
    """The angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _acrobot(state: Array, action: Array) -> Outcome:
    """One Runge-Kutta step of 0.2 s with a torque of -1, 0 or 1 at the second joint."""
    torque = action.astype(state.dtype) - 1.0
    dt = 0.2
    k1 = _acrobot_slope(state, torque)
    k2 = _acrobot_slope(state + dt / 2 * k1, torque)
    k3 = _acrobot_slope(state + dt / 2 * k2, torque)
    k4 = _acrobot_slope(state + dt * k3, torque)
    first, second, rate1, rate2 = _numbers(state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    first, second = _wrapped(first), _wrapped(second)
    rate1 = jnp.clip(rate1, -4 * math.pi, 4 * math.pi)
    rate2 = jnp.clip(rate2, -9 * math.pi, 9 * math.pi)
    terminated = -jnp.cos(first) - jnp.cos(second + first) > 1.0
    reward = jnp.where(terminated, 0.0, -1.0).astype(state.dtype)
    return Outcome(jnp.stack([first, second, rate1, rate2], -1), reward, terminated)


def _acrobot_seen(state: Array) -> Array:
    first, second, rate1, rate2 = _numbers(state)
    angles = [jnp.cos(first), jnp.sin(first), jnp.cos(second), jnp.sin(second)]
    return jnp.stack([*angles, rate1, rate2], -1)


def _mountain_car(state: Array, action: Array) -> Outcome:
    """The car is pushed to the left (0), not (1), or to the right (2); -1 until the goal."""
    position, velocity = _numbers(state)
    push = (action.astype(state.dtype) - 1.0) * 0.001
    velocity = jnp.clip(velocity + push - 0.0025 * jnp.cos(3 * position), -0.07, 0.07)
    position = jnp.clip(position + velocity, -1.2, 0.6)
    velocity = jnp.where((position <= -1.2) & (velocity < 0), 0.0, velocity)
    terminated = (position >= 0.5) & (velocity >= 0.0)
    return Outcome(jnp.stack([position, velocity], -1), -jnp.ones_like(position), terminated)


def _mountain_car_energy(state: Array) -> Array:
    """Energy, in units of a fiftieth of what leads from the valley to the goal."""
    position, velocity = _numbers(state)
    energy = 0.5 * velocity**2 + 0.0025 / 3 * jnp.sin(3 * position)
    return 50.0 * energy / (2 * 0.0025 / 3)


def _pendulum(state: Array, action: Array) -> Outcome:
    """A torque of at most 2 at the joint; the reward is minus a quadratic cost."""
    angle, rate = _numbers(state)
    torque = _torque(action)[..., 0]
    cost = _wrapped(angle) ** 2 + 0.1 * rate**2 + 0.001 * torque**2
    rate = jnp.clip(rate + (15.0 * jnp.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
    after = jnp.stack([angle + 0.05 * rate, rate], -1)
    return Outcome(after, -cost, jnp.zeros(cost.shape, bool))


def _torque(action: Array) -> Array:
    return jnp.clip(action, -2.0, 2.0)


def _pendulum_seen(state: Array) -> Array:
    angle, rate = _numbers(state)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle), rate], -1)


def _itself(state: Array) -> Array:
    return state


ENVIRONMENTS: dict[str, Environment] = {
    "cartpole": Environment(
        "cartpole",
        reset=_uniform([-0.05] * 4, [0.05] * 4),
        step=_cartpole,
        observe=_itself,
        observation_shape=(4,),
        actions=Categorical(2),
        scale=(2.4, 2.0, 0.2, 2.0),
    ),
    "acrobot": Environment(
        "acrobot",
        reset=_uniform([-0.1] * 4, [0.1] * 4),
        step=_acrobot,
        observe=_acrobot_seen,
        observation_shape=(6,),
        actions=Categorical(3),
        scale=(1.0, 1.0, 1.0, 1.0, 4.0, 8.0),
    ),
    "mountain_car": Environment(
        "mountain_car",
        reset=_uniform([-0.6, 0.0], [-0.4, 0.0]),
        step=_mountain_car,
        observe=_itself,
        observation_shape=(2,),
        actions=Categorical(3),
        scale=(0.5, 0.03),
        potential=_mountain_car_energy,
    ),
    "pendulum": Environment(
        "pendulum",
        reset=_uniform([-math.pi, -1.0], [math.pi, 1.0]),
        step=_pendulum,
        observe=_pendulum_seen,
        observation_shape=(3,),
        actions=Normal(),
        action_shape=(1,),
        unit=8.0,
        scale=(1.0, 1.0, 4.0),
        executed=_torque,
    ),
}
"""By name, as Gymnasium's CartPole-v1, Acrobot-v1, MountainCar-v0 and Pendulum-v1, each with a
horizon of 200 steps."""
