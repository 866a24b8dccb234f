"""Few labels: bounds against quadrature, both kinds of rows, batches by quota, the draw."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax import data, models, objectives
from dgmjax.distributions.families import Normal
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.nn import MLP, JoinedMLP
from dgmjax.training.checks import check_training_data

KEY = jax.random.key(0)
X = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]], np.float32)
BATCH = {"x": X, "label": np.array([1, -1, 0, -1])}
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def bound_model(**options):
    """A bound model with one-dimensional latents and scrambled parameters."""
    module = models.SemiSupervisedVAE((3,), 1, 2, (5,), **options)
    variables = compiled_start(module, KEY, BATCH, KEY, method=objectives.semi_supervised)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [a + 0.3 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys)]
    return module.bind(jax.tree.unflatten(tree, moved))


def normal_of(params):
    return Normal()(jnp.asarray(params))


def decoder_log_prob(model, z, y, a=()):
    """log p(x | y, z, a) of X, `[nodes, 4]`, by hand from the logits."""
    logits = np.asarray(model.decoder(z, y, *a))[..., 0][:, None]
    return (X * logits - np.logaddexp(0.0, logits)).sum(-1)


@pytest.fixture(scope="module")
def plain():
    return bound_model()


def expected_bound(model, row, c, auxiliary=0, skip=False):
    """E log p(x, a | y, z) - log q(a | x) - KL + log p(y), a and z on Gauss-Hermite nodes."""
    tile = lambda v, *n: np.broadcast_to(np.asarray(v, np.float32), (*n, len(v)))
    y, h = np.eye(2)[c], X[row]
    log_q_a, a = np.zeros(60), ()
    if auxiliary:
        q_a = normal_of(model.auxiliary_encoder(h[None]))
        a = (np.asarray(q_a.mean() + q_a.stddev() * NODES[:, None], np.float32),)
        log_q_a = np.asarray(q_a.log_prob(a[0]))[:, 0]
    q = normal_of(model.encoder(tile(h, 60), tile(y, 60), *a))
    mean, scale = np.asarray(q.mean())[:, 0], np.asarray(q.stddev())[:, 0]
    z = np.asarray(mean[:, None] + scale[:, None] * NODES, np.float32)[..., None]
    wide = tuple(np.broadcast_to(part[:, None], (60, 60, 1)) for part in a)
    logits = np.asarray(model.decoder(z, tile(y, 60, 60), *(wide if skip else ())))[..., 0]
    log_p = (h * logits - np.logaddexp(0.0, logits)).sum(-1)
    if auxiliary:
        read = (z, tile(y, 60, 60)) if skip else (tile(h, 60, 60), z, tile(y, 60, 60))
        log_p = (
            log_p + np.asarray(normal_of(model.auxiliary_decoder(*read)).log_prob(wide[0]))[..., 0]
        )
    kl = 0.5 * (mean**2 + scale**2 - 1.0) - np.log(scale)
    return WEIGHTS @ (log_p @ WEIGHTS - log_q_a - kl) - np.log(2.0)


KINDS = [{}, {"auxiliary": 1}, {"auxiliary": 1, "skip": True}]


@pytest.mark.staggered
@pytest.mark.parametrize("options", KINDS)
def test_bounds_of_a_class_are_those_of_quadrature_and_below_the_density(options):
    model = bound_model(**options)
    bounds = jax.jit(jax.vmap(lambda key: model.class_bounds(X, key).bound))
    draws = np.asarray(bounds(jax.random.split(KEY, 4000)), np.float64)
    found, error = draws.mean(0), draws.std(0) / np.sqrt(4000)
    z = NODES[:, None].astype(np.float32)
    for c in range(2):
        expected = [expected_bound(model, row, c, **options) for row in range(4)]
        np.testing.assert_array_less(np.abs(found[:, c] - expected), 5 * error[:, c] + 1e-3)
        # log p(x, y) by quadrature over z, and over a where the decoder reads it.
        y = np.broadcast_to(np.eye(2, dtype=np.float32)[c], (60, 2))
        p = np.exp(decoder_log_prob(model, z, y)) if not options.get("skip") else 0.0
        if options.get("skip"):
            q = normal_of(model.auxiliary_decoder(z, y))
            for node, weight in zip(NODES, WEIGHTS):
                a = np.asarray(q.mean() + q.stddev() * node, np.float32)
                p = p + weight * np.exp(decoder_log_prob(model, z, y, (a,)))
        exact = np.log(WEIGHTS @ p) - np.log(2.0)
        assert (np.array(expected) < exact).all()


def test_rows_with_and_without_a_label_have_their_bounds(plain):
    bound, log_q = (np.asarray(a) for a in plain.class_bounds(X, KEY))
    objective = partial(objectives.semi_supervised, classification_weight=0.3)
    loss, metrics = objective(plain, BATCH, KEY)
    q = np.exp(log_q)
    np.testing.assert_allclose(q.sum(-1), 1.0, rtol=1e-5)
    unlabelled = (q * (bound - log_q)).sum(-1)
    # Half of the rows have a label.
    labelled = [bound[0, 1] + 0.3 / 0.5 * log_q[0, 1], bound[2, 0] + 0.3 / 0.5 * log_q[2, 0]]
    expected = -np.array([labelled[0], unlabelled[1], labelled[1], unlabelled[3]])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["log_q"], [log_q[0, 1], 0, log_q[2, 0], 0], rtol=1e-5)
    masked = {**BATCH, "mask": np.array([1.0, 1.0, 0.0, 1.0])}
    only = objective(plain, masked, KEY)[0]
    np.testing.assert_allclose(only[0], -(bound[0, 1] + 0.9 * log_q[0, 1]), rtol=1e-5)
    none = {**BATCH, "label": np.full(4, -1)}
    assert np.isfinite(objective(plain, none, KEY)[0]).all()


def test_first_rows_with_labels_need_one_class_only():
    model = bound_model()
    batch = {"x": X[[0, 2, 1, 3]], "label": np.array([1, 0, -1, -1])}
    few = partial(objectives.semi_supervised, labelled_rows=2)
    run = lambda objective: jax.jit(jax.vmap(lambda key: objective(model, batch, key)[0]))(
        jax.random.split(KEY, 4000)
    )
    one, all_classes = np.asarray(run(few)), np.asarray(run(objectives.semi_supervised))
    error = np.sqrt((one.var(0) + all_classes.var(0)) / 4000)
    np.testing.assert_array_less(np.abs(one.mean(0) - all_classes.mean(0)), 5 * error)
    with pytest.raises(DgmjaxError, match=r"^`labelled_rows` must be in 0"):
        objectives.semi_supervised(model, batch, KEY, labelled_rows=5)


def test_unlabelled_rows_teach_the_classifier_without_samples_of_the_class(plain):
    module, variables = plain.unbind()
    none = {**BATCH, "label": np.full(4, -1)}

    def loss(variables):
        return module.apply(variables, none, KEY, method=objectives.semi_supervised)[0].mean()

    gradient = jax.jit(jax.grad(loss))(variables)["params"]["classifier"]
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))


def test_the_classifier_of_auxiliary_variables_averages_over_them():
    model = bound_model(auxiliary=1)
    many = model.classify(X, KEY, 500)
    np.testing.assert_allclose(np.exp(many).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(many, model.classify(X, jax.random.key(5), 500), atol=0.2)
    with pytest.raises(DgmjaxError, match=r"^`key` must be given"):
        model.classify(X)


def test_analogies_keep_the_style_and_change_the_class(plain):
    made = plain.analogies(X, KEY)
    assert made.shape == (4, 2, 3)
    found = np.argmax(plain.classify(X), -1)
    params = plain.encoder(X, np.eye(2)[found])
    z = np.asarray(params)[..., 0]
    for c in range(2):
        logits = plain.decoder(z, np.broadcast_to(np.eye(2)[c], (4, 2)))[..., 0]
        np.testing.assert_allclose(made[:, c], jax.nn.sigmoid(logits), rtol=1e-5)
    drawn = plain.sample(KEY, (2, 3))
    assert drawn.shape == (2, 3, 3) and set(np.unique(drawn)) <= {0.0, 1.0}


def test_joined_inputs_are_a_perceptron_of_the_concatenation():
    x, y = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    joined = JoinedMLP((4,), (2,), jnp.tanh)
    params = compiled_start(joined, KEY, x, y)["params"]
    whole = MLP((4,), (2,), jnp.tanh)
    kernel = np.concatenate([params["input_0"]["kernel"], params["input_1"]["kernel"]])
    layer = {"kernel": kernel, "bias": params["input_0"]["bias"]}
    copied = {"Dense_0": layer, "Dense_1": params["rest"]["Dense_0"]}
    expected = applied(whole, {"params": copied}, np.concatenate([x, y], -1))
    np.testing.assert_allclose(applied(joined, {"params": params}, x, y), expected, atol=1e-6)


class TwoClasses:
    """log p(x, y) of a table."""

    num_classes = 2
    table = jnp.log(jnp.array([[0.1, 0.3], [0.2, 0.4]]))

    def log_joint(self, x):
        return self.table[x[:, 0].astype(jnp.int32)]


def test_the_multi_conditional_objective_lies_between_both_likelihoods():
    batch = {"x": np.array([[0], [1], [1]]), "label": np.array([1, 0, -1])}
    of = lambda a, b: objectives.multi_conditional(
        TwoClasses(), batch, discriminative=a, generative=b
    )[0]
    np.testing.assert_allclose(of(1, 1), -np.log([0.3, 0.2, 0.6]), rtol=1e-6)
    np.testing.assert_allclose(of(1, 0), [-np.log(0.3 / 0.4), -np.log(0.2 / 0.6), 0], rtol=1e-6)
    np.testing.assert_allclose(of(0, 2), -2 * np.log([0.4, 0.6, 0.6]), rtol=1e-6)


def test_labels_below_minus_one_and_above_the_classes_are_refused():
    module = models.SemiSupervisedVAE((3,), 1, 2, (5,))
    check_training_data(module, BATCH, None)
    for wrong in (-2, 2):
        bad = {**BATCH, "label": np.array([0, 1, wrong, -1])}
        with pytest.raises(DataError, match=r"^`label`"):
            check_training_data(module, bad, None)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: objectives.semi_supervised(object(), BATCH, KEY), "`model` must bound"),
        (lambda: objectives.multi_conditional(object(), BATCH), "`model` must give"),
        (lambda: objectives.semi_supervised(bound_model(), {"x": X}, KEY), "`batch` must hold"),
        (
            lambda: objectives.semi_supervised(
                bound_model(), BATCH, KEY, classification_weight=-1.0
            ),
            "`classification_weight`",
        ),
        (lambda: bound_model(skip=True), "`skip` must be False"),
        (lambda: data.few_labels(BATCH, 3, 0, 2), "`labels` must be a multiple"),
        (lambda: data.few_labels({"x": X}, 2, 0, 2), "`arrays` must hold `label`"),
        (lambda: data.few_labels(BATCH, 4, 0, 2), "`labels` must leave 2 rows of class 0"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(DgmjaxError, match=f"^{message}"):
        act()


def test_few_labels_are_balanced_and_their_draw_is_a_seed_of_its_own():
    arrays = {"x": np.arange(300), "label": np.arange(300) % 3}
    few = data.few_labels(arrays, 30, seed=4, num_classes=3)
    kept = few["label"] >= 0
    assert kept.sum() == 30 and np.bincount(few["label"][kept]).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(few["label"][kept], arrays["label"][kept])
    np.testing.assert_array_equal(few["group"], ~kept)
    again = data.few_labels(arrays, 30, seed=4, num_classes=3)
    np.testing.assert_array_equal(few["label"], again["label"])
    other = data.few_labels(arrays, 30, seed=5, num_classes=3)
    assert (few["label"] != other["label"]).any()
