"""Environment steps a second without a policy: one compiled scan, and Gymnasium's loop.

    taskset -c 0 python benchmarks/environment_steps.py
    taskset -c 0 python benchmarks/environment_steps.py --environment acrobot --num 4096

Random actions; episodes that end begin anew. Times are of the CPU, so that other programs on the
machine do not count, the best of five. Gymnasium is measured where it is installed.
"""

import argparse
import importlib.util
import time

IDS = {
    "cartpole": "CartPole-v1",
    "acrobot": "Acrobot-v1",
    "mountain_car": "MountainCar-v0",
    "pendulum": "Pendulum-v1",
}


def ours(name: str, num: int, steps: int) -> float:
    """Steps a CPU second of `num` environments in one scan."""
    import jax

    from dgmjax import applications as app

    environment = app.ENVIRONMENTS[name]
    act = app.random_actions(environment)

    @jax.jit
    def walk(key):
        start = app.begin(environment, key, num)
        episodes, seen = app.rollout(environment, act, start, key, steps)
        return episodes.total.sum() + seen.reward.sum()  # nothing but the numbers leaves the scan

    walk(jax.random.key(0)).block_until_ready()
    return max(num * steps / _seconds(walk, jax.random.key(seed)) for seed in range(5))


def _seconds(walk, key) -> float:
    started = time.process_time()
    walk(key).block_until_ready()
    return time.process_time() - started


def gymnasium(name: str, steps: int) -> float:
    """Steps a CPU second of Gymnasium's own loop in Python."""
    import gymnasium as gym
    import numpy as np

    environment = gym.make(IDS[name])
    environment.reset(seed=0)
    environment.action_space.seed(0)
    actions = [environment.action_space.sample() for _ in range(1000)]
    started = time.process_time()
    for step in range(steps):
        *_, terminated, truncated, _ = environment.step(np.asarray(actions[step % 1000]))
        if terminated or truncated:
            environment.reset()
    return steps / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--environment", choices=IDS, default="cartpole")
    parser.add_argument("--num", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    if importlib.util.find_spec("dgmjax"):
        print(f"dgmjax     {ours(given.environment, given.num, given.steps):12,.0f} steps/s")
    if importlib.util.find_spec("gymnasium"):
        print(f"gymnasium  {gymnasium(given.environment, 100_000):12,.0f} steps/s")


if __name__ == "__main__":
    main()
