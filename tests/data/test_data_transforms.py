"""Transforms against closed-form densities, SciPy and float64 Jacobians."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from dgmjax.data import (
    Binarise,
    Compose,
    Dequantise,
    Identity,
    Logit,
    RandomAffine,
    Scale,
    Standardise,
    Together,
    Transform,
    apply_once,
    transforms,
)
from dgmjax.errors import DataError, DgmjaxError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (50, 4, 4, 1)).astype(np.uint8)
TABLE = [
    Identity(),
    Binarise("dynamic"),
    Binarise("threshold"),
    RandomAffine(),
    Dequantise(),
    Scale(low=-1.0),
    Compose((Dequantise(), Logit(0.05), Standardise((0.3,), (1.7,)))),
]


@pytest.mark.parametrize("transform", TABLE, ids=lambda t: type(t).__name__)
def test_contract(transform):
    """Hashable, pure, traced once for equal transforms, leaves labels and its input alone."""
    assert isinstance(transform, Transform)
    again = copy.deepcopy(transform)
    assert again == transform and hash(again) == hash(transform)
    traces = []

    def run(t, batch, key):
        traces.append(1)
        return t(batch, key)

    compiled = jax.jit(run, static_argnums=0)
    batch = {"x": BYTES, "label": np.arange(50)}
    first, second = compiled(transform, batch, KEY), compiled(again, batch, KEY)
    assert len(traces) == 1
    np.testing.assert_array_equal(first["x"], second["x"])
    np.testing.assert_array_equal(first["label"], np.arange(50))
    assert first["x"].shape == BYTES.shape
    assert set(batch) == {"x", "label"}
    if "log_det" in first:
        assert first["log_det"].shape == (50,) and first["log_det"].dtype == jnp.float32
    transform.check(batch)


def test_dynamic_binarisation_is_bernoulli_of_the_grey_value():
    grey = np.array([0, 1, 64, 128, 254, 255], np.uint8)
    x = np.tile(grey, (20_000, 1))
    new = Binarise("dynamic")({"x": x}, KEY)["x"]
    assert new.dtype == jnp.float32
    assert set(np.unique(new).tolist()) == {0.0, 1.0}
    p = grey / 255
    error = np.abs(np.mean(new, 0) - p)
    assert np.all(error <= 5 * np.sqrt(p * (1 - p) / 20_000)), error  # 5 standard errors
    fresh = Binarise("dynamic")({"x": x}, jax.random.key(1))["x"]
    assert not np.array_equal(fresh, new)
    unit = Binarise("dynamic")({"x": (x / 255).astype(np.float32)}, KEY)["x"]
    np.testing.assert_array_equal(unit, new)


def test_other_binarisations():
    x = np.array([[0, 127, 128, 255]], np.uint8)
    threshold = Binarise("threshold")({"x": x}, KEY)["x"]
    np.testing.assert_array_equal(threshold, [[0, 0, 1, 1]])
    higher = Binarise("threshold", threshold=0.9)({"x": x / 255.0}, KEY)["x"]
    np.testing.assert_array_equal(higher, [[0, 0, 0, 1]])
    digits = Binarise("threshold", levels=17)({"x": np.array([[8, 9, 16]], np.uint8)}, KEY)["x"]
    np.testing.assert_array_equal(digits, [[0, 1, 1]])
    static = Binarise("static")({"x": np.array([[0, 1]], np.uint8)}, KEY)["x"]
    assert static.dtype == jnp.float32
    np.testing.assert_array_equal(static, [[0, 1]])


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
def test_dequantised_integers_are_uniform_in_their_cell(levels):
    k = np.tile(np.array([0, levels // 2, levels - 1]), (4000, 1))
    transform = Dequantise(levels)
    new = transform({"x": k}, KEY)
    x = np.asarray(new["x"], np.float64)
    assert np.all((x >= 0) & (x < 1))
    np.testing.assert_array_equal(transform.inverse(new["x"]), k)
    np.testing.assert_allclose(new["log_det"], -3 * np.log(levels), rtol=1e-6)
    if levels < 1000:  # beyond, float32 leaves few values in a cell
        u = (x * levels - k).ravel()
        assert stats.kstest(u, "uniform").pvalue > 1e-4


def test_dequantised_values_stay_in_their_cell_at_the_largest_draw(monkeypatch):
    """255 + (1 - 2^-24) is 256 in float32."""
    largest = lambda key, shape, dtype: jnp.full(shape, 1 - 2.0**-24, dtype)
    monkeypatch.setattr(transforms.jax.random, "uniform", largest)
    for levels in (17, 256):
        k = np.arange(levels)[:, None]
        x = Dequantise(levels)({"x": k}, KEY)["x"]
        assert float(x.max()) < 1
        np.testing.assert_array_equal(Dequantise(levels).inverse(x), k)


def test_dequantised_likelihood_is_that_of_the_integers():
    """A density that is constant in each cell makes Theis's bound exact: log p(k) = log prob."""
    probability = RNG.dirichlet(np.ones(17))
    k = RNG.integers(0, 17, (500, 3))
    new = Dequantise(17)({"x": k}, KEY)
    density = 17 * probability  # of x in cell k
    log_prob = np.sum(np.log(density[np.floor(np.asarray(new["x"]) * 17).astype(int)]), 1)
    expected = np.sum(np.log(probability[k]), 1)
    np.testing.assert_allclose(log_prob + new["log_det"], expected, rtol=1e-5)


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_logit_of_a_uniform_is_a_truncated_logistic(alpha):
    x = RNG.uniform(size=(500, 3)).astype(np.float32)
    new = Logit(alpha)({"x": x}, KEY)
    log_prob = np.sum(stats.logistic.logpdf(np.asarray(new["x"], np.float64)), 1)
    log_prob -= 3 * np.log(1 - 2 * alpha)  # the part of the logistic that is left
    np.testing.assert_allclose(log_prob + new["log_det"], 0, atol=2e-5)
    np.testing.assert_allclose(Logit(alpha).inverse(new["x"]), x, atol=2e-6)


def test_logit_is_finite_at_the_ends():
    new = Logit(1e-6)({"x": np.array([[0.0, 1.0]], np.float32)}, KEY)
    np.testing.assert_allclose(new["x"], [[-13.8155, 13.8155]], rtol=1e-4)
    assert np.all(np.isfinite(new["log_det"]))


def test_standardised_normal():
    mean, std = RNG.normal(size=3), RNG.uniform(0.1, 5, 3)
    x = RNG.normal(mean, std, (4000, 3))
    exact = Standardise(mean, std)
    new = exact({"x": x}, KEY)
    log_prob = np.sum(stats.norm.logpdf(np.asarray(new["x"], np.float64)), 1)
    expected = np.sum(stats.norm.logpdf(x, mean, std), 1)
    np.testing.assert_allclose(log_prob + new["log_det"], expected, atol=1e-4)
    fitted = Standardise.fit(x)
    np.testing.assert_allclose(fitted.mean, x.mean(0))
    np.testing.assert_allclose(fitted.std, x.std(0))
    np.testing.assert_allclose(fitted.inverse(fitted({"x": x}, KEY)["x"]), x, atol=1e-4)
    for constant in (0.0, 0.1, 1 / 3):  # the mean of a thousand times 0.1 is not 0.1
        with pytest.raises(DataError, match=r"`train_x` must vary in every column; got \[1\]"):
            Standardise.fit(np.stack([x[:1000, 0], np.full(1000, constant)], -1))
    with pytest.raises(DataError, match="`train_x` must vary in every column"):
        Standardise.fit(np.linspace(0.0, 1e-200, 1000)[:, None])  # whose variance is 0


def test_columns_that_float32_cannot_tell_apart_are_refused():
    times = 1.6e9 + np.arange(1000.0)
    x = np.stack([RNG.normal(size=1000), times], -1)
    message = r"must have means of at most 10000 standard .* in column 1\. Subtract an offset"
    with pytest.raises(DataError, match=f"`train_x` {message}"):
        Standardise.fit(x)
    with pytest.raises(DataError, match=f"`x` {message}"):
        Standardise(x.mean(0), x.std(0)).check({"x": x})
    near = x - [0, 1.6e9 - 1e6]  # 3464 standard deviations
    fitted = Standardise.fit(near)
    fitted.check({"x": near})
    exact = (near - near.mean(0)) / near.std(0)
    np.testing.assert_allclose(fitted({"x": near}, KEY)["x"], exact, atol=1e-3)


def test_standardised_images_count_every_pixel():
    images = RNG.normal(2, 3, (40, 5, 4, 2))
    new = Standardise.fit(images)({"x": images}, KEY)
    np.testing.assert_allclose(np.mean(new["x"], (0, 1, 2)), 0, atol=1e-5)
    expected = -20 * np.sum(np.log(images.std((0, 1, 2))))
    np.testing.assert_allclose(new["log_det"], expected, rtol=1e-5)


def test_scaled_uniform():
    x = np.arange(256)[:, None]
    new = Scale(256, -1.0, 1.0)({"x": x}, KEY)
    assert float(new["x"].min()) == -1 and float(new["x"].max()) == pytest.approx(1)
    density_of_scaled = np.log(1 / 2)  # if x is uniform on [0, 255]
    np.testing.assert_allclose(density_of_scaled + new["log_det"], -np.log(255), rtol=1e-6)
    np.testing.assert_allclose(Scale(256, -1.0, 1.0).inverse(new["x"]), x, atol=1e-4)


@pytest.mark.parametrize(
    "transform",
    [
        Logit(0.03),
        Scale(256, -0.7, 2.3),
        Standardise((0.3, -1.0, 2.0), (0.4, 1.5, 3.0)),
        Compose((Logit(0.01), Standardise((0.3, -1.0, 2.0), (0.4, 1.5, 3.0)))),
    ],
    ids=lambda t: type(t).__name__,
)
def test_log_det_is_that_of_the_jacobian(transform):
    for row in RNG.uniform(0.05, 0.95, (4, 3)).astype(np.float32):
        jacobian = jax.jacfwd(lambda x: transform({"x": x[None]}, KEY)["x"][0])(row)
        expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
        found = transform({"x": row[None]}, KEY)["log_det"][0]
        assert float(found) == pytest.approx(expected, abs=1e-4)


def test_log_det_accumulates():
    batch = {"x": BYTES, "log_det": np.full(50, 7.0, np.float32)}
    first = Dequantise()(batch, KEY)
    np.testing.assert_allclose(first["log_det"], 7 - 16 * np.log(256), rtol=1e-6)


def test_compose_gives_each_transform_its_own_key_and_inverts_in_reverse():
    twice = Compose((Binarise("dynamic"), Dequantise(2)))
    assert twice == Compose([Binarise("dynamic"), Dequantise(2)])
    new = twice({"x": BYTES}, KEY)
    bits = Binarise("dynamic")({"x": BYTES}, jax.random.fold_in(KEY, 0))["x"]
    np.testing.assert_array_equal(twice.inverse(new["x"]), bits)
    second = Dequantise(2)({"x": bits}, jax.random.fold_in(KEY, 1))["x"]
    np.testing.assert_array_equal(new["x"], second)
    pair = Compose((Scale(), Logit(0.1)))
    np.testing.assert_allclose(pair.inverse(pair({"x": BYTES}, KEY)["x"]), BYTES, atol=1e-2)


@pytest.mark.parametrize("transform", TABLE, ids=lambda t: type(t).__name__)
def test_apply_once_is_one_draw_for_all_batch_sizes(transform):
    arrays = {"x": BYTES, "label": np.arange(50, dtype=np.int32)}
    whole = apply_once(transform, arrays, seed=3)
    parts = apply_once(transform, arrays, seed=3, chunk=7)
    few = apply_once(transform, {key: array[:5] for key, array in arrays.items()}, seed=3)
    assert set(whole) == set(parts) == set(few)
    for key, array in whole.items():
        assert len(array) == 50
        np.testing.assert_array_equal(parts[key], array)
        np.testing.assert_array_equal(few[key], array[:5])
    np.testing.assert_array_equal(whole["label"], np.arange(50))


def test_apply_once_depends_on_the_seed_and_the_row():
    same = {"x": np.full((200, 8), 128, np.uint8)}
    first = apply_once(Binarise("dynamic"), same, seed=0)["x"]
    assert not np.array_equal(first, apply_once(Binarise("dynamic"), same, seed=1)["x"])
    assert len(np.unique(first, axis=0)) > 80  # rows are drawn apart: 256 possible rows
    assert abs(first.mean() - 128 / 255) < 0.07  # 5.6 standard errors


GREY17 = {"x": np.arange(17, dtype=np.uint8)[:, None]}
BITS = {"x": np.array([[0, 1]], np.uint8)}
UNIT = {"x": np.array([[0.0, 0.5]], np.float32)}


@pytest.mark.parametrize(
    ("transform", "arrays", "message"),
    [
        (Binarise("static"), {"x": BYTES}, "must be 0 or 1.*Name a binarisation"),
        (Binarise("static"), UNIT, "must be 0 or 1"),
        (Binarise("dynamic"), BITS, "take Binarise"),
        (Binarise("dynamic"), GREY17, "number of grey levels.*256 for values 0..16"),
        (Binarise("dynamic", levels=17), {"x": BYTES}, "number of grey levels"),
        (Binarise("dynamic"), {"x": np.array([[1.5]])}, r"floating point in \[0, 1\]"),
        (Binarise("dynamic"), {"x": np.array([[np.nan]])}, "finite"),
        (Dequantise(), UNIT, "integers of at least 0"),
        (Dequantise(), GREY17, "number of grey levels"),
        (Dequantise(), {"x": np.array([[-1, 200]])}, "integers of at least 0"),
        (Logit(), {"x": BYTES}, r"floating point in \[0, 1\]"),
        (Standardise((0.0,), (1.0,)), {"x": np.zeros((3, 2))}, "must have 1 columns"),
        (Compose((Dequantise(), Logit())), UNIT, "integers of at least 0"),
        (Compose(()), {"x": np.full((3, 2), np.nan)}, "must be finite"),
    ],
)
def test_check_refuses(transform, arrays, message):
    with pytest.raises(DataError, match=message):
        transform.check(arrays)
    with pytest.raises(DataError, match=message):
        apply_once(transform, arrays, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Binarise("dynamical"), "`mode` must be one of"),
        (lambda: Binarise("threshold", threshold=127), "`threshold` must be in"),
        (lambda: Dequantise(1), "`levels` must be in"),
        (lambda: Logit(0.5), "`alpha` must be in"),
        (lambda: Scale(low=1.0), "`low` must be below"),
        (lambda: Standardise((0.0,), (0.0,)), "`std` must be positive"),
        (lambda: Standardise((0.0, 1.0), (1.0,)), "as long as `mean`"),
        (lambda: Standardise.fit(np.ones((5, 2))), r"vary in every column; got \[0, 1\]"),
        (lambda: Standardise.fit(np.array([[np.inf], [0]])), "finite"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(DgmjaxError, match=message):
        make()


def test_together_transforms_other_arrays_alike():
    transform = Together(Scale(5, low=-1.0), ("context", "absent"))
    batch = {"x": np.array([[0], [4]], np.uint8), "context": np.array([[2], [3]], np.uint8)}
    made = transform(batch, jax.random.key(0))
    assert made["x"].tolist() == [[-1.0], [1.0]] and made["context"].tolist() == [[0.0], [0.5]]
    np.testing.assert_allclose(made["log_det"], np.log(0.5))
    assert transform.inverse(made["context"]).tolist() == [[2.0], [3.0]]
    transform.check(batch)
    with pytest.raises(DataError, match="`levels` must be the number of grey levels"):
        transform.check({**batch, "context": np.array([[2], [9]], np.uint8)})
    noisy = Together(Dequantise(4))
    zeros = {name: np.zeros((50, 3), np.uint8) for name in ("x", "context")}
    drawn = noisy(zeros, jax.random.key(0))
    assert bool((drawn["x"] != drawn["context"]).all())


def test_random_affine_maps_are_scipy_s():
    """The map of each image is read off two ramps, which it keeps straight away from the edge."""
    size = 41
    ramps = np.stack(np.mgrid[:size, :size], -1) + 100.0
    noise = RNG.random((size, size, 1))
    images = np.broadcast_to(np.concatenate([ramps, noise], -1), (5, size, size, 3))
    transform = RandomAffine(shift=3.0, angle=0.5, log_scale=0.2, shear=0.3)
    moved = np.asarray(transform({"x": images.astype(np.float32)}, KEY)["x"])
    inner = np.s_[14:27, 14:27]
    places = np.moveaxis(np.mgrid[:size, :size], 0, -1)[inner].reshape(-1, 2)
    places = np.concatenate([places - 20.0, np.ones((len(places), 1))], 1)
    for image in moved:
        found = np.linalg.lstsq(places, image[inner][..., :2].reshape(-1, 2) - 100.0)[0].T
        matrix, offset = found[:, :2], found[:, 2] - 20.0
        assert np.abs(offset).max() <= 3.0 + 1e-3 and np.abs(offset).max() > 0.1
        assert abs(np.log(np.linalg.det(matrix))) <= 0.4 + 1e-3
        assert abs(np.arctan2(matrix[1, 0], matrix[0, 0])) <= 0.5 + 1e-3
        shift = offset + 20.0 - matrix @ [20.0, 20.0]
        expected = ndimage.affine_transform(noise[..., 0], matrix, shift, order=1)[inner]
        np.testing.assert_allclose(image[inner][..., 2], expected, atol=2e-3)
    assert np.abs(moved[0] - moved[1]).max() > 0.1  # maps of their own


def test_whole_numbers_stay_whole_where_images_are_moved():
    moved = RandomAffine()({"x": BYTES}, KEY)["x"]
    assert moved.dtype == jnp.uint8
    same = RandomAffine(0.0, 0.0, 0.0, 0.0)({"x": BYTES}, KEY)["x"]
    np.testing.assert_array_equal(same, BYTES)


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (lambda: RandomAffine(shift=-1.0), "shift"),
        (lambda: RandomAffine(angle=np.nan), "angle"),
        (lambda: RandomAffine()({"x": np.ones((3, 4))}, KEY), "x"),
    ],
)
def test_affine_maps_of_other_things_are_named(wrong, argument):
    with pytest.raises(DgmjaxError, match=f"`{argument}` must be"):
        wrong()
