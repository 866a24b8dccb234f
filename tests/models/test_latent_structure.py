"""Hierarchies, DRAW, VRNN, several modalities and conditions, against exact answers."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import compiled_start, perturbed, scrambled_start

from dgmjax import models, objectives
from dgmjax.contracts import given
from dgmjax.distributions import Mixture, families
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.models.latent.multimodal import Modality
from dgmjax.nn.gaussian_window import Window, gaussian_filters
from dgmjax.nn.mlp import MLP

KEY = jax.random.key(0)
GENERATOR = np.random.default_rng(0)


def binary(*shape):
    return jnp.asarray(GENERATOR.integers(0, 2, shape), jnp.float32)


IMAGES = {"x": binary(6, 4, 4, 1), "label": jnp.arange(6) % 3}
ROLLS = {"x": binary(6, 3, 2), "length": jnp.array([3, 3, 2, 1, 3, 2])}
TWO_LAYERS = ((4, 4, 1), (3, 2), ((5,), (4,)))

# name -> module, batch, objective
MODELS = {
    "bottom_up": (models.DenseHierarchicalVAE(*TWO_LAYERS), IMAGES, objectives.elbo),
    "ladder": (
        models.DenseHierarchicalVAE(*TWO_LAYERS, inference="ladder"),
        IMAGES,
        objectives.elbo,
    ),
    "draw": (models.DRAW((4, 4, 1), 2, 2, 5), IMAGES, objectives.elbo),
    "draw_window": (models.DRAW((4, 4, 1), 2, 2, 5, (2, 3)), IMAGES, objectives.elbo),
    "vrnn": (models.VRNN((3, 2), 2, 4, recurrence="gru"), ROLLS, objectives.elbo),
    "product": (
        models.ImageLabelVAE((4, 4, 1), 3, 2, (5,)),
        IMAGES,
        partial(objectives.subsampled_elbo, num_subsets=1),
    ),
    "mixture": (
        models.ImageLabelVAE((4, 4, 1), 3, 2, (5,), experts="mixture"),
        IMAGES,
        objectives.elbo,
    ),
    "conditional": (
        models.DenseCVAE((4, 4, 1), 2, (5,), num_classes=3, conditional_prior=True),
        IMAGES,
        objectives.elbo,
    ),
}


def scrambled(module, batch, objective=objectives.elbo, scale=0.5):
    init = jax.jit(lambda key: module.init(key, batch, key, method=objective))
    return perturbed(init(KEY), scale=scale)


@lru_cache
def variables_of(name):
    """Scrambled parameters of a row of `MODELS`."""
    module, batch, objective = MODELS[name]
    return scrambled_start(module, KEY, batch, KEY, method=objective, scale=0.6)


def bound(name):
    """The model of a row of `MODELS`, with scrambled parameters."""
    return MODELS[name][0].bind(variables_of(name))


@pytest.mark.staggered
@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter(name):
    module, batch, objective = MODELS[name]
    variables = variables_of(name)

    @jax.jit
    def gradient(variables, key):
        def loss(variables):
            value, metrics = module.apply(variables, batch, key, method=objective)
            return value.mean(), (value, metrics)

        return jax.grad(loss, has_aux=True)(variables)

    gradients, (value, metrics) = gradient(variables, KEY)
    assert value.shape == (6,) and hash(module) == hash(module.clone())
    assert all(np.isfinite(m).all() for m in [value, *metrics.values()])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


# Hierarchies


def linear_chain(inference):
    """x = W1 z1 + noise, z1 = W2 z2 + s e, z2 ~ N(0, I), with the exact marginal of x."""
    linear = lambda inputs, output: MLP((), output, event_ndims=1)
    ladder = inference == "ladder"
    module = models.HierarchicalVAE(
        latents=(2, 1),
        encoders=(linear(3, (4,)), linear(4, (3,)))
        if ladder
        else (linear(3, (2, 2)), linear(2, (1, 2))),
        decoders=(linear(2, (3, 1)), linear(1, (2, 2))),
        inference=inference,
        observation=families.Normal(scale=1.5),
        event_ndims=1,
    )
    batch = {"x": jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)), jnp.float32)}
    params = scrambled(module, batch, scale=0.1)["params"]
    # Posteriors that are wide and near the prior: the weights have a small variance.
    for name in [name for name in params if name.startswith("heads" if ladder else "encoders")]:
        (layer,) = params[name].values()
        layer["kernel"] = 0.2 * layer["kernel"]
        layer["bias"] = layer["bias"].at[1::2].add(0.7 if ladder else 0.2)
    (to_x,), (to_z,) = (params[f"decoders_{i}"].values() for i in range(2))
    to_z["kernel"] = to_z["kernel"].at[:, 1::2].set(0.0)  # the scale does not depend on z2
    scale = np.exp(10 * np.tanh(np.asarray(to_z["bias"])[1::2] / 10))
    w1, w2 = np.asarray(to_x["kernel"]).T, np.asarray(to_z["kernel"])[:, 0::2].T
    mean = w1 @ np.asarray(to_z["bias"])[0::2] + np.asarray(to_x["bias"])
    covariance = w1 @ (w2 @ w2.T + np.diag(scale**2)) @ w1.T + 1.5**2 * np.eye(3)
    exact = scipy.stats.multivariate_normal(mean, covariance).logpdf(batch["x"])
    return module, {"params": params}, batch, exact


@pytest.mark.parametrize("inference", ["bottom_up", "ladder"])
def test_bound_of_a_linear_chain_is_its_marginal(inference):
    """L_20000 within 5 standard errors of the exact log p(x), and L_1 below it on average."""
    module, variables, batch, exact = linear_chain(inference)
    weights = jax.jit(
        lambda v: module.apply(
            v, batch, KEY, method=partial(objectives.log_weights, num_samples=20_000)
        )
    )
    log_w = np.asarray(weights(variables), np.float64)
    ratio = np.exp(log_w - exact)
    error = 5 * ratio.std(0) / np.sqrt(len(ratio))
    assert (error < 0.2).all()
    assert (np.abs(ratio.mean(0) - 1.0) < error + 1e-4).all()
    assert (log_w.mean(0) < exact).all()


@pytest.mark.parametrize("name", ["bottom_up", "ladder"])
def test_paths_carry_their_log_prob_and_leave_jit(name):
    module, batch, _ = MODELS[name]
    variables = variables_of(name)

    @jax.jit
    def both(variables):
        model = module.bind(variables)
        return model.posterior(batch["x"]), model.prior()

    q, p = both(variables)
    assert q.names == (("z2", "z1") if name == "ladder" else ("z1", "z2"))
    assert p.names == ("z2", "z1") and q.batch_shape == (6,)
    draw = jax.jit(lambda chain: chain.sample_and_log_prob(seed=1, sample_shape=(7,)))
    density = jax.jit(lambda chain, z: chain.log_prob(z))
    for chain in (q, p):
        z, log_prob = draw(chain)
        assert z["z1"].shape[-1:] == (3,) and z["z2"].shape[-1:] == (2,)
        np.testing.assert_allclose(log_prob, density(chain, z), rtol=1e-5, atol=1e-5)
    likelihood = lambda v: module.apply(v, q.sample(seed=2), method="likelihood")
    assert jax.eval_shape(likelihood, variables).batch_shape == (6,)


def test_each_layer_of_a_ladder_has_its_divergence():
    """Closed form along the path and log q - log p agree within 5 standard errors."""
    ladder = bound("ladder")
    q, p = ladder.posterior(IMAGES["x"]), ladder.prior()
    z, log_q = q.sample_and_log_prob(seed=0, sample_shape=(3000,))
    terms = objectives.kl_terms(q, p, z, "analytic", log_q)
    assert list(terms) == ["z2", "z1"]
    sampled, prior = q.log_probs(z), p.log_probs(z)
    for name, term in terms.items():
        values = np.asarray(sampled[name] - prior[name])
        assert (np.abs(values.mean(0) - term) < 5 * values.std(0) / np.sqrt(3000) + 1e-3).all()
        assert (term > 0).all()


def test_ladder_weighs_by_precision():
    batch, ladder = IMAGES, bound("ladder")
    q, p = ladder.posterior(batch["x"]), ladder.prior()
    z = {"z2": jax.random.normal(KEY, (6, 2))}
    below, top = (d.distribution for d in (q.conditional("z1", z), q.conditional("z2", {})))
    prior = p.conditional("z1", z).distribution
    first, last = ladder.estimates(batch["x"])
    np.testing.assert_allclose(top.loc, last.loc)
    precision = first.scale**-2 + prior.scale**-2
    mean = (first.loc * first.scale**-2 + prior.loc * prior.scale**-2) / precision
    np.testing.assert_allclose(below.scale, precision**-0.5, rtol=1e-5)
    np.testing.assert_allclose(below.loc, mean, rtol=1e-4, atol=1e-5)


def test_published_sizes():
    vae = models.TwoLayerVAE((28, 28, 1))
    shapes = jax.eval_shape(
        lambda: vae.init(KEY, {"x": jnp.zeros((2, 28, 28, 1))}, KEY, method=objectives.elbo)
    )["params"]
    sizes = {
        name: [layer["kernel"].shape for _, layer in sorted(layers.items())]
        for name, layers in shapes.items()
    }
    assert sizes == {
        "encoders_0": [(784, 200), (200, 200), (200, 200)],
        "encoders_1": [(100, 100), (100, 100), (100, 100)],
        "decoders_0": [(100, 200), (200, 200), (200, 784)],
        "decoders_1": [(50, 100), (100, 100), (100, 200)],
    }


# DRAW


def test_filters_sum_to_one_and_follow_the_formula():
    centre, stride, variance = jnp.array([3.2, 40.0]), jnp.array([1.5, 3.0]), jnp.array([2.0, 0.1])
    filters = np.asarray(gaussian_filters(centre, stride, variance, 4, 8))
    np.testing.assert_allclose(filters.sum(-1), 1.0, rtol=1e-5)
    assert np.isfinite(filters).all()
    means = 3.2 + (np.arange(1, 5) - 2.5) * 1.5
    expected = np.exp(-((np.arange(1, 9) - means[:, None]) ** 2) / (2 * 2.0))
    np.testing.assert_allclose(filters[0], expected / expected.sum(-1, keepdims=True), rtol=1e-4)


def test_a_centred_window_reads_and_writes_a_smooth_image():
    rows, columns = np.mgrid[:12, :12] / 11.0
    image = jnp.asarray(np.sin(3 * rows) + columns**2, jnp.float32)[None, ..., None]
    filters = gaussian_filters(jnp.full(1, 6.5), jnp.ones(1), jnp.full(1, 0.3), 12, 12)
    window = Window(filters, filters, jnp.full(1, 2.0))
    np.testing.assert_allclose(
        window.read(image)[:, 1:-1, 1:-1], 2 * image[:, 1:-1, 1:-1], atol=0.1
    )
    patch = jax.random.normal(KEY, (1, 12, 12, 1))  # writing is the adjoint of reading
    left = (window.read(image) * patch).sum() / 2.0
    right = (window.write(patch) * image).sum() * 2.0
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_draw_ends_with_its_last_canvas_and_starts_at_the_mean_image():
    module, batch, _ = MODELS["draw_window"]
    z = jax.random.normal(KEY, (3, 6, 2, 2))

    @jax.jit
    def both(variables):
        draw = module.bind(variables)
        return draw.canvases(z), draw.likelihood(z).mean()

    canvases, mean = both(variables_of("draw_window"))
    assert canvases.shape == (3, 6, 2, 4, 4, 1)
    np.testing.assert_allclose(mean, jax.nn.sigmoid(canvases[:, :, -1]), rtol=1e-5)
    assert np.abs(canvases[:, :, 0] - canvases[:, :, 1]).max() > 1e-2
    init = jax.jit(lambda key: module.init(key, batch["x"], method="posterior"))
    first = init(KEY)["params"]["cell"]["canvas"]
    rate = (np.asarray(batch["x"]).reshape(6, -1).sum(0) + 0.5) / 7.0
    np.testing.assert_allclose(jax.nn.sigmoid(first), rate, rtol=1e-5)


def test_draw_has_its_divergence_along_the_path():
    """Both forms of the KL within 5 standard errors, 1000 paths of each of 6 images."""

    @jax.jit
    def three(variables):
        draw = MODELS["draw"][0].bind(variables)
        q, p = draw.posterior(IMAGES["x"]), draw.prior()
        z, log_q = q.sample_and_log_prob(seed=KEY, sample_shape=(1000,))
        return q.kl_along(p, z) - (log_q - p.log_prob(z)), log_q, q.log_prob(z)

    difference, log_q, again = map(np.asarray, three(variables_of("draw")))
    np.testing.assert_allclose(log_q, again, rtol=1e-4, atol=1e-4)
    assert (np.abs(difference.mean(0)) < 5 * difference.std(0) / np.sqrt(1000)).all()


@pytest.mark.parametrize("name", ["draw", "vrnn"])
def test_the_bound_of_steps_draws_them_once(name):
    """The steps' distributions that come with a draw are those along its path; no scan is run
    again for the posterior."""
    model, batch = MODELS[name][0], MODELS[name][1]
    variables = variables_of(name)

    @jax.jit
    def both(variables):
        bound = given(model.bind(variables), batch)
        q, p = bound.posterior(batch["x"]), bound.prior()
        z, _, conditionals = q.draw_steps(KEY, (3,))
        return q.kl_along(p, z), q.kl_along(p, z, conditionals)

    again, drawn = both(variables)
    np.testing.assert_allclose(again, drawn, rtol=1e-4, atol=1e-4)

    def scans(kl):
        bound = lambda v: model.apply(v, batch, KEY, kl=kl, method=objectives.elbo)[0]
        return str(jax.make_jaxpr(bound)(variables)).count("scan[")

    assert scans("analytic") <= scans("sampled")


# VRNN


def grid_of_paths(size):
    """A grid over z = (z_1, z_2) and the logarithm of its cell's area."""
    line = np.linspace(-8, 8, size)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    return jnp.asarray(grid, jnp.float32), 2 * np.log(line[1] - line[0])


def test_vrnn_is_normalised_and_its_bound_is_the_marginal():
    """All 16 sequences of two binary frames, z by quadrature; L_5000 within 5 standard errors."""
    module = models.VRNN((2, 2), 1, 4)
    every = (np.arange(16)[:, None] >> np.arange(4)) & 1
    batch = {"x": jnp.asarray(every.reshape(16, 2, 2), jnp.float32)}
    variables = scrambled(module, batch, scale=0.1)
    grid, area = grid_of_paths(81)

    @jax.jit
    def joint_and_weights(variables):
        given = module.bind(variables).given(batch)
        z = jnp.broadcast_to(grid[:, None, :, None], (len(grid), 16, 2, 1))
        joint = given.log_joint(batch["x"], z)
        split = given.prior().log_prob(z) + given.likelihood(z).log_prob(batch["x"])
        weights = objectives.log_weights(module.bind(variables), batch, KEY, num_samples=5000)
        return joint, split, weights

    joint, split, log_w = joint_and_weights(variables)
    np.testing.assert_allclose(joint, split, rtol=1e-4, atol=1e-4)
    exact = np.asarray(jax.nn.logsumexp(joint, 0) + area, np.float64)
    assert np.exp(exact).sum() == pytest.approx(1.0, abs=2e-3)
    ratio = np.exp(np.asarray(log_w, np.float64) - exact)
    error = 5 * ratio.std(0) / np.sqrt(5000)
    assert (error < 0.2).all() and (np.abs(ratio.mean(0) - 1.0) < error + 2e-3).all()


def test_vrnn_of_one_frame_is_a_vae():
    module = models.VRNN((1, 2), 2, 4)
    batch = {"x": binary(6, 1, 2)}
    z = jax.random.normal(KEY, (5, 6, 1, 2))

    @jax.jit
    def both(variables):
        vrnn = module.bind(variables)
        given, cell = vrnn.given(batch), vrnn.cell
        nothing, x = jnp.zeros((6, 4)), batch["x"][:, 0]
        prior = families.Normal()(cell.prior_params(nothing))
        posterior = families.Normal()(cell.encoder(jnp.concatenate([cell.of_x(x), nothing], -1)))
        wide = jnp.broadcast_to(nothing, (5, 6, 4))
        pixels = families.Bernoulli()(cell.decode(wide, z[:, :, 0]))
        q = given.posterior(batch["x"])
        ours = given.log_joint(batch["x"], z), q.log_prob(z), q.kl_along(given.prior(), z)
        joint = (prior.log_prob(z[:, :, 0]) + pixels.log_prob(x)).sum(-1)
        divergence = jnp.broadcast_to(posterior.kl_divergence(prior).sum(-1), (5, 6))
        return ours, (joint, posterior.log_prob(z[:, :, 0]).sum(-1), divergence)

    for ours, expected in zip(*both(scrambled(module, batch)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_what_comes_after_the_end_changes_nothing():
    """The bound of a padded sequence, whatever is in the padding, is that of the shorter one."""
    short, long = models.VRNN((2, 2), 2, 4), models.VRNN((5, 2), 2, 4)
    x = binary(6, 2, 2)
    variables = scrambled(short, {"x": x})
    padded = jnp.concatenate([x, 9.0 * jnp.ones((6, 3, 2))], 1)
    for objective in (objectives.elbo, partial(objectives.iwae, num_samples=2)):
        run = jax.jit(
            lambda module, batch, loss=objective: module.apply(variables, batch, KEY, method=loss),
            static_argnums=0,
        )
        expected, metrics = run(short, {"x": x})
        by_length, padded_metrics = run(long, {"x": padded, "length": jnp.full(6, 2)})
        np.testing.assert_allclose(by_length, expected, rtol=1e-5)
        np.testing.assert_allclose(padded_metrics["elbo"], metrics["elbo"], rtol=1e-5)
    observed = jnp.arange(5) < jnp.full((6, 1), 2)
    by_mask, _ = run(long, {"x": padded, "observed": observed})
    np.testing.assert_allclose(by_mask, by_length, rtol=1e-6)


# Several modalities


def test_product_posterior_is_the_closed_form_with_any_modality_missing():
    batch, model = IMAGES, bound("product")
    m, s = zip(
        *(
            (e.loc, e.scale)
            for e in (
                model.modality("x").expert(batch["x"]),
                model.modality("label").expert(batch["label"]),
            )
        )
    )
    present = jnp.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 0]])
    absent = {
        "x": jnp.where(present[:, 0].reshape(-1, 1, 1, 1) > 0, batch["x"], jnp.nan),
        "label": batch["label"],
    }
    q = model.given({**absent, "present": present}).posterior().distribution
    weights = np.asarray(present, np.float32)[..., None]
    precision = 1.0 + weights[:, 0] / s[0] ** 2 + weights[:, 1] / s[1] ** 2
    mean = (weights[:, 0] * m[0] / s[0] ** 2 + weights[:, 1] * m[1] / s[1] ** 2) / precision
    np.testing.assert_allclose(q.scale, precision**-0.5, rtol=1e-5)
    np.testing.assert_allclose(q.loc, mean, rtol=1e-4, atol=1e-5)
    alone = model.seen({"label": batch["label"]}).posterior().distribution
    np.testing.assert_allclose(q.loc[2], alone.loc[2], rtol=1e-5)
    likelihoods = model.given({**absent, "present": present}).log_likelihoods(q.loc)
    assert (np.asarray(likelihoods["x"] != 0) == (present[:, 0] > 0)).all()
    assert (np.asarray(likelihoods["label"] != 0) == (present[:, 1] > 0)).all()
    assert np.isfinite(likelihoods["x"]).all()


def test_mixture_posterior_is_the_mean_of_the_experts_present():
    batch, model = IMAGES, bound("mixture")
    z = jax.random.normal(KEY, (6, 2))
    densities = [
        jnp.exp(model.modality(key).expert(batch[key]).log_prob(z).sum(-1)) for key in model.keys
    ]
    q = model.given(batch).posterior()
    assert isinstance(q, Mixture) and q.num_components == 2
    np.testing.assert_allclose(jnp.exp(q.log_prob(z)), sum(densities) / 2, rtol=1e-4)
    present = jnp.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 0]])
    q = model.given({**batch, "present": present}).posterior()
    prior = jnp.exp(model.prior().log_prob(z))
    shown = [sum(densities)[0] / 2, densities[0][1], densities[1][2], prior[3]]
    np.testing.assert_allclose(jnp.exp(q.log_prob(z))[:4], jnp.stack(shown), rtol=1e-4)


def joint_and_weights(module, batch, num_samples):
    """log p(x) by quadrature over one dimension of z, `[B]`, and importance weights `[K, B]`."""

    @jax.jit
    def both(variables):
        model = module.bind(variables)
        given = model.given(batch)
        z = jnp.broadcast_to(jnp.linspace(-9, 9, 2001)[:, None, None], (2001, 6, 1))
        joint = given.prior().log_prob(z) + given.likelihood(z).log_prob(batch["x"])
        exact = jax.nn.logsumexp(joint, 0) + np.log(18 / 2000)
        return exact, objectives.log_weights(model, batch, KEY, num_samples=num_samples)

    # Posteriors near the prior, none of them narrow: the weights have a small variance.
    near = lambda path: any(part in jax.tree_util.keystr(path) for part in ("encoder", "prior"))
    variables = jax.tree_util.tree_map_with_path(
        lambda path, a: 0.3 * a if near(path) else a, scrambled(module, batch, scale=0.2)
    )
    return [np.asarray(a, np.float64) for a in both(variables)]


def test_bound_with_a_mixture_of_experts_is_the_marginal():
    """log p(x, label), also of rows that miss one or both; L_K within 5 standard errors."""
    module = models.ImageLabelVAE((2, 1, 1), 3, 1, (4,), experts="mixture")
    batch = {"x": binary(6, 2, 1, 1), "label": jnp.arange(6) % 3}
    batch["present"] = jnp.array([[1, 1], [1, 1], [1, 0], [0, 1], [0, 0], [1, 1]])
    exact, log_w = joint_and_weights(module, batch, 4000)
    assert exact[4] == pytest.approx(0.0, abs=1e-4)  # nothing is seen
    assert (exact[:4] < -0.5).all()
    ratio = np.exp(log_w - exact)
    error = 5 * ratio.std(0) / np.sqrt(len(ratio))
    assert (np.abs(ratio.mean(0) - 1.0) < error + 1e-3).all() and (error < 0.2).all()


@pytest.mark.parametrize("scored", ["seen", "all"])
def test_subsampled_bound_is_the_sum_over_subsets(scored):
    batch, module = IMAGES, MODELS["product"][0]
    keys = [jax.random.fold_in(jax.random.split(KEY)[1], index) for index in range(3)]

    @jax.jit
    def compare(variables):
        model = module.bind(variables)
        loss, metrics = objectives.subsampled_elbo(model, batch, KEY, kl="analytic", scored=scored)
        only = [model.seen({key: batch[key]}) for key in model.keys]
        values = []
        for subset, key in zip([model.given(batch), *only], keys):
            q = subset.posterior()
            z = q.sample(seed=key, sample_shape=(1,))
            explained = subset if scored == "seen" else model.given(batch)
            values.append(explained.likelihood(z).log_prob()[0] - q.kl_divergence(model.prior()))
        heavy, _ = objectives.subsampled_elbo(
            model, batch, KEY, weights={"label": 3.0}, scored=scored
        )
        image = {"x": batch["x"]}
        one, _ = objectives.subsampled_elbo(model, image, KEY)
        plain, _ = objectives.elbo(model, image, keys[0])
        return loss, metrics, values, heavy, one, plain

    loss, metrics, values, heavy, one, plain = compare(variables_of("product"))
    parts = [metrics["elbo"], metrics["elbo_x"], metrics["elbo_label"]]
    np.testing.assert_allclose(parts, values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(-loss, sum(parts), rtol=1e-5)
    np.testing.assert_allclose(one, plain, rtol=1e-5)
    assert (heavy > loss).all()


def test_each_modality_from_the_other():
    module, batch = MODELS["product"][0], IMAGES

    @jax.jit
    def generated(variables):
        model = module.bind(variables)
        classes = model.seen({"x": batch["x"]}).generate(KEY, "label", 2)
        images = model.seen({"label": jnp.arange(3)}).generate(KEY, "x")
        drawn = model.sample(KEY, (2,)), model.sample_all(KEY, (2,))["label"]
        return classes, images, *drawn, model.mean(KEY, (2,))

    classes, *others = generated(variables_of("product"))
    assert classes.shape == (2, 6, 3)
    np.testing.assert_allclose(classes.sum(-1), 1.0, rtol=1e-5)
    shapes = [(1, 3, 4, 4, 1), (2, 4, 4, 1), (2,), (2, 4, 4, 1)]
    assert [other.shape for other in others] == shapes


@pytest.mark.parametrize(
    "name, key, shape",
    [
        ("conditional", "label", (6, 3)),
        ("conditional", "label", (5,)),
        ("conditional", "context", (6,)),
        ("conditional", "context", (6, 2)),
        ("conditional", "context", (5, 3)),
        ("product", "label", (6, 3)),
        ("product", "label", (5,)),
        ("product", "present", (5, 2)),
        ("product", "present", (6,)),
        ("vrnn", "length", (6, 1)),
        ("vrnn", "observed", (6, 3, 2)),
    ],
)
def test_shapes_of_what_is_read_beside_x_are_named_under_jit(name, key, shape):
    module, batch, objective = MODELS[name]
    bad = {**batch, key: jnp.zeros(shape, int)}
    with pytest.raises(DataError, match=f"^`{key}` must have shape") as found:
        jax.eval_shape(lambda batch: module.init(KEY, batch, KEY, method=objective), bad)
    assert str(shape) in str(found.value)


# Conditions


def test_conditional_bound_is_that_given_the_class():
    """L_K of log p(x | y) against quadrature, within 5 standard errors."""
    module = models.DenseCVAE((2,), 1, (4,), num_classes=3, conditional_prior=True)
    batch = {"x": binary(6, 2), "label": jnp.arange(6) % 3}
    exact, log_w = joint_and_weights(module, batch, 4000)
    ratio = np.exp(log_w - exact)
    error = 5 * ratio.std(0) / np.sqrt(4000)
    assert (np.abs(ratio.mean(0) - 1.0) < error + 1e-3).all() and (error < 0.2).all()


def test_a_wrapped_model_reads_its_batch_and_draws_as_the_model_inside():
    module, batch, _ = MODELS["conditional"]
    wrapped = models.WithBaseline(module, MLP((4,), (1,), event_ndims=3))
    variables = scrambled(wrapped, batch, objectives.reinforce)
    inside = {"params": variables["params"]["model"]}

    @jax.jit
    def both(variables, inside):
        reinforced, elbo = wrapped.bind(variables), module.bind(inside)
        _, metrics = objectives.reinforce(reinforced, batch, KEY)
        _, plain = objectives.reinforce(elbo, batch, KEY)
        drawn = [model.sample(KEY, (2,), jnp.eye(3)) for model in (reinforced, elbo)]
        shown = [model.mean(KEY, (2,), jnp.eye(3)) for model in (reinforced, elbo)]
        return (metrics["elbo"], plain["elbo"]), drawn, shown

    for ours, expected in both(variables, inside):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_conditions_by_label_or_by_context():
    module, batch, _ = MODELS["conditional"]
    by_context = {"x": batch["x"], "context": jnp.eye(3)[batch["label"]]}
    batches = by_context, batch, {**batch, "label": (batch["label"] + 1) % 3}

    @jax.jit
    def three(variables):
        return [module.apply(variables, b, KEY, method=objectives.elbo)[0] for b in batches]

    first, second, other = three(variables_of("conditional"))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert (np.abs(other - second) > 1e-4).all()

    @jax.jit
    def drawn(variables):
        model = module.bind(variables)
        return model.sample(KEY, (4,)), model.mean(KEY, (4,), jnp.eye(3))

    sample, mean = drawn(variables_of("conditional"))
    assert sample.shape == (4, 4, 4, 1) and mean.shape == (4, 3, 4, 4, 1)


# Bad input


def initialised(module, batch, objective=objectives.elbo):
    return jax.eval_shape(lambda: module.init(KEY, batch, KEY, method=objective))


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: models.DenseHierarchicalVAE((4,), (2, 1), ((4,),)), "hidden"),
        (lambda: models.DenseHierarchicalVAE((4,), (), ()), "latents"),
        (
            lambda: initialised(
                models.DenseHierarchicalVAE(*TWO_LAYERS, inference="up"),
                IMAGES,  # type: ignore
            ),
            "inference",
        ),
        (lambda: initialised(models.DRAW((4, 4, 1), 2, 0, 5), IMAGES), "num_steps"),
        (lambda: initialised(models.VRNN((4, 2), 2, 4), ROLLS), "x"),
        (
            lambda: initialised(models.VRNN((3, 2), 2, 4), {**ROLLS, "length": jnp.ones(5)}),
            "length",
        ),
        (
            lambda: initialised(
                models.VRNN((3, 2), 2, 4, families.DiscretisedLogisticMixture(1, 4, 1)), ROLLS
            ),
            "observation",
        ),
        (lambda: initialised(MODELS["conditional"][0], {"x": IMAGES["x"]}), "batch"),
        (lambda: initialised(models.DenseCVAE((4, 4, 1), 2, (5,)), IMAGES), "num_classes"),
        (
            lambda: initialised(MODELS["product"][0], {**IMAGES, "present": jnp.ones((6, 3))}),
            "present",
        ),
        (lambda: bound("product").seen({"sound": jnp.zeros(3)}), "key"),
        (
            lambda: initialised(
                MODELS["product"][0],
                IMAGES,
                partial(objectives.subsampled_elbo, weights={"y": 1.0}),
            ),
            "weights",
        ),
        (
            lambda: initialised(
                models.MultimodalVAE(
                    2,
                    tuple(
                        Modality("x", MLP((), (2, 2)), MLP((), (3, 1)), families.Bernoulli(), (3,))
                        for _ in range(2)
                    ),
                ),
                {"x": jnp.zeros((2, 3))},
            ),
            "modalities",
        ),
    ],
)
def test_bad_arguments_are_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()


LEVELS = jnp.asarray(GENERATOR.integers(0, 3, (6, 4, 4, 1)), jnp.float32)
CATEGORIES = families.Categorical(3)
# name -> model, batch, the marginals that its output starts at
STARTS = {
    "vae": (models.DenseVAE((4, 4, 1), 2, (5,)), IMAGES, "sites"),
    "skip": (models.SkipVAE((4, 4, 1), 2, (5, 5)), IMAGES, "sites"),
    "discrete": (models.DiscreteVAE((4, 4, 1), 3, levels=2, hidden=(5,)), IMAGES, "sites"),
    "vamp": (
        models.DenseVAE((4, 4, 1), 2, (5,), prior_model=models.VampPrior((4, 4, 1), 3)),
        IMAGES,
        "sites",
    ),
    "categories": (
        models.DenseVAE((4, 4, 1), 2, (5,), observation=CATEGORIES),
        {"x": LEVELS},
        "sites",
    ),
    "hierarchical": (models.DenseHierarchicalVAE(*TWO_LAYERS), IMAGES, "sites"),
    "conditional": (MODELS["conditional"][0], IMAGES, "sites"),
    "convolutional": (
        models.ConvVAE((4, 4, 1), 2, channels=8, observation=CATEGORIES),
        {"x": LEVELS},
        "pooled",
    ),
    "modality": (
        models.MultimodalVAE(2, MODELS["product"][0].modalities[:1]),
        {"x": IMAGES["x"]},
        "sites",
    ),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", STARTS)
def test_a_decoder_starts_at_the_marginals_of_the_data(name):
    """All of the output but its bias, by the difference to a start without: only the bias moves."""
    model, batch, kind = STARTS[name]
    objective = objectives.reinforce if name == "discrete" else objectives.elbo
    init = lambda model: compiled_start(model, KEY, batch, KEY, method=objective)["params"]
    moved, plain = init(model), init(model.clone(marginal_start=False))
    differences = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), moved, plain)
    (change,) = [leaf for leaf in jax.tree.leaves(differences) if np.any(leaf != 0)]
    x = batch["x"]
    rows = x if kind == "sites" else x.reshape(-1, 1)
    family = model.modalities[0].observation if name == "modality" else model.observation
    wanted = family.marginal(rows)
    np.testing.assert_allclose(change, wanted.reshape(change.shape), atol=1e-5)


def test_a_deviation_that_few_rows_show_is_not_taken_for_none():
    """A column that is constant in 100 rows starts at a tenth of the common deviation."""
    x = GENERATOR.normal(size=(100, 2)) * [0.0, 2.0]
    loc, log_scale = np.moveaxis(np.asarray(families.Normal().marginal(jnp.asarray(x))), -1, 0)
    np.testing.assert_allclose(loc, x.mean(0), atol=1e-5)
    expected = [x.std() / 10 + 1e-3, x[:, 1].std() + 1e-3]
    np.testing.assert_allclose(np.exp(log_scale), expected, rtol=1e-4)


def test_a_decoder_made_with_zeros_for_their_shape_starts_at_zero():
    model = models.DenseVAE((4, 4, 1), 2, (5,))
    init = partial(model.init, method=objectives.elbo)
    params = jax.jit(init)(KEY, {"x": jnp.zeros((6, 4, 4, 1))}, KEY)["params"]
    np.testing.assert_array_equal(params["decoder"]["Dense_1"]["bias"], 0.0)
