"""Pendulum swung up from pixels by a controller that has only ever dreamt (Ha & Schmidhuber 2018).

    dgmjax train world_model_pendulum

A world model learns from random torques: a VAE of pictures, and a recurrent mixture density network
over its codes, which also predicts the reward. Linear controllers of code and memory then evolve in
the model's dream, and for comparison in reality; all are measured in reality. Some ten minutes on
two CPU cores. No number of the source is comparable (other tasks); random torques return about
-1265 in 200 steps, and -150 to -300 is a pendulum that is swung up and held. The dream has to be
good: with codes of 8 dimensions and a third of the training, the controller that evolved in it
returned -1433 in reality.
Source: Ha & Schmidhuber, "Recurrent World Models Facilitate Policy Evolution", 2018,
https://arxiv.org/abs/1809.01999.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import data, evaluation, lab, models
from dgmjax.applications import (
    ENVIRONMENTS,
    Task,
    WorldModel,
    dreamt,
    evolve,
    held_actions,
    lived,
    num_parameters,
    pendulum_frames,
    world_model_loss,
)
from dgmjax.data.dataset import describe
from dgmjax.distributions import families
from dgmjax.errors import require, require_sizes
from dgmjax.plotting import image_grid

from ..shared import common
from ..shared.options import Epochs

PENDULUM, LIMIT, LEVELS = ENVIRONMENTS["pendulum"], 2.0, 256
World = Literal["dream", "reality"]
EPISODES = 100
"""In reality, of each measurement."""


class Training(NamedTuple):
    """How a controller evolves.

    Attributes:
      task: in reality, with its horizon.
      generations: of the strategy.
      pairs: half of its members.
      episodes: of each member in a generation.
      temperature: of the dream.
    """

    task: Task
    generations: int
    pairs: int
    episodes: int
    temperature: float


def world_model_pendulum(
    *,
    size: int = 16,
    episodes: int = 2000,
    length: int = 100,
    latent: int = 3,
    hidden: tuple[int, ...] = (128,),
    features: int = 64,
    components: int = 5,
    generations: int = 300,
    pairs: int = 32,
    temperature: float = 1.0,
    shared: Epochs = Epochs(learning_rate=3e-3, epochs=80, batch_size=20, ema_decay=0.999),
) -> lab.Experiment:
    """A world model, and controllers that evolve in its dream.

    Args:
      size: of the pictures.
      episodes: of random torques.
      length: steps of each.
      latent: dimensions of a picture's code.
      hidden: units of the hidden layers of encoder and decoder.
      features: units of the memory.
      components: normals in the mixture of each dimension of the next code.
      generations: of the evolution strategy.
      pairs: half of its members.
      temperature: of the dream; above 1 the dream is less certain, and harder to exploit.
    """
    require_sizes(episodes=episodes, generations=generations, pairs=pairs)
    require_sizes(latent=latent, features=features, components=components)
    require(length >= 2, "length", "must be at least 2", length)
    require(temperature > 0, "temperature", "must be positive", temperature)
    horizon, members = PENDULUM.horizon, 16
    if shared.tiny:
        episodes, length, latent, hidden, features, components = 40, 6, 2, (8,), 4, 2
        size, generations, pairs, horizon, members = 8, 2, 2, 5, 2
        shared = replace(shared, epochs=1, batch_size=10)
    dataset = random_episodes(episodes, length, size)
    task = Task(PENDULUM, partial(pendulum_frames, size=size), LIMIT, horizon)
    training = Training(task, generations, pairs, members, temperature)
    observation = families.DiscretisedLogisticMixture(1, LEVELS)
    shape = (size, size, 1)
    vae = models.DenseVAE(shape, latent, hidden, activation=nn.relu, observation=observation)
    return common.experiment(
        shared,
        model=f"world model {latent}-{features}, {components} components",
        module=WorldModel(vae, latent, 1, features, components, length),
        loss=world_model_loss,
        adam={"clip": 1000.0},
        dataset=dataset,
        validation=world_model_loss,
        evaluation_batch_size=100,
        estimators=(
            *(
                _return(training, world, f"controller that evolved in {world}")
                for world in ("dream", "reality")
            ),
            _return(training, None, "random torques (baseline)"),
            lab.Estimator(
                "return_in_dream",
                f"what the dream promises, {EPISODES} new dreams",
                partial(promised, training),
                "reward",
                model="controller that evolved in dream",
            ),
            *(
                lab.Estimator(
                    f"{name}_nats", "per step", lab.averaged(world_model_loss, 100, metric=name)
                )
                for name in ("pictures", "codes", "rewards")
            ),
        ),
        figures={"dream": partial(dream, task), "generations": partial(history, training)},
    )


@lru_cache(2)
def random_episodes(episodes: int, length: int, size: int) -> data.Dataset:
    """Pictures, torques in [-1, 1] and rewards in their unit; a tenth each for the other splits."""
    reset_key, action_key = jax.random.split(jax.random.key(20160101))
    shape = (episodes, length, 1)
    actions = held_actions(action_key, shape, LIMIT)

    def body(state, action):
        outcome = PENDULUM.step(state, action)
        return outcome.state, (pendulum_frames(state, size), outcome.reward / PENDULUM.unit)

    state = PENDULUM.reset(reset_key, (episodes,))
    _, (frames, rewards) = jax.jit(partial(jax.lax.scan, body))(state, actions.swapaxes(0, 1))
    arrays = {
        "x": np.asarray(frames.swapaxes(0, 1)),
        "action": np.asarray(actions / LIMIT),
        "reward": np.asarray(rewards.swapaxes(0, 1)),
    }
    tenth = episodes // 10
    rows = {
        "train": slice(2 * tenth, None),
        "validation": slice(tenth, 2 * tenth),
        "test": slice(tenth),
    }
    splits = {split: {name: array[rows[split]] for name, array in arrays.items()} for split in rows}
    info = describe(splits, source="rendered by dgmjax", splits="independent episodes")
    return data.Dataset("pendulum pixels", splits, info)


@lru_cache(8)
def evolved(training: Training, world: World, trained):
    """Parameters of a controller and the mean return of each generation, from seed 0."""
    start = _codes(trained, training.episodes, training.task, jax.random.key(1))
    found = trained.call(_evolution(training, world), start, jax.random.key(0))
    return np.asarray(found.params), np.asarray(found.fitness) * PENDULUM.unit


def _codes(trained, num: int, task: Task, key):
    """Codes of the first pictures of episodes, from which dreams begin."""
    state = task.environment.reset(key, (num,))
    return trained.call("encode", task.frames(state))


@lru_cache
def _evolution(training: Training, world: World):
    """The same function for the same training, so that it compiles once."""

    def run(model, start, key):
        def fitness(params, key):
            if world == "dream":
                return dreamt(model, training.task, params, start, key, training.temperature)
            return lived(model, training.task, params, key, training.episodes).mean(1)

        begin = jnp.zeros(num_parameters(model))
        options = {"generations": training.generations, "pairs": training.pairs}
        return evolve(fitness, begin, key, **options)

    return run


@lru_cache
def _life(task: Task):
    """The same function for the same task."""
    return lambda model, params, key: lived(model, task, params[None], key, EPISODES)[0]


def _return(training: Training, world: World | None, name: str):
    """Returns in reality, in Gymnasium's unit."""

    def measure(trained, arrays):
        if world is None:
            found = random_returns(training.task)
        else:
            params, _ = evolved(training, world, trained)
            key = jax.random.key(2)
            found = trained.call(_life(training.task), params, key) * PENDULUM.unit
        return evaluation.average(np.asarray(found))

    how = f"in reality, {EPISODES} episodes of {training.task.horizon} steps"
    return lab.Estimator("return", how, measure, "reward", model=name)


def random_returns(task: Task):
    """Of torques as in the training data."""
    actions = held_actions(jax.random.key(3), (EPISODES, task.horizon, 1), LIMIT)
    state = PENDULUM.reset(jax.random.key(2), (EPISODES,))

    def body(state, action):
        outcome = PENDULUM.step(state, action)
        return outcome.state, outcome.reward

    return jax.lax.scan(body, state, actions.swapaxes(0, 1))[1].sum(0)


@lru_cache
def _promise(training: Training):
    task, temperature = training.task, training.temperature
    return lambda model, params, start, key: dreamt(
        model, task, params[None], start, key, temperature
    )


def promised(training: Training, trained, arrays):
    """The return of the dream's controller in dreams that it was not chosen by."""
    params, _ = evolved(training, "dream", trained)
    start = _codes(trained, EPISODES, training.task, jax.random.key(6))
    found = trained.call(_promise(training), params, start, jax.random.key(4))
    return evaluation.Measurement(float(found[0]) * PENDULUM.unit, None, EPISODES)


def dream(task: Task, trained, rows: int = 4, columns: int = 16):
    """Rows in pairs: an episode of random torques; what the model dreams of the same torques."""
    test = trained.arrays("test")
    count = min(columns, test["x"].shape[1])
    x, action = test["x"][:rows, :count], test["action"][:rows, :count]
    made = trained.call(_dreamt_pictures, x, action, jax.random.key(5))
    shown = np.stack([x, np.asarray(made)], 1).reshape(-1, *x.shape[2:]) / (LEVELS - 1)
    names = ["reality", "dream"] * len(x)
    return image_grid(shown, columns=count, title="Dreams of the same torques", row_names=names)


def _dreamt_pictures(model, x, action, key, seen: int = 4):
    """Pictures of dreams that begin after the first ones were seen."""
    batch, steps = x.shape[:2]
    carry, z = model.memory.init_carry((batch,)), model.encode(x[:, 0])
    codes = []
    for step in range(steps):
        codes.append(z)
        carry = model.remember(carry, z, action[:, step])
        draw = model.predicted(carry[0])[0].sample(seed=jax.random.fold_in(key, step))
        z = model.encode(x[:, step + 1]) if step + 1 < min(seen, steps) else draw
    return model.vae.likelihood(jnp.stack(codes, 1)).mean()


def history(training: Training, trained):
    """Mean returns of generations, in the world in which they evolved."""
    from dgmjax.plotting import curves

    lines = []
    for world in ("dream", "reality"):
        _, found = evolved(training, world, trained)
        lines += [{"step": g, f"{world}/return": value} for g, value in enumerate(found)]
    return curves(lines, title="Mean return of a generation")
