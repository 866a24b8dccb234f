"""Measures of representations on codes whose answer is known."""

import itertools

import numpy as np
import pytest

from dgmjax import evaluation
from dgmjax.data import factor_grid
from dgmjax.errors import DataError, DgmjaxError

SIZES = (3, 4, 5)
GRID = np.array(list(itertools.product(*map(range, SIZES))))
FACTORS = np.tile(GRID, (20, 1))  # the exhaustive grid, 20 times: 1200 rows
RNG = np.random.default_rng(0)


def test_accuracy_is_that_of_the_best_of_all_matchings():
    """Against all 4! matchings, with clusters that agree with classes half of the time."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 300)
    clusters = np.where(rng.random(300) < 0.5, (labels + 1) % 4, rng.integers(0, 4, 300))
    matched = [(np.array(p)[clusters] == labels).mean() for p in itertools.permutations(range(4))]
    measured = evaluation.cluster_accuracy(labels, clusters)
    assert measured.value == pytest.approx(max(matched))
    assert measured.num_examples == 300 and 0 < measured.standard_error < 0.05


def test_accuracy_where_clusters_are_more_or_fewer_than_classes():
    labels = np.repeat([0, 1], 50)
    halves = np.repeat([5, 6, 7, 8], 25)
    assert evaluation.cluster_accuracy(labels, halves).value == 0.5
    assert evaluation.cluster_accuracy(labels, np.zeros(100)).value == 0.5
    assert evaluation.cluster_accuracy(labels, 9 - labels).value == 1.0


def test_nmi_by_hand():
    """I = log 2, H(label) = log 4, H(cluster) = log 2: 1 / 1.5."""
    labels, clusters = np.arange(4).repeat(5), np.arange(2).repeat(10)
    value = evaluation.normalised_mutual_information(labels, clusters)
    assert value == pytest.approx(1 / 1.5)
    independent = evaluation.normalised_mutual_information(labels, np.tile([0, 1, 2, 3, 4], 4))
    assert independent == pytest.approx(0.0, abs=1e-12)


def test_probe_reads_linear_codes_and_no_others():
    codes = RNG.normal(size=(2000, 2))
    linear = (codes @ [1.0, -2.0] > 0.3).astype(int)
    hidden = (codes[:, 0] * codes[:, 1] > 0).astype(int)  # exclusive or
    split = lambda labels: (codes[:1500], labels[:1500], codes[1500:], labels[1500:])
    assert evaluation.linear_probe(*split(linear)).value > 0.98
    assert abs(evaluation.linear_probe(*split(hidden)).value - 0.5) < 0.2
    shifted = evaluation.linear_probe(
        1e4 + 1e-3 * codes[:1500], linear[:1500], 1e4 + 1e-3 * codes[1500:], linear[1500:]
    )
    assert shifted.value > 0.98  # the scale of the codes does not matter
    test = evaluation.linear_probe(*split(linear))
    assert test.num_examples == 500


@pytest.mark.parametrize("constant", [0.25, 0.1, -0.7])
def test_a_column_that_is_constant_in_training_is_left_out(constant):
    """The deviation of 0.1, many times, is 1e-17: divided by it, any other value would decide."""
    codes = RNG.normal(size=(600, 2))
    labels = (codes[:, 0] > 0).astype(int)
    more = np.column_stack([codes, np.full(600, constant)])
    more[300:, 2] += 1e-6
    without = evaluation.linear_probe(codes[:300], labels[:300], codes[300:], labels[300:])
    assert evaluation.linear_probe(more[:300], labels[:300], more[300:], labels[300:]) == without


def test_gap_of_perfect_codes_is_one_in_any_order_and_scale():
    codes = FACTORS[:, [2, 0, 1]] * np.array([0.1, -3.0, 1e4]) + 7.0
    gap = evaluation.mutual_information_gap(codes, FACTORS)
    assert gap.value == pytest.approx(1.0)
    np.testing.assert_allclose(gap.entropy, np.log(SIZES), rtol=1e-12)
    np.testing.assert_allclose(gap.information.max(0), np.log(SIZES), rtol=1e-12)


def test_gap_of_noise_rotated_and_doubled_codes_is_zero():
    noise = evaluation.mutual_information_gap(RNG.normal(size=(1200, 4)), FACTORS)
    assert abs(noise.value) < 0.05
    doubled = evaluation.mutual_information_gap(np.hstack([FACTORS, FACTORS]), FACTORS)
    assert doubled.value == pytest.approx(0.0, abs=1e-12)
    square = np.array(list(itertools.product(range(8), range(8))) * 10)
    turned = square @ np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    rotated = evaluation.mutual_information_gap(turned, square)
    assert rotated.value < 0.02 < rotated.information.min()


def test_gap_is_the_formula_on_a_mixed_code():
    """z = (v_0, v_0 + 3 v_1) knows v_0 twice: I(z_1; v_0) = log 3 too, and its gap is 0."""
    v = FACTORS[:, :2]
    codes = np.stack([v[:, 0], v[:, 0] + 3 * v[:, 1]], 1)
    gap = evaluation.mutual_information_gap(codes, v)
    np.testing.assert_allclose(gap.per_factor, [0.0, 1.0], atol=1e-12)
    assert gap.value == pytest.approx(0.5)


def test_one_code_has_no_second():
    gap = evaluation.mutual_information_gap(FACTORS[:, :1] * 0.5, FACTORS)
    np.testing.assert_allclose(gap.per_factor, [1.0, 0.0, 0.0], atol=1e-12)


def test_beta_vae_score_of_perfect_rotated_and_random_codes():
    options = {"num_train": 400, "num_test": 400}
    perfect = evaluation.beta_vae_score(FACTORS * np.array([1.0, 5.0, 0.1]), FACTORS, **options)
    assert perfect.value == 1.0 and perfect.num_examples == 400
    noise = evaluation.beta_vae_score(RNG.normal(size=(1200, 3)), FACTORS, **options)
    assert abs(noise.value - 1 / 3) < 0.1
    square = np.array(list(itertools.product(range(8), range(8))) * 10)
    turned = square @ np.array([[1.0, -1.0], [1.0, 1.0]])
    assert abs(evaluation.beta_vae_score(turned, square, **options).value - 0.5) < 0.12
    again = evaluation.beta_vae_score(FACTORS, FACTORS, seed=0, **options)
    assert again.value == 1.0


def test_constant_codes_carry_nothing():
    """A collapsed dimension is left out of the score, and has no information."""
    codes = np.hstack([FACTORS, np.zeros((1200, 1))])
    assert evaluation.beta_vae_score(codes, FACTORS, num_train=200, num_test=100).value == 1.0
    gap = evaluation.mutual_information_gap(codes, FACTORS)
    assert gap.value == pytest.approx(1.0) and abs(gap.information[3]).max() < 1e-12


X, Y = np.ones((4, 2)), np.array([0, 1, 0, 1])
PAIR = np.stack([Y, Y[::-1]], 1)
MISSING = np.array([0.0, 1.0, np.nan, 1.0])


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: evaluation.cluster_accuracy(Y, Y[:3]), "clusters"),
        (lambda: evaluation.cluster_accuracy(Y[:0], Y[:0]), "labels"),
        (lambda: evaluation.linear_probe(X, Y, X[:, :1], Y), "test_codes"),
        (lambda: evaluation.linear_probe(X, Y[:3], X, Y), "train_labels"),
        (lambda: evaluation.linear_probe(X, np.zeros(4), X, Y), "train_labels"),
        (lambda: evaluation.linear_probe(X, Y, X, Y), "train_codes"),
        (lambda: evaluation.linear_probe(X * np.nan, Y, X, Y), "train_codes"),
        (lambda: evaluation.mutual_information_gap(X[:3], Y[:, None]), "factors"),
        (lambda: evaluation.mutual_information_gap(X, X), "factors"),
        (lambda: evaluation.mutual_information_gap(X * np.inf, Y[:, None]), "codes"),
        (lambda: evaluation.mutual_information_gap(X, Y[:, None], num_bins=1), "num_bins"),
        (lambda: evaluation.cluster_accuracy(MISSING, Y), "labels"),
        (lambda: evaluation.cluster_accuracy(Y, np.array([0, 1, None, 1])), "clusters"),
        (lambda: evaluation.normalised_mutual_information(Y, MISSING), "clusters"),
        (lambda: evaluation.linear_probe(PAIR, MISSING, X, Y), "train_labels"),
        (lambda: evaluation.linear_probe(PAIR, Y, X, MISSING), "test_labels"),
        (lambda: evaluation.mutual_information_gap(X, MISSING[:, None]), "factors"),
        (lambda: evaluation.mutual_information_gap(X, PAIR + 0.5), "factors"),
        (lambda: evaluation.beta_vae_score(PAIR, PAIR + MISSING[:, None]), "factors"),
        (lambda: evaluation.beta_vae_score(PAIR, Y[:, None]), "factors"),
        (lambda: evaluation.beta_vae_score(PAIR, PAIR, num_train=1), "num_train"),
        (lambda: evaluation.beta_vae_score(X, PAIR), "codes"),
        (lambda: evaluation.beta_vae_score(X, Y[:, None], num_pairs=0), "num_pairs"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()


def test_the_sprites_factors_are_fit_for_the_measures():
    factors = factor_grid()
    assert evaluation.mutual_information_gap(factors * 1.0, factors).value == pytest.approx(1.0)
    with pytest.raises(DataError, match="constant columns"):
        evaluation.mutual_information_gap(factors[:8] * 1.0, factors[:8])
