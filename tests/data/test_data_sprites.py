"""Sprites: their factors, against areas, centres and symmetries that are known."""

import json

import numpy as np
import pytest

from dgmjax.data import factor_grid, factor_values, load, render_sprites, validate
from dgmjax.errors import DataError

SIZES = (3, 2, 4, 3, 3)


@pytest.fixture(scope="module")
def grid():
    return load("sprites", splits={"train": 1.0}, sizes=SIZES)


def test_the_grid_is_exhaustive_and_no_image_occurs_twice(grid):
    arrays = grid.splits["train"]
    assert arrays["x"].shape == (216, 32, 32, 1) and arrays["x"].dtype == np.uint8
    assert len(np.unique(arrays["factors"], axis=0)) == 216 == np.prod(SIZES)
    assert len(np.unique(arrays["x"].reshape(216, -1), axis=0)) == 216
    np.testing.assert_array_equal(arrays["label"], arrays["factors"][:, 0])
    assert grid.info["factors"] == {"shape": 3, "scale": 2, "rotation": 4, "x": 3, "y": 3}
    json.dumps(grid.info)


def test_areas_and_centres_are_those_of_the_shapes():
    """Squares 1.96 s^2, ellipses pi s^2 / 2; the mean of x and y weighted by grey."""
    factors = factor_grid()[::37]
    values = factor_values(factors)
    images = render_sprites(**values, size=64)[..., 0] / 255.0
    areas = images.mean((1, 2)) / values["scale"] ** 2
    for shape, expected in ((0, 1.4**2), (1, 0.5 * np.pi)):
        np.testing.assert_allclose(areas[factors[:, 0] == shape], expected, rtol=0.03)
    points = (np.arange(64) + 0.5) / 64
    mass = images.sum((1, 2))
    symmetric = factors[:, 0] < 2
    x = (images * points).sum((1, 2)) / mass
    y = (images * points[:, None]).sum((1, 2)) / mass
    np.testing.assert_allclose(x[symmetric], values["x"][symmetric], atol=0.003)
    np.testing.assert_allclose(y[symmetric], values["y"][symmetric], atol=0.003)
    # Every sprite is whole: hearts of one scale have one area.
    hearts = (factors[:, 0] == 2) & (factors[:, 1] == 3)
    assert hearts.sum() > 10 and np.ptp(areas[hearts]) < 0.03 * areas[hearts].mean()


def test_rotation_turns_counter_clockwise_about_the_centre():
    turned = lambda angle, shape: render_sprites(np.array([shape]), 0.3, angle, 0.5, 0.5, size=32)[
        0, ..., 0
    ]
    for shape in (1, 2):
        quarter = np.rot90(turned(0.0, shape))
        assert np.abs(quarter.astype(int) - turned(np.pi / 2, shape)).mean() < 2.0
        assert np.abs(quarter.astype(int) - turned(-np.pi / 2, 2)).mean() > 2.0
    assert turned(0.0, 2)[:16].sum() > 1.1 * turned(0.0, 2)[16:].sum(), "a heart is wide above"


def test_without_antialiasing_pixels_are_binary():
    data = load("sprites", splits={"train": 1.0}, sizes=SIZES, antialias=False, size=16)
    arrays = data.splits["train"]
    validate(arrays, values="binary", shape=(16, 16, 1))
    grey = load("sprites", splits={"train": 1.0}, sizes=SIZES, size=16).splits["train"]["x"]
    agree = (grey > 127) == (arrays["x"] > 0)
    assert agree.mean() > 0.97


def test_splits_are_random_parts_of_the_grid():
    data = load("sprites", sizes=SIZES)
    assert data.info["split_sizes"] == {"train": 174, "validation": 21, "test": 21}
    rows = np.concatenate([part["factors"] for part in data.splits.values()])
    assert len(np.unique(rows, axis=0)) == 216


@pytest.mark.parametrize(
    "act, word",
    [
        (lambda: load("sprites", sizes=(4, 1, 1, 1, 1)), "sizes"),
        (lambda: load("sprites", sizes=(3, 4)), "sizes"),
        (lambda: load("sprites", sizes=SIZES, size=2), "size"),
        (lambda: render_sprites(3, 0.2, 0.0, 0.5, 0.5), "shape"),
        (lambda: render_sprites(0, 0.0, 0.0, 0.5, 0.5), "scale"),
        (lambda: render_sprites(np.zeros(2), 0.2, 0.0, 0.5, 0.5), "shape"),
    ],
)
def test_bad_input_is_named(act, word):
    with pytest.raises(DataError, match=f"^`{word}` must"):
        act()
