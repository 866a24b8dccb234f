"""Flax NNX modules inside Linen models, by Flax's own bridge: `fit` trains them like any other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.nnx import bridge

from dgmjax import models, objectives
from dgmjax.training import Execution, Player, fit, gradient_learner

KEY = jax.random.key(0)


class Network(nnx.Module):
    """Two layers with batch statistics: parameters, and a collection that training moves."""

    def __init__(self, inputs, output, *, rngs):
        self.first = nnx.Linear(inputs, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs, momentum=0.5)
        self.last = nnx.Linear(8, int(np.prod(output)), rngs=rngs)
        self.output = output

    def __call__(self, x):
        h = nnx.tanh(self.norm(self.first(x)))
        return self.last(h).reshape(*x.shape[:-1], *self.output)


def vae():
    return models.VAE(
        latent=2,
        encoder=bridge.to_linen(Network, 4, (2, 2)),
        decoder=bridge.to_linen(Network, 2, (4, 1)),
        event_ndims=1,
    )


def test_nnx_networks_train_inside_a_model():
    x = np.tile(np.eye(4, dtype=np.float32)[[0, 0, 1, 2]], (8, 1))
    learner = gradient_learner(vae(), {"model": Player(objectives.elbo, optax.adam(0.05))})
    dataset = {"x": x}
    result = fit(learner, dataset, key=KEY, steps=60, batch_size=16)
    start = jax.jit(learner.init)(KEY, {"x": jnp.asarray(x[:16])})
    bound = lambda state: np.mean(objectives.elbo(learner.bind(state), {"x": x}, KEY)[1]["elbo"])
    assert bound(result.state) > bound(start) + 0.5
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), dict(result.state.collections), dict(start.collections)
    )
    assert max(jax.tree.leaves(moved)) > 0, "batch statistics are a collection that moves"
    assert learner.bind(result.state).sample(KEY, (3,)).shape == (3, 4)


def test_equal_nnx_modules_compile_once():
    assert vae() == vae() and hash(vae()) == hash(vae())


def test_nnx_networks_train_beside_a_compute_dtype():
    """They keep the dtype that they were given; asking them for theirs called itself for ever."""
    data = {"x": np.tile(np.eye(4, dtype=np.float32), (4, 1))}
    learner = gradient_learner(vae(), {"model": Player(objectives.elbo, optax.adam(0.05))})
    result = fit(
        learner,
        data,
        key=KEY,
        steps=2,
        batch_size=8,
        execution=Execution(compute_dtype="bfloat16", log_every=1),
    )
    assert all(np.isfinite(line["loss"]) for line in result.history)
