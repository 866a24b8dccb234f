"""Training of the experts of imitation, and recording of their demonstrations.

    python -m dgmjax.experiments.shared.experts --out experiments/shared

About two minutes on a CPU. Writes `demonstrations.npz`: for each task of classic control 15
episodes of 200 steps, drawn from a policy that PPO found with the true reward; terminal states
absorb. Into `demonstrations.json` go the mean returns of these policies over 1,000 other episodes.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import applications as app

EPISODES, MEASURED = 15, 1000
DISCOUNTS = {"cartpole": 0.99, "acrobot": 0.99, "mountain_car": 0.995, "pendulum": 0.95}


def expert(name: str, steps: int, seed: int = 0):
    """A learner and the state in which it acts as an expert."""
    environment = app.fixed_horizon(app.ENVIRONMENTS[name])
    shaped = environment.potential is not None
    discount = DISCOUNTS[name]
    learner = app.PolicyLearner(
        app.dense_agent(environment),
        app.shaped_reward(discount) if shaped else app.environment_reward,
        app.ppo(steps, entropy=0.001),
        discount=discount,
    )
    nothing = {
        "x": jnp.zeros((1, *environment.observation_shape)),
        "action": jnp.zeros((1, *environment.action_shape)),
    }
    state = jax.jit(learner.init)(jax.random.key(seed), nothing)
    walk = lambda _, state: learner.step(state, nothing)[0]
    return learner, jax.jit(lambda state: jax.lax.fori_loop(0, steps, walk, state))(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    arrays: dict[str, Any] = {}
    facts = {}
    for name, environment in app.ENVIRONMENTS.items():
        started = time.process_time()
        learner, state = expert(name, given.steps)
        seen = learner.call(learner.variables(state), lambda m, k: m.play(k, EPISODES), key(1))
        measured = learner.call(
            learner.variables(state), lambda m, k: m.returns(k, MEASURED), key(2)
        )
        action = environment.executed(seen.action)
        for field, array in (("x", seen.observation), ("action", action), ("reward", seen.reward)):
            arrays[f"{name}/{field}"] = np.asarray(array).swapaxes(0, 1)
        facts[name] = {
            "return": float(measured.mean()),
            "standard_error": float(measured.std() / MEASURED**0.5),
            "cpu_seconds": round(time.process_time() - started),
        }
        print(name, facts[name], arrays[f"{name}/reward"].sum(1).mean())
    np.savez_compressed(given.out / "demonstrations.npz", **arrays)
    (given.out / "demonstrations.json").write_text(json.dumps(facts, indent=2) + "\n")


def key(seed: int) -> Any:
    return jax.random.key(seed)


if __name__ == "__main__":
    main()
