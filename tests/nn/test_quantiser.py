"""Vector quantisation against NumPy; networks that rescale images."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from scrambling import applied, compiled_start, scrambled

from dgmjax import nn
from dgmjax.devices import make_mesh
from dgmjax.errors import DgmjaxError
from dgmjax.nn.codes import nearest
from dgmjax.nn.rescale import enlarged
from dgmjax.training import Player, gradient_learner
from dgmjax.training.gradients import Microbatches, VirtualShards

KEY = jax.random.key(0)
CODES, FEATURES = 6, 3
Z = np.random.default_rng(0).normal(size=(4, 5, FEATURES)).astype(np.float32)
FLAT = Z.reshape(-1, FEATURES)


def quantiser(**options):
    module = nn.VectorQuantiser(CODES, FEATURES, **options)
    return module, compiled_start(module, KEY, jnp.asarray(Z))


def trained_on(module, variables, z, key=None):
    """The result on a batch in training, and the state after it."""
    run = jax.jit(lambda v, z: module.apply(v, z, key, mutable=["state"]))
    return run(variables, jnp.asarray(z))


def test_nearest_is_the_brute_force():
    generator = np.random.default_rng(1)
    z, codebook = generator.normal(size=(200, 7)), generator.normal(size=(30, 7))
    for offset in (0.0, 1000.0):
        far, codes = np.float32(z + offset), np.float32(codebook + offset)
        expected = np.square(np.float64(far)[:, None] - codes).sum(-1).argmin(-1)
        np.testing.assert_array_equal(nearest(far, codes), expected)


def test_quantised_values():
    module, variables = quantiser()
    codebook = np.asarray(applied(module, variables, method=lambda m: m.codebook))
    quantised = applied(module, variables, jnp.asarray(Z))
    indices = np.square(FLAT[:, None] - codebook).sum(-1).argmin(-1)
    np.testing.assert_array_equal(quantised.indices, indices.reshape(4, 5))
    np.testing.assert_array_equal(quantised.codes, codebook[indices].reshape(Z.shape))
    distance = np.square(FLAT - codebook[indices]).sum(-1).reshape(4, 5)
    np.testing.assert_allclose(quantised.commitment, distance, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(quantised.codebook, 0.0)
    np.testing.assert_allclose(quantised.usage, np.bincount(indices, minlength=CODES) / 20)
    looked_up = applied(module, variables, quantised.indices, method="lookup")
    np.testing.assert_array_equal(looked_up, quantised.codes)


def test_the_codebook_starts_at_vectors_of_the_batch():
    for learning in ("ema", "gradient"):
        module, variables = quantiser(learning=learning)
        codebook = np.asarray(applied(module, variables, method=lambda m: m.codebook))
        distance = np.sqrt(np.square(codebook[:, None] - FLAT).sum(-1))
        assert distance.min(1).max() < 0.1
        assert len(set(distance.argmin(1))) == CODES  # without replacement


def test_averages_move_as_in_numpy():
    """Three batches; evaluation moves nothing."""
    module, variables = quantiser(decay=0.9, smoothing=0.05, restart_below=0.0)
    state = variables["state"]
    usage, sums = np.asarray(state["usage"]), np.asarray(state["sums"])
    generator = np.random.default_rng(2)
    for _ in range(3):
        z = generator.normal(size=(8, FEATURES)).astype(np.float32)
        extra = 0.05 / CODES
        smoothed = (usage + extra) / (usage.sum() + CODES * extra) * usage.sum()
        codebook = sums / smoothed[:, None]
        chosen = np.eye(CODES)[np.square(z[:, None] - codebook).sum(-1).argmin(-1)]
        usage = 0.9 * usage + 0.1 * chosen.mean(0)
        sums = 0.9 * sums + 0.1 * chosen.T @ z / 8
        quantised, variables = trained_on(module, variables, z, KEY)
        np.testing.assert_allclose(quantised.usage, chosen.mean(0), rtol=1e-6)
        np.testing.assert_allclose(variables["state"]["usage"], usage, rtol=1e-5)
        np.testing.assert_allclose(variables["state"]["sums"], sums, rtol=1e-4, atol=1e-6)
    again = applied(module, variables, jnp.asarray(z), KEY)  # not mutable
    codes = applied(module, variables, again.indices, method="lookup")
    np.testing.assert_array_equal(again.codes, codes)


def test_the_parts_of_a_batch_average_to_the_whole():
    module, variables = quantiser(restart_below=0.0)
    _, whole = trained_on(module, variables, FLAT)
    parts = [trained_on(module, variables, part)[1] for part in (FLAT[:10], FLAT[10:])]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), whole, mean)


@pytest.mark.parametrize("gradients", [Microbatches(4), VirtualShards(make_mesh(1), 8)])
def test_dead_codes_restart_at_data_where_gradients_are_taken_in_parts(gradients):
    """Each part restarted them at a vector of its own, and the codes became means of these."""

    class Module(linen.Module):
        def setup(self):
            self.quantiser = nn.VectorQuantiser(8, 2, restart_below=0.5, decay=0.0)

        def __call__(self, x, key, mask=None):
            return self.quantiser(x, key, mask)

    def objective(model, batch, key):
        return model(batch["x"], key, batch.get("mask")).commitment, {}

    signs = np.where(np.arange(64) % 2, 10.0, -10.0)[:, None]
    x = np.float32(signs + np.random.default_rng(0).normal(size=(64, 2)) * 1e-2)
    players = {"model": Player(objective, optax.sgd(0.0))}
    learner = gradient_learner(Module(), players).with_gradients(gradients)
    state = learner.init(KEY, {"x": jnp.zeros((64, 2))})  # all codes but one are far from the data
    state, _ = jax.jit(learner.step)(state, {"x": jnp.asarray(x)})
    codebook = learner.call(learner.variables(state), lambda m: m.quantiser.codebook)
    distance = np.abs(np.asarray(codebook)[:, None] - x).sum(-1).min(-1)
    assert (distance < 0.2).sum() >= 7  # one has won all vectors


def test_dead_codes_restart_at_vectors_of_the_batch():
    module, variables = quantiser(decay=0.5, restart_below=0.1)
    far = variables["state"]["sums"].at[2].set(100.0)
    variables = {"state": {**variables["state"], "sums": far}}
    for step in range(6):
        before = variables
        quantised, variables = trained_on(module, before, FLAT, jax.random.key(step))
        usage = 0.5 * applied(module, before, method=lambda m: m.averages()[0])
        usage += 0.5 * quantised.usage
        dead = np.asarray(usage < 0.1 / CODES)
        now = np.asarray(applied(module, variables, method=lambda m: m.codebook))
        usage, sums = applied(module, variables, method=lambda m: m.averages())
        np.testing.assert_allclose(usage[dead], 1 / CODES, rtol=1e-6)
        for code in np.flatnonzero(dead):
            assert np.abs(FLAT - np.asarray(sums[code]) * CODES).sum(-1).min() < 1e-5
        if dead[2]:
            break
    assert dead[2] and np.abs(now[2]).max() < 10
    _, kept = trained_on(module, before, FLAT)  # no key: no restart
    assert kept["state"]["usage"][2] < 0.1 / CODES


def test_straight_through_and_which_loss_moves_what():
    module, variables = quantiser(learning="gradient")
    weights = jnp.asarray(np.random.default_rng(3).normal(size=Z.shape), jnp.float32)
    codebook = variables["params"]["codebook"]

    def terms(params, z):
        quantised = module.apply({"params": params}, z)
        losses = quantised.commitment.sum(), quantised.codebook.sum()
        return (weights * quantised.codes).sum(), *losses

    jacobian = jax.jit(jax.jacrev(terms, argnums=(0, 1)))(variables["params"], jnp.asarray(Z))
    through, commitment, loss = jacobian
    np.testing.assert_allclose(through[1], weights)
    np.testing.assert_array_equal(through[0]["codebook"], 0.0)
    indices = module.apply(variables, jnp.asarray(Z)).indices
    difference = Z - np.asarray(codebook)[indices]
    np.testing.assert_allclose(commitment[1], 2 * difference, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(commitment[0]["codebook"], 0.0)
    np.testing.assert_array_equal(loss[1], 0.0)
    expected = np.zeros((CODES, FEATURES))
    np.add.at(expected, np.asarray(indices).ravel(), -2 * difference.reshape(-1, FEATURES))
    np.testing.assert_allclose(loss[0]["codebook"], expected, rtol=1e-4, atol=1e-5)


def residuals_of(z, codebook, depth):
    """Indices, codes and residuals of every depth, one vector after another."""
    indices, codes, left = [], [], [z]
    for _ in range(depth):
        found = [int(np.square(r.astype(np.float64) - codebook).sum(-1).argmin()) for r in left[-1]]
        indices.append(np.array(found))
        codes.append(codebook[indices[-1]])
        left.append(left[-1] - codes[-1])
    return indices, codes, left[:depth]


def test_residuals_are_quantised_as_in_numpy():
    """Values bit for bit; the averages count the residuals of all depths."""
    module, variables = quantiser(depth=3, decay=0.9, restart_below=0.0)
    variables = {"state": dict(variables["state"])}
    codebook = np.asarray(applied(module, variables, method=lambda m: m.codebook))
    indices, codes, left = residuals_of(FLAT, codebook, 3)
    quantised, after = trained_on(module, variables, Z, KEY)
    assert quantised.indices.shape == (4, 5, 3) and quantised.usage.shape == (3, CODES)
    np.testing.assert_array_equal(quantised.indices.reshape(-1, 3), np.stack(indices, -1))
    total = (codes[0] + codes[1]) + codes[2]
    np.testing.assert_array_equal(quantised.codes.reshape(-1, FEATURES), total)
    looked_up = applied(module, variables, quantised.indices, method="lookup")
    np.testing.assert_array_equal(looked_up, quantised.codes)
    sums = np.cumsum(codes, 0)
    commitment = np.square(FLAT - sums).sum((0, -1))
    np.testing.assert_allclose(quantised.commitment.ravel(), commitment, rtol=1e-5)
    shares = np.stack([np.bincount(one, minlength=CODES) / 20 for one in indices])
    np.testing.assert_allclose(quantised.usage, shares, rtol=1e-6)
    chosen, vectors = np.eye(CODES)[np.concatenate(indices)], np.concatenate(left)
    usage = 0.9 * variables["state"]["usage"] + 0.1 * shares.mean(0)
    sums = 0.9 * variables["state"]["sums"] + 0.1 * chosen.T @ vectors / 60
    np.testing.assert_allclose(after["state"]["usage"], usage, rtol=1e-5)
    np.testing.assert_allclose(after["state"]["sums"], sums, rtol=1e-4, atol=1e-6)


def test_the_codes_of_padding_do_not_move_a_residual_codebook():
    module, variables = quantiser(depth=2, restart_below=0.5)
    mask = jnp.array([1.0, 0.0, 1.0, 1.0])
    padded = jnp.asarray(Z).at[1].set(1e3)
    run = lambda z, mask: module.apply(variables, z, None, mask, mutable=["state"])
    with_padding, without = run(padded, mask), run(jnp.asarray(Z)[mask > 0], None)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, with_padding[1], without[1])
    close(with_padding[0].usage, without[0].usage)


@pytest.mark.parametrize("num_codes", [2, 9])
def test_a_fixed_codebook_with_zero_is_never_worse_with_more_depth(num_codes):
    """|z - e_1 - .. - e_d| does not grow with d."""
    generator = np.random.default_rng(num_codes)
    z = jnp.asarray(generator.normal(size=(300, FEATURES)), jnp.float32)
    table = 0.5 * generator.normal(size=(num_codes, FEATURES)).astype(np.float32)
    table[0] = 0.0
    errors = []
    for depth in range(1, 7):
        module = nn.VectorQuantiser(num_codes, FEATURES, "gradient", depth=depth)
        variables = {"params": {"codebook": jnp.asarray(table)}}
        errors.append(np.linalg.norm(z - module.apply(variables, z).codes, axis=-1))
    errors = np.stack(errors)
    assert (np.diff(errors, axis=0) <= 1e-5).all()
    assert errors[-1].mean() < errors[0].mean()


def test_gradients_of_a_residual_codebook():
    """z has those of the partial sums, each code those of the residuals that it is nearest to."""
    module, variables = quantiser(learning="gradient", depth=2)
    codebook = np.asarray(variables["params"]["codebook"])

    def terms(params, z):
        quantised = module.apply({"params": params}, z)
        losses = quantised.commitment.sum(), quantised.codebook.sum()
        return quantised.codes.sum(), *losses

    jacobian = jax.jit(jax.jacrev(terms, argnums=(0, 1)))
    through, commitment, loss = jacobian(variables["params"], jnp.asarray(FLAT))
    indices, codes, left = residuals_of(FLAT, codebook, 2)
    np.testing.assert_array_equal(through[1], 1.0)
    expected = 2 * (FLAT - codes[0]) + 2 * (FLAT - codes[0] - codes[1])
    np.testing.assert_allclose(commitment[1], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loss[1], 0.0)
    expected = np.zeros((CODES, FEATURES))
    for one, code, residual in zip(indices, codes, left):
        np.add.at(expected, one, 2 * (code - residual))
    np.testing.assert_allclose(loss[0]["codebook"], expected, rtol=1e-4, atol=1e-5)


def test_a_residual_codebook_starts_at_vectors_and_at_what_they_leave():
    """Before any training, more depth is closer to the batch."""
    errors = []
    for depth in (1, 2, 4):
        module = nn.VectorQuantiser(32, FEATURES, depth=depth)
        z = jnp.asarray(np.random.default_rng(5).normal(size=(500, FEATURES)), jnp.float32)
        quantised, _ = module.init_with_output(KEY, z)
        errors.append(float(jnp.square(z - quantised.codes).mean()))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]
    few, _ = nn.VectorQuantiser(2, FEATURES, depth=3).init_with_output(KEY, z)
    assert jnp.isfinite(few.codes).all()


def test_perplexity_of_known_histograms():
    assert nn.perplexity(jnp.ones(8)) == pytest.approx(8.0)
    assert nn.perplexity(jnp.array([5.0, 0.0, 0.0])) == pytest.approx(1.0)
    shares = np.array([0.5, 0.25, 0.25])
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert nn.perplexity(jnp.asarray(shares * 40)) == pytest.approx(expected, rel=1e-6)
    assert nn.perplexity(jnp.ones((2, 4))).tolist() == pytest.approx([4.0, 4.0])


def test_an_index_outside_the_codebook_is_not_silent():
    module, variables = quantiser()
    codes = applied(module, variables, jnp.array([0, CODES, -1]), method="lookup")
    assert jnp.isfinite(codes[0]).all() and jnp.isnan(codes[1:]).all()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_networks_rescale(factor):
    x = jnp.ones((2, 8, 4, 3))
    small, _ = nn.Downscale(6, factor).init_with_output(KEY, x)
    assert small.shape == (2, 8 // factor, 4 // factor, 6)
    large, _ = nn.Upscale(5, 6, factor).init_with_output(KEY, small)
    assert large.shape == (2, 8, 4, 5)


def test_images_are_read_and_drawn_with_the_activation_throughout():
    """Without one all layers are affine."""
    identity = lambda h: h
    x, y = jax.random.normal(KEY, (2, 3, 4, 4, 1))
    z, w = jax.random.normal(KEY, (2, 3, 5))
    options = {"channels": 4, "factor": 2, "blocks": 2, "activation": identity}
    encoder, decoder = nn.ImageEncoder((3,), **options), nn.ImageDecoder((4, 4, 1), **options)
    for module, a, b in ((encoder, x, y), (decoder, z, w)):
        variables = scrambled(compiled_start(module, KEY, a))
        f = lambda v, h, module=module: applied(module, v, h)
        of_sum = f(variables, a + b) + f(variables, 0 * a)
        np.testing.assert_allclose(f(variables, a) + f(variables, b), of_sum, rtol=1e-3, atol=1e-3)


def test_enlarged_repeats_pixels():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    expected = np.kron(np.arange(4.0).reshape(2, 2), np.ones((2, 2)))
    np.testing.assert_array_equal(enlarged(x, 2)[0, ..., 0], expected)


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: nn.VectorQuantiser(1, 2).init(KEY, jnp.zeros((3, 2))), "num_codes"),
        (lambda: nn.VectorQuantiser(4, 2).init(KEY, jnp.zeros((3, 5))), "z"),
        (lambda: nn.VectorQuantiser(4, 2, decay=1.0).init(KEY, jnp.zeros((3, 2))), "decay"),
        (lambda: nn.VectorQuantiser(4, 2, smoothing=0.0).init(KEY, jnp.zeros((3, 2))), "smoothing"),
        (
            lambda: nn.VectorQuantiser(4, 2, restart_below=2.0).init(KEY, jnp.zeros((3, 2))),
            "restart_below",
        ),
        (lambda: nn.VectorQuantiser(4, 2, depth=0).init(KEY, jnp.zeros((3, 2))), "depth"),
        (
            lambda: nn.VectorQuantiser(4, 2, depth=2).init(
                KEY, jnp.zeros(3, jnp.int32), method="lookup"
            ),
            "indices",
        ),
        (lambda: nn.VectorQuantiser(4, 2, "sgd").init(KEY, jnp.zeros((3, 2))), "learning"),
        (lambda: quantiser()[0].apply(quantiser()[1], jnp.zeros(3), method="lookup"), "indices"),
        (lambda: nn.Downscale(4, 3).init(KEY, jnp.zeros((1, 6, 6, 1))), "factor"),
        (lambda: nn.Downscale(4, 4).init(KEY, jnp.zeros((1, 6, 6, 1))), "factor"),
        (lambda: nn.Downscale(4, 2).init(KEY, jnp.zeros((6, 6))), "x"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
