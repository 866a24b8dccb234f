"""Training of the experts of imitation, and recording of their demonstrations.

    python -m dgmjax.experiments.shared.experts --out experiments/shared
    python -m dgmjax.experiments.shared.experts --out experiments/shared --only mountain_car

About five minutes on a CPU; with `--only`, the demonstrations of other tasks are kept as they are.
Writes `demonstrations.npz`: for each task of classic control 15 episodes of 200 steps whose
terminal states absorb, drawn from a policy that PPO found with the true reward, the best of three
seeds. Into `demonstrations.json` go the mean returns of these policies and of random actions over
1,000 other episodes.
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


def learner_of(name: str, steps: int) -> app.PolicyLearner:
    """PPO with the true reward, shaped where the environment has a potential."""
    environment = app.fixed_horizon(app.ENVIRONMENTS[name])
    shaped = environment.potential is not None
    return app.PolicyLearner(
        app.dense_agent(environment),
        app.shaped_reward(DISCOUNTS[name]) if shaped else app.environment_reward,
        app.ppo(steps, entropy=0.001),
        discount=DISCOUNTS[name],
    )


def experts(learner: app.PolicyLearner, steps: int, seeds: int) -> Any:
    """States of the learner after its steps, for several seeds together."""
    environment = learner.module.environment
    nothing = {
        "x": jnp.zeros((1, *environment.observation_shape)),
        "action": jnp.zeros((1, *environment.action_shape)),
    }

    def trained(key):
        walk = lambda _, state: learner.step(state, nothing)[0]
        return jax.lax.fori_loop(0, steps, walk, learner.init(key, nothing))

    return jax.jit(jax.vmap(trained))(jax.random.split(jax.random.key(0), seeds))


def _returns(model, key):
    return model.returns(key, MEASURED)


def _random_returns(model, key):
    environment = model.environment
    start = app.begin(environment, key, MEASURED)
    act = app.random_actions(environment)
    return app.rollout(environment, act, start, key, environment.horizon)[1].total[-1]


def _episodes(model, key):
    return model.play(key, EPISODES)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    names = list(app.ENVIRONMENTS)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TASK")
    given = parser.parse_args()
    archive, report = given.out / "demonstrations.npz", given.out / "demonstrations.json"
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if len(set(given.only)) < len(names):
        with np.load(archive, allow_pickle=False) as kept:
            arrays = dict(kept)
        facts = json.loads(report.read_text())
    keys = jax.random.split(jax.random.key(1), 4)
    for name in given.only:
        environment = app.ENVIRONMENTS[name]
        started = time.process_time()
        learner = learner_of(name, given.steps)
        states = experts(learner, given.steps, given.seeds)
        each = [
            learner.variables(jax.tree.map(lambda leaf, seed=seed: leaf[seed], states))
            for seed in range(given.seeds)
        ]
        best = max(each, key=lambda one: float(learner.call(one, _returns, keys[0]).mean()))
        returns = learner.call(best, _returns, keys[1])
        seen = learner.call(best, _episodes, keys[2])
        action = environment.executed(seen.action)
        for field, array in (("x", seen.observation), ("action", action), ("reward", seen.reward)):
            arrays[f"{name}/{field}"] = np.asarray(array).swapaxes(0, 1)
        facts[name] = {
            "expert": float(returns.mean()),
            "expert_error": float(returns.std() / MEASURED**0.5),
            "random": float(learner.call(best, _random_returns, keys[3]).mean()),
            "demonstrated": arrays[f"{name}/reward"].sum(1).tolist(),
            "cpu_seconds": round(time.process_time() - started),
        }
        print(name, facts[name])
    np.savez_compressed(archive, **arrays)
    report.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
