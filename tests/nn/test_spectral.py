"""Spectral normalisation against singular value decompositions, in training and of averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, gradient_learner

KEY = jax.random.key(0)


def largest(kernel):
    return np.linalg.svd(np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]))[1][0]


@pytest.mark.parametrize(
    "layer, x",
    [
        (nn.Dense(6), jnp.eye(9)),
        (nn.Conv(6, (3, 3), padding="VALID"), jnp.eye(18).reshape(18, 3, 3, 2)),
    ],
)
def test_any_layer_has_largest_singular_value_one(layer, x):
    """The kernel in use, read off as the outputs of unit vectors, at the start and elsewhere."""
    wrapped = nn.Spectral(layer)
    variables = compiled_start(wrapped, KEY, x)
    for scale in (1.0, 7.0):
        kernel = variables["params"]["layer"]["kernel"]
        params = {"layer": {"kernel": scale * kernel, "bias": jnp.full(6, 3.0)}}
        used = applied(wrapped, {**variables, "params": params}, x) - 3.0
        assert largest(used.reshape(-1, 6)) == pytest.approx(1.0, abs=0.01)
        np.testing.assert_allclose(
            used.reshape(-1, 6) * largest(kernel), kernel.reshape(-1, 6), atol=0.02
        )


def spectral_game():
    hidden, wrap = (16, 16), {"weights": "spectral"}
    critic = nn.NormalisedMLP(hidden, (1,), activation=nn.leaky_relu, **wrap)
    gan = models.GAN(2, nn.MLP((8,), (2,)), critic)
    loss = lambda model, batch, key: objectives.critic_loss(
        model, batch, key, game="hinge", penalties=(objectives.r1(0.1),)
    )
    players = {
        "critic": Player(loss, optax.adam(2e-2), ("critic",)),
        "generator": Player(objectives.generator_loss, optax.adam(1e-2), ("generator",)),
    }
    return gradient_learner(gan, players, ema_decay=0.99)


def used_kernels(state, params):
    """Kernels that evaluation uses with these parameters, and the last step's singular values."""
    found = {}
    for name, layer in params["critic"].items():
        wrapper = state.collections["spectral"]["critic"][f"Spectral_{name[-1]}"]["SpectralNorm_0"]
        u, sigma = wrapper[f"{name}/kernel/u"], wrapper[f"{name}/kernel/sigma"]
        own = {"SpectralNorm_0": {"layer/kernel/u": u, "layer/kernel/sigma": sigma}}
        variables = {"params": {"layer": layer}, "spectral": own}
        wrapped = nn.Spectral(nn.Dense(len(layer["bias"])))
        used = wrapped.apply(variables, jnp.eye(len(layer["kernel"]))) - layer["bias"]
        found[name] = (used, float(sigma))
    return found


def test_averaged_weights_are_divided_by_their_own_singular_value():
    """Within 1% of 1 after training, live and averaged; the average of the normalised kernels' or
    the last step's singular value is not that of the averaged kernel."""
    learner = spectral_game()
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32) * [1.0, 3.0]
    batch = {"x": jnp.asarray(x, jnp.float32)}
    state = jax.jit(learner.init)(KEY, batch)
    assert "spectral" in state.collections and sorted(state.ema) == ["critic", "generator"]
    step = jax.jit(learner.step)
    for _ in range(150):
        state, metrics = step(state, batch)
    assert np.isfinite(float(metrics["critic/loss"]))
    naive = []
    for params in (state.params, state.ema):
        used = used_kernels(state, params)
        assert len(used) == 3
        for name, (kernel, sigma) in used.items():
            assert largest(kernel) == pytest.approx(1.0, abs=0.01), name
            if params is state.ema:
                naive.append(largest(params["critic"][name]["kernel"]) / sigma)
    assert max(abs(np.array(naive) - 1.0)) > 0.05, naive


def test_training_moves_the_vectors_and_evaluation_does_not():
    layer, x = nn.Spectral(nn.Dense(3)), jax.random.normal(KEY, (4, 5))
    variables = compiled_start(layer, KEY, x)
    moved = {**variables, "params": jax.tree.map(lambda a: a + a**2, variables["params"])}
    _, updated = applied(layer, moved, x, mutable=["spectral"])
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), variables["spectral"], updated["spectral"]
    )
    assert all(jax.tree.leaves(changed))
    one = nn.Spectral(nn.Dense(3), steps=1, evaluation_steps=1)
    np.testing.assert_array_equal(
        applied(one, moved, x), applied(layer, moved, x, mutable=["spectral"])[0]
    )
    with pytest.raises(DgmjaxError, match="`steps` must be at least 1"):
        nn.Spectral(nn.Dense(3), steps=0).init(KEY, x)


def test_no_gradient_flows_along_the_kernel_itself():
    """The used kernel does not change with the scale of the parameters: <gradient, kernel> = 0."""
    layer, x = nn.Spectral(nn.Dense(3, use_bias=False)), jax.random.normal(KEY, (4, 5))
    variables = compiled_start(layer, KEY, x)
    loss = lambda params: jnp.sin(layer.apply({**variables, "params": params}, x)).sum()
    slope = jax.grad(loss)(variables["params"])["layer"]["kernel"]
    assert float(jnp.abs(slope).max()) > 0.1
    assert abs(float((slope * variables["params"]["layer"]["kernel"]).sum())) < 1e-4
