"""Attacks against linear classifiers, whose best attack is known; ranks against enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from dgmjax.applications import (
    auroc,
    carlini_wagner,
    cross_entropy,
    deep_fool,
    expectation,
    fast_gradient_sign,
    likelihood_ratio,
    projected_gradient,
    random_noise,
    rank_p_values,
    square_attack,
    straight_through,
)
from dgmjax.errors import DgmjaxError

RNG = np.random.default_rng(0)
W = RNG.normal(size=(12, 3)).astype(np.float32)
X = RNG.uniform(0.3, 0.7, size=(5, 3, 4)).astype(np.float32)
KEY = jax.random.key(0)


def logits(x):
    return x.reshape(len(x), 12) @ W


LABEL = np.argmax(np.asarray(logits(X)), -1)
LOSS = cross_entropy(logits, LABEL)


def norm(a):
    return np.sqrt((np.asarray(a) ** 2).reshape(len(a), -1).sum(-1))


def test_fast_gradient_sign_is_the_best_step_against_two_linear_classes():
    two = lambda x: logits(x)[:, :2]
    label = np.argmax(np.asarray(two(X)), -1)
    found = fast_gradient_sign(cross_entropy(two, label), X, 0.1)
    direction = np.sign(W[:, 1 - label] - W[:, label]).T.reshape(X.shape)
    np.testing.assert_allclose(found, X + 0.1 * direction, atol=1e-6)


def test_projected_gradient_stays_in_the_ball_and_is_no_worse_than_one_step():
    one = fast_gradient_sign(LOSS, X, 0.1)
    for key in (None, KEY):
        many = jax.jit(lambda x, key=key: projected_gradient(LOSS, x, 0.1, num_steps=10, key=key))(
            X
        )
        assert float(jnp.abs(many - X).max()) <= 0.1 + 1e-6
        assert (LOSS(many) >= LOSS(one) - 1e-5).all()
    assert (LOSS(random_noise(KEY, X, 0.1)) <= LOSS(one) + 1e-5).all()
    np.testing.assert_array_equal(projected_gradient(LOSS, X, 0.0, num_steps=2), X)
    edge = projected_gradient(LOSS, X, 0.6, num_steps=5)
    assert float(edge.min()) >= 0.0 and float(edge.max()) <= 1.0
    np.testing.assert_array_equal(projected_gradient(LOSS, X, 0.0, step_size=0.1, num_steps=2), X)


def smallest_change():
    """The distance to the nearest border of two linear classes, `[5]`."""
    scores = np.asarray(logits(X))
    gaps = scores[np.arange(5), LABEL][:, None] - scores
    norms = np.linalg.norm(W[:, LABEL].T[:, None] - W.T, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmin(np.where(norms > 0, gaps / norms, np.nan), axis=-1)


def test_deep_fool_finds_the_nearest_border_of_linear_classes():
    found = jax.jit(lambda x: deep_fool(logits, x, values=(-5.0, 5.0)))(X)
    assert (np.argmax(np.asarray(logits(found)), -1) != LABEL).all()
    np.testing.assert_allclose(norm(found - X), 1.02 * smallest_change(), rtol=2e-3, atol=1e-4)


def test_carlini_wagner_comes_close_to_the_nearest_border():
    attack = jax.jit(lambda x: carlini_wagner(logits, x, LABEL, values=(-1.0, 2.0)))
    found = attack(X)
    assert (np.argmax(np.asarray(logits(found)), -1) != LABEL).all()
    least = smallest_change()
    assert (norm(found - X) >= least - 1e-4).all()
    np.testing.assert_allclose(norm(found - X), least, rtol=0.1, atol=0.02)
    constant = lambda x: jnp.zeros((len(x), 3)).at[:, 0].set(1.0) + 0.0 * x.sum((1, 2))[:, None]
    unchanged = carlini_wagner(constant, X, np.zeros(5, int), num_steps=3, searches=2)
    np.testing.assert_array_equal(unchanged, X)


def test_the_nearest_input_does_not_depend_on_the_unit_of_the_values():
    shares = jnp.clip(X, 0.0, 1.0)
    attack = lambda top: carlini_wagner(
        lambda x: logits(x / top),
        top * shares,
        LABEL,
        num_steps=60,
        searches=4,
        values=(0.0, top),
    )
    small, large = attack(1.0), attack(65535.0)
    assert (np.argmax(logits(small), -1) != LABEL).any()
    np.testing.assert_allclose(large / 65535.0, small, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("narrow", [False, True])
def test_the_nearest_input_of_half_precision(dtype, narrow):
    """Steps are of single precision: pixels at the ends of the range have a gradient, too."""
    ends = jnp.round(X).astype(dtype)
    ours = lambda x: logits(x.astype(jnp.float32)).astype(dtype if narrow else jnp.float32)
    label = np.argmax(np.asarray(ours(ends), np.float32), -1)
    attacks = {
        "deep_fool": lambda x: deep_fool(ours, x, values=(-5.0, 5.0)),
        "carlini_wagner": lambda x: carlini_wagner(ours, x, label, num_steps=100),
    }
    for name, attack in attacks.items():
        found = jax.jit(attack)(ends)
        fooled = np.argmax(np.asarray(ours(found), np.float32), -1) != label
        assert found.dtype == dtype and fooled.all(), name


def test_the_loss_of_logits_of_half_precision_is_of_single_precision():
    coarse = lambda x: logits(x).astype(jnp.bfloat16)
    found, exact = cross_entropy(coarse, LABEL)(X), LOSS(X)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_adaptive_attacks_see_through_a_defence_that_hides_its_gradient():
    quantised = lambda x: jnp.round(x * 4.0) / 4.0
    hidden = cross_entropy(lambda x: logits(quantised(x)), LABEL)
    blind = projected_gradient(hidden, X, 0.2, num_steps=10)
    np.testing.assert_array_equal(blind, X)  # its gradient is zero
    seen = cross_entropy(lambda x: logits(straight_through(quantised)(x)), LABEL)
    assert (hidden(projected_gradient(seen, X, 0.2, num_steps=10)) > hidden(X)).all()

    def noisy(x, key):
        return LOSS(x + 0.3 * jax.random.normal(key, x.shape))

    averaged = expectation(noisy, KEY, 64)
    by_hand = np.mean([noisy(X, k) for k in jax.random.split(KEY, 64)], 0)
    np.testing.assert_allclose(averaged(X), by_hand, rtol=1e-5)
    assert (averaged(projected_gradient(averaged, X, 0.1, num_steps=5)) > averaged(X)).all()


def test_a_random_search_of_squares_needs_no_gradient():
    draws = np.random.default_rng(1)
    x = draws.uniform(0.3, 0.7, (5, 6, 4, 2)).astype(np.float32)
    w = np.array([1.0, -2.0], np.float32)  # the best attack moves channels against each other
    steps = lambda x: jnp.floor(1000.0 * (x * w).sum((1, 2, 3)))
    search = lambda n: jax.jit(lambda x: square_attack(steps, x, 0.1, KEY, num_steps=n))(x)
    few, many = search(3), search(2000)
    np.testing.assert_allclose(np.abs(many - x), 0.1, atol=1e-6)
    assert (steps(few) <= steps(many)).all() and (steps(few) < steps(many)).any()
    np.testing.assert_allclose(many, x + 0.1 * np.sign(w), atol=1e-6)
    edge = square_attack(steps, x, 0.5, KEY, num_steps=4)
    assert float(edge.min()) >= 0.0 and float(edge.max()) <= 1.0
    assert square_attack(lambda x: x.sum((1, 2, 3)), x[:0], 0.1, KEY, num_steps=2).shape[0] == 0


def test_attacks_take_no_examples():
    none = X[:0]
    loss = cross_entropy(logits, np.zeros(0, int))
    assert projected_gradient(loss, none, 0.1, num_steps=2).shape == none.shape
    assert fast_gradient_sign(loss, none, 0.1).shape == none.shape
    assert deep_fool(logits, none, num_steps=2).shape == none.shape


def test_ranks_are_counts_and_uniform_for_data_of_the_same_kind():
    train, scores = RNG.normal(size=40), np.concatenate([RNG.normal(size=7), [np.inf, -np.inf]])
    counts = (train[None] <= scores[:, None]).sum(-1)
    np.testing.assert_allclose(rank_p_values(train, scores), (1 + counts) / 41)
    above = (train[None] >= scores[:, None]).sum(-1)
    both = np.minimum(1.0, 2 * (1 + np.minimum(counts, above)) / 41)
    np.testing.assert_allclose(rank_p_values(train, scores, "both"), both)
    p = np.concatenate(
        [rank_p_values(draw[:19], draw[19:], "lower") for draw in RNG.normal(size=(4000, 20))]
    )
    for level in (0.05, 0.25, 0.5):
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 4000)


def test_the_area_is_that_of_the_rank_test_and_its_error_is_right():
    one, other = np.round(RNG.normal(0.5, 1, 60), 1), np.round(RNG.normal(size=50), 1)
    value, _ = auroc(one, other)
    assert value == pytest.approx(mannwhitneyu(one, other).statistic / 3000)
    found = [auroc(RNG.normal(0.7, 1, 80), RNG.normal(size=60)) for _ in range(600)]
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)


def test_scores_of_the_same_examples_are_not_counted_as_of_others():
    """An image and what an attack made of it have scores that are nearly equal."""

    def draw():
        score = RNG.normal(size=80)
        return auroc(score, score - 0.3 + RNG.normal(0.0, 0.3, 80), paired=True)

    values, errors = np.array([draw() for _ in range(600)]).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)
    apart = auroc(np.arange(80.0), np.arange(80.0) - 5.0)[1]
    assert auroc(np.arange(80.0), np.arange(80.0) - 5.0, paired=True)[1] < 0.2 * apart


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: fast_gradient_sign(LOSS, X, 8.0), "`radius` must be in"),
        (lambda: projected_gradient(LOSS, X, 0.1, num_steps=0), "`num_steps`"),
        (lambda: projected_gradient(LOSS, X, 0.1, step_size=-1.0), "`step_size`"),
        (lambda: random_noise(KEY, 255.0 * X, 0.1), "`x` must be in"),
        (lambda: random_noise(KEY, np.zeros((1, 2), np.uint8), 0.1), "`x` must be floating"),
        (lambda: deep_fool(logits, X, values=(1.0, 0.0)), "`values`"),
        (lambda: square_attack(LOSS, X, 0.1, KEY), "`x` must be images"),
        (lambda: square_attack(LOSS, X[..., None], 0.1, KEY, share=0.0), "`share`"),
        (lambda: cross_entropy(logits, LABEL + 7)(X), "`label` must be in"),
        (lambda: cross_entropy(logits, 0 * LABEL - 1)(X), "`label` must be in"),
        (lambda: cross_entropy(logits, LABEL[:, None])(X), "`label` must hold"),
        (lambda: cross_entropy(logits, LABEL + 0.5)(X), "`label` must hold"),
        (lambda: carlini_wagner(logits, X, LABEL + 7), "`label` must be in"),
        (lambda: expectation(lambda x, k: LOSS(x), KEY, 0), "`num_samples`"),
        (lambda: rank_p_values([], [1.0]), "`train_scores`"),
        (lambda: rank_p_values([1.0], [np.nan]), "`scores` must not be NaN"),
        (lambda: rank_p_values([1.0], [1.0], "upper"), "`sided`"),
        (lambda: likelihood_ratio([1.0, 2.0], [1.0]), "`background`"),
        (lambda: auroc([1.0], [1.0, 2.0]), "`inside`"),
        (lambda: auroc([1.0, 2.0], [1.0, 2.0, 3.0], paired=True), "`outside`"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(DgmjaxError, match=f"^{message}"):
        act()
