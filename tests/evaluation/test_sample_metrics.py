"""Metrics of samples, against closed forms, SciPy and brute force."""

import itertools
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from scipy.spatial.distance import cdist

from dgmjax.errors import DataError
from dgmjax.evaluation import samples
from dgmjax.evaluation.samples import neighbours


def normal(*shape, seed=0, **options):
    return np.random.default_rng(seed).normal(size=shape, **options)


def covariance(size, seed, rank=None):
    factor = normal(size, rank or 2 * size, seed=seed)
    return factor @ factor.T / factor.shape[1]


# Frechet distance


@pytest.mark.parametrize("size, seed", [(1, 0), (5, 1), (40, 2)])
def test_frechet_agrees_with_scipy(size, seed):
    a, b = covariance(size, seed), covariance(size, seed + 10)
    mean_a, mean_b = normal(size, seed=seed + 20), normal(size, seed=seed + 30)
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(a + b - 2 * root)
    assert samples.gaussian_frechet(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_normals_that_commute_is_in_closed_form():
    scales, others = np.array([0.5, 1.0, 3.0]), np.array([2.0, 1.0, 0.1])
    turn = np.linalg.qr(normal(3, 3))[0]
    matrices = [turn @ np.diag(s**2) @ turn.T for s in (scales, others)]
    found = samples.gaussian_frechet(np.zeros(3), matrices[0], np.ones(3), matrices[1])
    assert found == pytest.approx(3.0 + ((scales - others) ** 2).sum(), rel=1e-12)


def test_frechet_of_singular_covariances():
    a = covariance(20, 0, rank=3)
    assert samples.gaussian_frechet(np.zeros(20), a, np.zeros(20), a) == pytest.approx(0, abs=1e-12)
    orthogonal = np.diag([1.0, 0.0]), np.diag([0.0, 4.0])
    found = samples.gaussian_frechet(np.zeros(2), orthogonal[0], np.zeros(2), orthogonal[1])
    assert found == pytest.approx(5.0, rel=1e-12)


def test_frechet_distance_has_the_moments_of_the_sets():
    x, y = normal(300, 4) + 1e4, normal(200, 4, seed=1) * 2.0 + 1e4 + 1.0
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    found = samples.frechet_distance(x, y)
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert found.num_examples == 200
    assert samples.frechet_distance(x, x, resamples=0).value == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("measure", [samples.frechet_distance, samples.kernel_distance])
def test_standard_errors_are_those_of_repetitions(measure):
    pairs = [(normal(400, 3, seed=i), normal(400, 3, seed=1000 + i) + 0.7) for i in range(60)]
    found = [measure(*pair) for pair in pairs]
    spread = np.std([one.value for one in found], ddof=1)
    claimed = np.mean([one.standard_error for one in found])
    # The deviation of 60 repetitions is itself off by 9% (one standard error).
    assert 0.7 < claimed / spread < 1.4


# Kernel distance


def test_kernel_distance_is_the_sum_over_pairs():
    x, y = normal(7, 3), normal(5, 3, seed=1) + 0.5
    k = lambda a, b: (a @ b / 3 + 1) ** 3
    xx = np.mean([k(a, b) for a, b in itertools.permutations(x, 2)])
    yy = np.mean([k(a, b) for a, b in itertools.permutations(y, 2)])
    xy = np.mean([k(a, b) for a, b in itertools.product(x, y)])
    found = samples.kernel_distance(x, y, blocks=1)
    assert found.value == pytest.approx(xx + yy - 2 * xy, rel=1e-12)
    assert found.standard_error is None


def test_kernel_distance_is_unbiased():
    found = [
        samples.kernel_distance(normal(40, 3, seed=i), normal(40, 3, seed=500 + i)).value
        for i in range(300)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error  # fails for 1 seed in 16,000
    assert min(found) < 0


# Neighbours


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Matrices of distances come in several parts, the last of them incomplete."""
    monkeypatch.setattr(neighbours, "CELLS", 300_000)


def test_nearest_agrees_with_all_distances():
    x, y = normal(30, 4), normal(2500, 4, seed=1)
    indices, distances = samples.nearest(x, y, 3)
    expected = cdist(x, y)
    np.testing.assert_array_equal(indices, expected.argsort(1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :3], rtol=1e-12)
    far = y + 1e6
    assert samples.nearest(far[:5], far)[1].tolist() == [[0.0]] * 5


def radii(x, k):
    return np.sort(cdist(x, x), 1)[:, k]


@pytest.mark.parametrize("k", [1, 3])
def test_balls_agree_with_all_distances(k):
    x, y = normal(1200, 3), 0.7 * normal(1100, 3, seed=1) + 0.3
    between = cdist(y, x)
    real = between <= radii(x, k)
    generated = radii(y, k) >= between.T
    found = samples.precision_recall(x, y, k)
    assert found.precision.value == pytest.approx(real.any(1).mean(), abs=1e-12)
    assert found.recall.value == pytest.approx(generated.any(1).mean(), abs=1e-12)
    found = samples.density_coverage(x, y, k)
    assert found.density.value == pytest.approx(real.sum() / k / len(y), abs=1e-12)
    assert found.coverage.value == pytest.approx(real.any(0).mean(), abs=1e-12)


def test_balls_of_equal_and_of_distant_sets():
    x = normal(500, 5)
    shuffled = np.random.default_rng(1).permutation(x)
    assert samples.precision_recall(x, shuffled)[0].value == 1.0
    # k neighbours and the point itself, all in the ball, rim included
    assert samples.density_coverage(x, shuffled, 5).density.value == pytest.approx(6 / 5)
    for metric in (samples.precision_recall, samples.density_coverage):
        assert [one.value for one in metric(x, x + 100.0)] == [0.0, 0.0]


def test_neighbour_classifier_agrees_with_all_distances():
    x, y = normal(1100, 3), normal(1100, 3, seed=1) + 0.4
    both = np.concatenate([x, y])
    distances = cdist(both, both)
    np.fill_diagonal(distances, np.inf)
    predicted = distances.argmin(1) >= len(x)
    expected = (predicted == (np.arange(len(both)) >= len(x))).mean()
    assert samples.nearest_neighbour_accuracy(x, y).value == pytest.approx(expected, abs=1e-12)


def test_neighbour_classifier_knows_copies_and_strangers():
    x = normal(500, 3)
    assert samples.nearest_neighbour_accuracy(x, x).value == 0.0
    assert samples.nearest_neighbour_accuracy(x, x + 50.0).value == 1.0
    fair = samples.nearest_neighbour_accuracy(x, normal(500, 3, seed=1))
    assert abs(fair.value - 0.5) < 5 * fair.standard_error


def test_neighbour_classifier_splits_ties_and_knows_how_much_it_varies():
    generator = np.random.default_rng(0)
    binary = generator.integers(0, 2, (2, 500, 3))
    assert samples.nearest_neighbour_accuracy(*binary).value == pytest.approx(0.5, abs=1e-12)
    found = [
        samples.nearest_neighbour_accuracy(*generator.normal(size=(2, 80, 1))) for _ in range(400)
    ]
    deviation = np.std([one.value for one in found])
    assert deviation == pytest.approx(np.mean([one.standard_error for one in found]), rel=0.12)
    assert deviation > 1.2 * np.sqrt(0.25 / 160)  # that of independent trials


def test_one_distant_point_leaves_the_balls_of_the_others():
    real, generated = normal(300, 2), normal(300, 2, seed=1) + 5.0
    near = samples.density_coverage(real, generated)
    real[0] = 1e7
    assert samples.precision_recall(real, generated).recall.value < 0.02
    for distance in (1e7, 1e10):
        real[0] = distance
        assert samples.nearest_neighbour_accuracy(real, generated).value > 0.98
        assert samples.precision_recall(real, generated).recall.value < 0.02
    far = samples.density_coverage(real, generated)
    assert far.density.value < near.density.value + 0.25
    assert far.coverage.value < near.coverage.value + 0.01


def test_nearest_of_points_far_from_zero():
    indices, distances = samples.nearest(
        1.7e9 + np.array([[10.2], [30.4]]), 1.7e9 + np.arange(50.0)[:, None]
    )
    assert indices.tolist() == [[10], [30]]
    np.testing.assert_allclose(distances, [[0.2], [0.4]], atol=1e-6)


def test_few_held_out_points_do_not_bias_the_memorised_share():
    found = [
        samples.memorised_share(
            *(normal(n, 2, seed=3 * i + j) for j, n in enumerate((200, 200, 20))), share=0.05
        )
        for i in range(300)
    ]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(0.05, abs=4 * values.std() / 300**0.5)
    assert values.std() == pytest.approx(np.mean([one.standard_error for one in found]), rel=0.2)
    binary = np.random.default_rng(0).integers(0, 2, (3, 300, 4))
    with pytest.raises(DataError, match=r"`held_out` must have fewer than 0\.01 of"):
        samples.memorised_share(*binary)


def test_memorised_share():
    train, held_out, fresh = (normal(2000, 4, seed=i) for i in range(3))
    assert samples.memorised_share(train[:100], train, held_out).value == 1.0
    found = samples.memorised_share(fresh, train, held_out, share=0.1)
    assert abs(found.value - 0.1) < 5 * np.sqrt(2 * 0.1 * 0.9 / 2000)  # both quantiles are drawn


# Classes


def test_class_score_has_its_closed_forms():
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(10)[np.arange(200) % 10])
    assert samples.class_score(certain).value == pytest.approx(10.0)
    assert samples.class_score(certain[::10]).value == pytest.approx(1.0)
    assert samples.class_score(np.full((5, 4), -np.log(4))).value == pytest.approx(1.0)
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    kl = [scipy.stats.entropy(row, p.mean(0)) for row in p]
    assert samples.class_score(np.log(p)).value == pytest.approx(np.exp(np.mean(kl)))


def test_the_error_of_the_class_score_is_that_of_a_bootstrap():
    logs = np.log(np.random.default_rng(0).dirichlet([0.3] * 5, 2000))
    generator = np.random.default_rng(1)
    again = [samples.class_score(logs[generator.integers(0, 2000, 2000)]).value for _ in range(300)]
    error = samples.class_score(logs).standard_error
    assert error == pytest.approx(np.std(again), rel=0.2)  # 4% is one deviation of the bootstrap


def test_measurements_are_plain_numbers():
    """Records hold Python numbers, which JSON can."""
    x, y = normal(40, 3), normal(40, 3, seed=1)
    found = [
        *(samples.frechet_distance(x, y), samples.kernel_distance(x, y)),
        *(*samples.precision_recall(x, y), *samples.density_coverage(x, y)),
        *(samples.nearest_neighbour_accuracy(x, y), samples.memorised_share(x, y, x, 0.1)),
        *(samples.class_score(np.log([[0.2, 0.8], [0.5, 0.5]])), samples.mode_count([0, 1], 2)),
        samples.mode_kl([0, 1], [0, 1], 2),
    ]
    for one in found:
        assert type(one.value) is float and type(one.standard_error) in (float, type(None))


def test_modes():
    generator = np.random.default_rng(0)
    real = generator.integers(0, 6, 3000)
    found = generator.choice(6, 500, p=[0.5, 0.2, 0.2, 0.1, 0.0, 0.0])
    assert samples.mode_count(found, 6).value == 4
    q, p = np.bincount(found, minlength=6), np.bincount(real, minlength=6)
    kl = samples.mode_kl(found, real, 6)
    assert kl.value == pytest.approx(scipy.stats.entropy(q, p))
    again = [
        scipy.stats.entropy(np.bincount(generator.choice(found, 500), minlength=6), p)
        for _ in range(300)
    ]
    assert kl.standard_error == pytest.approx(np.std(again), rel=0.3)


# Similarity


def slow_ms_ssim(a, b):
    """Two scales of two grey images, window by window."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    result = 1.0
    for scale, weight in enumerate(np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)):
        values = []
        for i, j in itertools.product(range(len(a) - 10), repeat=2):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mean_p, mean_q = (kernel * p).sum(), (kernel * q).sum()
            cov = (kernel * (p - mean_p) * (q - mean_q)).sum()
            var = (kernel * ((p - mean_p) ** 2 + (q - mean_q) ** 2)).sum()
            value = (2 * cov + 9e-4) / (var + 9e-4)
            if scale:
                value *= (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
            values.append(value)
        result *= max(np.mean(values), 0.0) ** weight
        a, b = (m.reshape(14, 2, 14, 2).mean((1, 3)) if len(m) == 28 else m for m in (a, b))
    return result


def test_ms_ssim_agrees_with_loops():
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(3, 28, 28, 1))
    y = np.clip(x + generator.normal(scale=[[[[0.05]]], [[[0.3]]], [[[1.0]]]], size=x.shape), 0, 1)
    expected = [slow_ms_ssim(a[..., 0], b[..., 0]) for a, b in zip(x, y)]
    np.testing.assert_allclose(samples.ms_ssim(x, y), expected, rtol=1e-9)
    assert expected[0] > expected[1] > expected[2]


def test_ms_ssim_of_constant_images_is_their_luminance():
    a, b = np.full((1, 28, 28), 0.2), np.full((1, 28, 28), 0.8)
    luminance = (2 * 0.16 + 1e-4) / (0.04 + 0.64 + 1e-4)
    weight = 0.2856 / (0.0448 + 0.2856)
    assert samples.ms_ssim(a, b)[0] == pytest.approx(luminance**weight, rel=1e-9)


def test_diversity():
    x = np.random.default_rng(0).uniform(size=(200, 28, 28, 1))
    assert samples.diversity(np.repeat(x[:1], 10, 0)).value == pytest.approx(1.0)
    found = samples.diversity(x)
    assert found.value < 0.3 and found.num_examples == 100


# Bad input

few, many = np.zeros((3, 5)), normal(50, 5)
image = np.zeros((4, 28, 28, 1))


@pytest.mark.parametrize(
    "call, words",
    [
        (partial(samples.frechet_distance, many[:5], many), "`real` must have at least 6 rows"),
        (partial(samples.frechet_distance, many, few), "`generated` .*Draw more samples"),
        (partial(samples.frechet_distance, many, normal(50, 4)), "`generated` must have the 5 f"),
        (partial(samples.frechet_distance, many * np.nan, many), "`real` must be finite"),
        (partial(samples.kernel_distance, many, many[:19]), "`generated` must have at least 20"),
        (partial(samples.kernel_distance, many, many, blocks=0), "`blocks`"),
        (partial(samples.precision_recall, few, many), "`real` must have at least 4 rows"),
        (partial(samples.density_coverage, many, many[:5]), "`generated` must have at least 6"),
        (partial(samples.nearest_neighbour_accuracy, many, many[:9]), "the 50 rows of `real`"),
        (partial(samples.nearest, many, many, 51), "`references` must have at least 51 rows"),
        (partial(samples.memorised_share, many, many, many), "`held_out` must have at least 100"),
        (partial(samples.class_score, np.zeros((3, 4))), "`log_probs` must be logarithms"),
        (partial(samples.class_score, np.zeros((1, 1))), "`log_probs` must be .N, classes. with"),
        (partial(samples.mode_count, [0, 4], 4), "`classes` must be whole numbers"),
        (partial(samples.mode_kl, [0, 1], [0, 0], 2), "`reference` must hold every class"),
        (partial(samples.ms_ssim, image, image[:3]), "`y` must have the shape"),
        (partial(samples.ms_ssim, image[:, :10], image[:, :10]), "`x` must be .* 11 pixels"),
        (partial(samples.diversity, image[:3]), "`images` must be at least 4"),
        (partial(samples.diversity, image + 2), "`images` must hold values in .0, 1."),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_too_few_samples_are_an_error_of_data():
    with pytest.raises(DataError, match="more than there are features; got 3"):
        samples.frechet_distance(many, few)
