"""Figures show what they were given: pixels where they belong, labels, and no global state."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text

from dgmjax import plotting
from dgmjax.errors import DataError, DgmjaxError, RunError
from dgmjax.plotting.canvas import MODEL_COLOUR

RANDOM = np.random.default_rng(0)
BLACK, GREY = np.zeros((4, 4)), np.full((4, 4), 0.5)

FIGURES = {
    "image_grid": lambda: plotting.image_grid(RANDOM.uniform(size=(5, 8, 8)), columns=3),
    "image_grid_named": lambda: plotting.image_grid(
        RANDOM.uniform(size=(5, 8, 8)), 3, row_names=("truth", "m = 10"), column_names="abc"
    ),
    "image_grid_colour": lambda: plotting.image_grid(RANDOM.uniform(size=(5, 8, 8, 3))),
    "reconstructions": lambda: plotting.reconstructions(*RANDOM.uniform(size=(2, 20, 8, 8))),
    "latent_manifold": lambda: plotting.latent_manifold(RANDOM.uniform(size=(3, 4, 8, 8))),
    "traversals": lambda: plotting.traversals(RANDOM.uniform(size=(3, 4, 8, 8, 1))),
    "paths": lambda: plotting.paths(RANDOM.normal(size=(4, 5, 2))),
    "by_setting": lambda: plotting.by_setting([1, 2, 4], {"a": [3.0, 2.0, 1.0]}, "n", log=True),
    "compared": lambda: plotting.compared({"Lasso": [(4, 2.0), (1, 3.0)]}, "m", "error"),
    "scatter": lambda: plotting.scatter(RANDOM.normal(size=(50, 2)), RANDOM.normal(size=(9, 2))),
    "density": lambda: plotting.density(
        lambda x: -(x**2).sum(-1), (-2, 2, -1, 1), np.zeros((1, 2))
    ),
    "density_table": lambda: plotting.density_table(
        RANDOM.uniform(size=(2, 3, 8, 8)), ["data", "model"], ["a", "b", "c"]
    ),
    "curves": lambda: plotting.curves([{"step": i, "loss": 1.0, "kl": np.nan} for i in range(99)]),
}


def shown(figure):
    """The array that the figure's first axes show."""
    return np.asarray(figure.axes[0].images[0].get_array())


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_saved_as_png(tmp_path, name):
    plotting.save(FIGURES[name](), tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_plotting_uses_neither_pyplot_nor_jax_and_importing_it_costs_nothing():
    code = (
        "import sys, dgmjax.plotting as p\n"
        "assert 'matplotlib' not in sys.modules and 'numpy' not in sys.modules\n"
        "p.to_png(p.image_grid([[[0.0]]]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_image_grid_puts_each_image_in_its_place():
    values = np.arange(6) / 10
    mosaic = shown(plotting.image_grid(values[:, None, None] * np.ones((6, 40, 40)), columns=3))
    pitch = mosaic.shape[1] // 3
    centres = mosaic[pitch // 2 :: pitch, pitch // 2 :: pitch]
    np.testing.assert_allclose(centres, values.reshape(2, 3))


def test_grid_clips_magnifies_and_leaves_gaps_white():
    mosaic = shown(plotting.image_grid(np.array([BLACK - 5, BLACK + 5, BLACK]), columns=2))
    assert mosaic.min() == 0 and mosaic.max() == 1 and mosaic.shape[0] > 60
    assert mosaic[-10, -10] == 1  # no fourth image


def test_reconstructions_stand_below_the_data():
    mosaic = shown(plotting.reconstructions(np.array([BLACK] * 2), np.array([GREY] * 2)))
    height, width = mosaic.shape
    assert mosaic[height // 4, width // 4] == 0 and mosaic[3 * height // 4, 3 * width // 4] == 0.5


def test_manifold_has_its_smallest_second_coordinate_at_the_bottom():
    figure = plotting.latent_manifold(np.array([[BLACK, BLACK], [GREY, GREY]]), limits=(-3, 3))
    mosaic = shown(figure)
    height, width = mosaic.shape
    assert mosaic[height // 4, width // 4] == 0.5 and mosaic[3 * height // 4, width // 4] == 0
    axes = figure.axes[0]
    lowest = dict(zip((t.get_text() for t in axes.get_yticklabels()), axes.get_yticks()))
    assert lowest["-3"] > lowest["3"]  # pixel rows count downwards


def test_traversals_label_their_rows():
    axes = plotting.traversals(np.zeros((2, 3, 4, 4)), labels=["slant", "width"]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["slant", "width"]
    with pytest.raises(DgmjaxError, match="`labels` must be 2"):
        plotting.traversals(np.zeros((2, 3, 4, 4)), labels=["slant"])


def test_density_from_a_function_and_from_a_grid_agree_with_the_truth():
    def log_prob(x):
        return -0.5 * (x[:, 0] - 1) ** 2 - 2 * (x[:, 1] + 1) ** 2

    limits = (-2.0, 2.0, -2.0, 2.0)
    by_function = shown(plotting.density(log_prob, limits, resolution=41))
    side = np.linspace(-2, 2, 41)
    truth = -0.5 * (side[None, :] - 1) ** 2 - 2 * (side[:, None] + 1) ** 2
    np.testing.assert_allclose(by_function, np.exp(truth), rtol=1e-5)
    np.testing.assert_allclose(shown(plotting.density(truth, limits)), np.exp(truth))
    row, column = np.unravel_index(by_function.argmax(), by_function.shape)
    assert (side[column], side[row]) == pytest.approx((1, -1))


def test_curves_share_panels_and_leave_gaps():
    lines = [{"step": i, "train/loss": float(i), "rate": 0.1} for i in range(5)]
    lines += [{"step": 4, "validation/loss": float("inf")}]
    figure = plotting.curves(lines)
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["loss", "rate"]
    train, validation = panels["loss"].lines
    np.testing.assert_array_equal(train.get_xydata(), [[i, i] for i in range(5)])
    assert np.isnan(validation.get_ydata()).all()
    many = plotting.curves([{"step": i, "loss": 3.0} for i in range(200)], names=["loss"])
    np.testing.assert_allclose(many.axes[0].lines[1].get_ydata(), 3.0)


def test_training_and_validation_have_the_colours_that_the_report_names():
    """A trainer writes `loss`, and not `train/loss`."""
    lines = [{"step": i, "loss": 1.0, "validation/loss": 2.0, "rate": 0.1} for i in range(3)]
    train, validation = plotting.curves(lines).axes[0].lines
    assert (train.get_color(), validation.get_color()) == (MODEL_COLOUR, "#c8102e")
    names = [f"run {number}/loss" for number in range(9)]
    compared = plotting.curves([{"step": 1, **dict.fromkeys(names, 1.0)}])
    assert len({line.get_color() for line in compared.axes[0].lines}) == 9


def test_histograms_show_every_group():
    groups = {f"group {number}": np.arange(5.0) + number for number in range(8)}
    figure = plotting.histograms({"score": groups})
    assert len(figure.axes[0].get_legend().get_texts()) == 8
    with pytest.raises(DataError, match="`panels` must have at least one group"):
        plotting.histograms({"score": {}})


def test_bounds_have_the_error_of_their_means_and_the_gap_of_most_temperatures():
    low, high = [[-2.0, -4.0], [-9.0, -9.0]], [[-1.0, -3.0], [-1.0, -1.0]]
    figure = plotting.bounds_by_temperatures([1000, 10], low, high)
    assert "gap 1.00 nats" in figure.get_suptitle()
    half = figure.axes[0].collections[0].get_segments()[0][:, 1]
    assert np.ptp(half) / 2 == pytest.approx(np.std([-2, -4], ddof=1) / np.sqrt(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plotting.image_grid(np.zeros((4, 4))), r"`images`.*\(4, 4\)"),
        (lambda: plotting.image_grid(np.zeros((2, 4, 4, 2))), "1 or 3"),
        (lambda: plotting.image_grid(np.zeros((0, 4, 4))), "not empty"),
        (lambda: plotting.image_grid(np.full((1, 2, 2), np.nan)), "finite"),
        (lambda: plotting.reconstructions(np.zeros((1, 2, 2)), np.zeros((2, 2, 2))), "`x_hat`"),
        (lambda: plotting.latent_manifold(np.zeros((4, 4, 4))), r"\[rows, columns"),
        (lambda: plotting.scatter(np.zeros((5, 3))), r"`samples` must be \[N, 2\]"),
        (lambda: plotting.paths(np.zeros((5, 2))), r"`points` must be \[times, points, 2\]"),
        (lambda: plotting.by_setting([1, 2], {"a": [1.0]}, "n"), r"`values` must be \[S\]"),
        (lambda: plotting.compared({"a": [(1.0, 0.0)]}, "m", "error"), r"`a` must be \[S, 2\]"),
        (lambda: plotting.density(np.zeros(4), (0, 1, 0, 1)), "`log_prob`"),
        (lambda: plotting.curves([{"step": 1}]), "`metrics`"),
    ],
)
def test_refuses_bad_shapes(call, words):
    with pytest.raises(DataError, match=words):
        call()


def test_refuses_bad_arguments(tmp_path):
    with pytest.raises(DgmjaxError, match="`limits`"):
        plotting.density(np.zeros((2, 2)), (1, 0, 0, 1))
    with pytest.raises(DgmjaxError, match="`columns`"):
        plotting.image_grid(np.zeros((1, 2, 2)), columns=-1)
    with pytest.raises(DgmjaxError, match="`row_names` must be 2 or none; got 1"):
        plotting.image_grid(np.zeros((4, 8, 8)), 2, row_names=("one",))
    with pytest.raises(RunError, match="can be written"):
        plotting.save(plotting.image_grid(np.zeros((1, 2, 2))), tmp_path / "absent" / "x.png")


def test_a_table_of_densities_has_every_picture_in_its_place():
    pictures = RANDOM.uniform(size=(2, 3, 4, 4))
    figure = plotting.density_table(pictures, ["data", "model"], ["a", "b", "c"])
    for axes, picture in zip(figure.axes, pictures.reshape(-1, 4, 4)):
        np.testing.assert_array_equal(axes.images[0].get_array(), picture)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a", "b", "c"]
    assert [figure.axes[i].get_ylabel() for i in (0, 3)] == ["data", "model"]
    with pytest.raises(DgmjaxError, match="columns"):
        plotting.density_table(pictures, ["data", "model"], ["a"])


def test_names_of_a_grid_stand_beside_its_rows_and_above_its_columns():
    rows, columns = ["truth", "Lasso, wavelets m=25", "CSGM m=25"], ["test", "0"]
    figure = plotting.image_grid(np.zeros((6, 8, 8)), 2, row_names=rows, column_names=columns)
    axes, (height, width) = figure.axes[0], shown(figure).shape
    assert [label.get_text() for label in axes.get_yticklabels()] == rows
    assert [label.get_text() for label in axes.get_xticklabels()] == columns
    np.testing.assert_allclose(axes.get_yticks(), height * np.array([1, 3, 5]) / 6)
    np.testing.assert_allclose(axes.get_xticks(), width * np.array([1, 3]) / 4)
    figure.canvas.draw()
    for label in (*axes.get_yticklabels(), *axes.get_xticklabels()):
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.y1 <= figure.bbox.y1, label.get_text()
    # The height of many rows bounds the picture, which must not be in the way of its names.
    many = [f"Lasso, wavelets m={300 + row}" for row in range(11)]
    high = plotting.image_grid(np.zeros((110, 8, 8)), 10, row_names=many)
    high.canvas.draw()
    assert all(label.get_window_extent().x0 >= 0 for label in high.axes[0].get_yticklabels())


@pytest.mark.parametrize("name", ["a$b_$", "$a^$", "US$ and $^$", "$x_1$"])
def test_dollars_in_names_are_no_formulas_unless_the_name_is_one(name):
    records = [{"step": i, name: float(i)} for i in range(9)]
    figures = [
        plotting.image_grid(np.zeros((2, 4, 4)), 2, name, column_names=(name, "b")),
        plotting.by_setting([1, 2, 4], {name: [3.0, 2.0, 1.0]}, name, log=True),
        plotting.curves(records),
    ]
    for figure in figures:
        plotting.to_png(figure)
        spelt = (name, name.replace("_", " "))  # of a metric
        plain = [t for t in figure.findobj(Text) if any(s in t.get_text() for s in spelt)]
        assert plain and all(t.get_parse_math() == (name == "$x_1$") for t in plain)


def test_a_row_of_named_columns_may_have_fewer_pictures():
    figure = plotting.image_grid(np.zeros((3, 4, 4)), 5, column_names="abcde")
    full = plotting.image_grid(np.zeros((5, 4, 4)), 5, column_names="abcde")
    assert shown(figure).shape == shown(full).shape
    assert figure.axes[0].get_xlim() == full.axes[0].get_xlim()
    assert shown(plotting.image_grid(np.zeros((3, 4, 4)), 5)).shape[1] < shown(full).shape[1]
