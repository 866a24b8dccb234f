"""VQ-VAE on one and two levels, and the prior of its codes by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import fit
from scrambling import applied, perturbed, scrambled_start

from dgmjax import data, models, objectives
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import code_counts, encoded
from dgmjax.runs import RunFolder
from dgmjax.training import Player, gradient_learner

KEY = jax.random.key(0)
SMALL = {"channels": 8, "blocks": 1}
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, 8, 8, 1)), jnp.float32)


@pytest.fixture(scope="module", params=[1, 2, "residual"])
def bound(request):
    """A model with scrambled parameters and its variables."""
    if request.param == 1:
        model = models.VQVAE((8, 8, 1), 10, 3, 2, **SMALL)
    elif request.param == "residual":
        model = models.VQVAE2((8, 8, 1), 10, 3, (2, 2), depth=3, **SMALL)
    else:
        model = models.VQVAE2((8, 8, 1), 10, 3, (2, 2), **SMALL)
    variables = jax.jit(lambda: model.init(KEY, {"x": X}, KEY, method=objectives.vq_vae))()
    return model.bind(perturbed(variables, scale=0.1))


@pytest.mark.staggered
def test_shapes_and_indices_that_decode(bound):
    levels, depth = len(bound.levels), bound.levels[0].depth
    shapes = [(4, 4), (2, 2)][:levels]
    shapes = shapes if depth == 1 else [(*shape, depth) for shape in shapes]
    assert bound.index_shapes == tuple(shapes)
    assert bound.code_nats == pytest.approx(sum(np.prod(s) for s in shapes) * np.log(10))
    module, variables = bound.unbind()

    def answers(model):
        indices = model.encode(X)
        decoded = model.decode(indices)
        direct = model.likelihood(tuple(one.codes for one in model.quantise(X)))
        return indices, decoded, direct.log_prob(X), decoded.log_prob(X)

    indices, decoded, direct, found = jax.jit(lambda v: module.apply(v, method=answers))(variables)
    assert [one.shape for one in indices] == [(6, *shape) for shape in shapes]
    assert all(one.dtype == jnp.int32 for one in indices)
    assert decoded.event_shape == (8, 8, 1) and decoded.batch_shape == (6,)
    np.testing.assert_allclose(found, direct, rtol=1e-5)

    def others(model):
        several = model.decode(tuple(jnp.stack([one, one]) for one in indices))
        drawn = model.sample(KEY, (3,)), model.mean(KEY, (3,)), model.reconstruct(X[:3], KEY)
        return several, drawn

    several, drawn = jax.eval_shape(lambda v: module.apply(v, method=others), variables)
    assert several.batch_shape == (2, 6)
    assert [one.shape for one in drawn] == 3 * [(3, 8, 8, 1)]


@pytest.mark.staggered(of=3)
def test_the_loss_is_its_terms_and_moves_what_it_should(bound):
    """Commitment reaches the encoders alone; the reconstruction passes through the codes."""
    module, variables = bound.unbind()
    rest = {"state": variables["state"]}

    def terms(params):
        loss, metrics = module.apply(
            {"params": params, **rest}, {"x": X}, KEY, method=objectives.vq_vae
        )
        return loss.sum(), metrics["commitment"].sum(), metrics["log_likelihood"].sum()

    @jax.jit
    def run(params):
        values, pull = jax.vjp(terms, params)
        return values, [pull(tuple(jnp.eye(3)[which]))[0] for which in (1, 2)]

    (loss, commitment, likelihood), slopes = run(variables["params"])
    assert loss == pytest.approx(float(0.25 * commitment - likelihood), rel=1e-5)
    size = lambda tree: sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))
    of_commitment = {name: size(tree) for name, tree in slopes[0].items()}
    of_likelihood = {name: size(tree) for name, tree in slopes[1].items()}
    assert of_commitment.pop("up_0") == 0.0
    assert all(value > 0 for value in of_commitment.values()), of_commitment
    assert all(value > 0 for value in of_likelihood.values()), of_likelihood


@pytest.mark.slow
def test_other_observations_have_their_sites():
    x = jnp.asarray(np.random.default_rng(1).integers(0, 4, (2, 8, 8, 3)))
    for family in (
        families.Categorical(4),
        families.DiscretisedLogisticMixture(2, levels=4, channels=3),
    ):
        model = models.VQVAE((8, 8, 3), 4, 2, 4, observation=family, **SMALL)

        def loss(x, model=model):
            (loss, _), _ = model.init_with_output(KEY, {"x": x}, KEY, method=objectives.vq_vae)
            return loss

        assert jnp.isfinite(jax.jit(loss)(x)).all()


@pytest.fixture(scope="module")
def digits():
    dataset = data.load("digits")
    transform = data.Binarise("threshold", levels=17)
    splits = {name: data.apply_once(transform, dataset.splits[name], 0) for name in dataset.splits}
    model = models.VQVAE((8, 8, 1), 16, 4, 2, **SMALL)
    learner = gradient_learner(model, {"model": Player(objectives.vq_vae, optax.adam(3e-3))})
    options = {"key": KEY, "batch_size": 64, "log_every": 30, "every": 30}
    return learner, splits, options


@pytest.mark.slow
def test_it_learns_and_a_resumed_run_is_the_same(digits, tmp_path):
    """Codebooks are collections: they come back bit for bit."""
    learner, splits, options = digits
    whole = fit(learner, splits["train"], steps=180, **options)
    state = whole.state.collections["state"]["quantisers_0"]
    assert state["usage"].shape == (16,) and state["sums"].shape == (16, 4)
    run = RunFolder.create(tmp_path, "test", {}, 0)
    fit(learner, splits["train"], steps=60, run=run, **options)
    parts = fit(learner, splits["train"], steps=180, run=run, **options)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    model = learner.bind(whole.state)
    x = splits["test"]["x"]
    error = np.square(x - np.asarray(jax.jit(model.reconstruct)(x))).mean()
    mean_image = np.square(x - splits["train"]["x"].mean(0)).mean()
    assert error < 0.6 * mean_image
    indices = encoded(model.encode, {"x": x}, 50)[0]
    assert indices.shape == (len(x), 4, 4)
    counts = code_counts(indices, 16)
    assert counts.sum() == indices.size and (counts > 0).sum() >= 8
    first, last = whole.history[0], whole.history[-1]
    assert last["loss"] < first["loss"] and 1.0 <= last["perplexity_0"] <= 16.0


PRIORS = {
    "one_level": models.CodePrior(((2, 2),), (3,), features=4, blocks=1),
    "two_levels": models.CodePrior(
        ((2, 2), (1, 1)), (3, 2), features=4, blocks=1, context_blocks=1
    ),
    "residual_levels": models.CodePrior(
        ((1, 2, 2), (1, 2, 2)), (2, 2), features=4, blocks=1, context_blocks=1
    ),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", PRIORS)
def test_a_code_prior_sums_to_one_and_samples_follow_it(name):
    prior = PRIORS[name]
    sizes = [
        k
        for shape, k in zip(reversed(prior.shapes), reversed(prior.num_codes))
        for _ in range(int(np.prod(shape)))
    ]
    every = jnp.asarray(list(itertools.product(*map(range, sizes))))
    log_prob = lambda variables: prior.apply(variables, every, method="log_prob")
    variables = jax.jit(lambda: prior.init(KEY, every[:4], method="log_prob"))()
    variables = perturbed(variables, scale=0.4)
    probs = np.exp(np.asarray(jax.jit(log_prob)(variables), np.float64))
    assert probs.sum() == pytest.approx(1.0, abs=1e-5)
    assert probs.max() > 2.0 / len(probs)
    draw = jax.jit(lambda v: prior.apply(v, KEY, (10_000,), method="sample"))
    samples = np.asarray(draw(variables))
    assert samples.shape == (10_000, len(sizes)) and samples.dtype == np.int32
    frequency = np.bincount(np.ravel_multi_index(samples.T, sizes), minlength=len(probs)) / 10_000
    error = np.sqrt(probs * (1 - probs) / 10_000) + 1e-6
    # 5 sigma over at most 256 states: an error rate of 2e-4.
    assert (np.abs(frequency - probs) / error).max() < 5 + 1e-4 / error.min()


def test_maps_join_and_split():
    prior = PRIORS["two_levels"]
    maps = (jnp.arange(8).reshape(2, 2, 2), jnp.array([[[8]], [[9]]]))
    joined = applied(prior, {}, maps, method="join")
    assert joined.tolist() == [[8, 0, 1, 2, 3], [9, 4, 5, 6, 7]]
    back = applied(prior, {}, joined, method="split")
    jax.tree.map(np.testing.assert_array_equal, back, maps)


def test_the_finer_level_depends_on_the_coarser_one_site_by_site():
    """A coarse site changes the conditionals of the fine sites around it, from the first on."""
    prior = models.CodePrior(((4, 4), (2, 2)), (3, 3), features=4, blocks=1)
    codes = jnp.zeros((1, 20), jnp.int32)
    variables = scrambled_start(prior, KEY, codes, method="log_prob", scale=0.5)
    coarse = jnp.zeros((1, 2, 2), jnp.int32)
    fine = jnp.zeros((1, 4, 4, 1), jnp.int32)

    def conditionals(model, coarse):
        return model.densities[0](model._context(0, coarse)).params(fine)

    params = jax.jit(lambda coarse: prior.apply(variables, coarse, method=conditionals))
    change = jnp.abs(params(coarse.at[0, 1, 1].set(2)) - params(coarse)).sum(-1)[0]
    assert change[-1] > 1e-3 and change[10] > 1e-3


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: models.VQVAE((6, 6, 1), factor=4).init(KEY, X, method="encode"), "factor"),
        (lambda: models.VQVAE((8, 8, 1), factor=3).init(KEY, X, method="encode"), "factor"),
        (lambda: models.VQVAE((8, 8, 1), num_codes=1).init(KEY, X, method="encode"), "num_codes"),
        (lambda: models.VQVAE((4, 4, 1)).init(KEY, X, method="encode"), "x"),
        (lambda: models.HierarchicalVQVAE((8, 8, 1), ()).init(KEY, X, method="encode"), "levels"),
        (
            lambda: models.VQVAE((8, 8, 1), factor=2).init(
                KEY, (jnp.zeros((1, 2, 2), jnp.int32),), method="decode"
            ),
            "indices",
        ),
        (
            lambda: objectives.vq_vae(None, {"x": X}, KEY, beta=-1.0),
            "beta",
        ),
        (
            lambda: models.CodePrior(((4, 4), (3, 3)), (2, 2)).init(
                KEY, jnp.zeros((1, 25), jnp.int32), method="log_prob"
            ),
            "shapes",
        ),
        (
            lambda: PRIORS["one_level"].init(KEY, jnp.zeros((1, 3), jnp.int32), method="log_prob"),
            "x",
        ),
        (lambda: code_counts(np.array([0, 4]), 4), "indices"),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}`"):
        act()
