"""Figures of a latent space, drawn for a small trained VAE and looked at by their pixels."""

from statistics import NormalDist

import jax
import numpy as np
import pytest

from dgmjax import data, models, plotting
from dgmjax.errors import DgmjaxError
from dgmjax.evaluation import active_units, dimension_rates
from dgmjax.lab import Trained, catalogue, latent_figures
from dgmjax.plotting import to_png


def untrained(name, **arguments):
    experiment = catalogue.build(catalogue.load_experiment(name), {"tiny": True, **arguments})
    learner = experiment.learner()
    x = np.float32(experiment.dataset.splits["train"]["x"][:4] > 7)
    return Trained(experiment, learner, jax.jit(learner.init)(jax.random.key(0), {"x": x}))


@pytest.fixture(scope="module")
def trained():
    return untrained("vae_digits")


@pytest.mark.staggered
@pytest.mark.parametrize(
    "name", ["traversals", "interpolations", "posterior_scatter", "kl_per_dimension"]
)
def test_figures_are_drawn(trained, name):
    figure = getattr(latent_figures, name)(trained)
    assert to_png(figure).startswith(b"\x89PNG")
    assert trained.experiment.model in figure.get_suptitle()


def test_interpolations_begin_and_end_at_the_codes_of_the_data(trained):
    means = latent_figures._codes(trained, 4)
    ends = np.asarray(trained.call(latent_figures._decoded, means))
    assert ends.shape[0] == 4 and np.abs(ends[0] - ends[1]).max() > 1e-4


def test_scatter_shows_each_class_and_a_latent_plane_as_it_is():
    plane = untrained("vae_digits", latent=2)
    axes = latent_figures.posterior_scatter(plane).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [name.strip("$").removeprefix("\\mathdefault{").strip("}") for name in names] == [
        str(digit) for digit in range(10)
    ]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), latent_figures._codes(plane, 179))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


def test_manifold_decodes_the_quantiles_of_the_unit_square():
    """The lowest row of pictures is the smallest z_2; the ends are the outermost quantiles."""
    plane = untrained("vae_digits", latent=2)
    figure = latent_figures.manifold(plane, size=4)
    line = [NormalDist().inv_cdf(p) for p in (0.125, 0.375, 0.625, 0.875)]
    corner = np.array([[line[-1], line[0]]], np.float32)  # bottom right
    truth = np.asarray(plane.call(latent_figures._decoded, corner))[0, ..., 0]
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    shown = mosaic[-35:-3, -35:-3][::4, ::4]  # 8x8 pixels, each magnified to 4x4, gaps of 3
    np.testing.assert_allclose(shown, truth, rtol=1e-5)
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["-1.15", "1.15"]


def test_bars_of_kl_are_sorted_and_count_the_active(trained):
    figure = latent_figures.kl_per_dimension(trained)
    arrays, key = trained.arrays("test"), jax.random.key(0)
    _, metrics = dimension_rates(trained.model, {"x": arrays["x"]}, key)
    expected = np.sort(np.asarray(metrics["dimension_kl"]).mean(0))[::-1]
    bars = sorted(figure.axes[0].patches, key=lambda bar: bar.get_x())
    np.testing.assert_allclose([bar.get_height() for bar in bars], expected, rtol=1e-3)
    units = active_units(trained.model.posterior(arrays["x"]).mean())
    assert figure.get_suptitle().endswith(f", {units} of 16 active")


def test_bars_are_coloured_by_activity():
    figure = plotting.kl_bars([0.1, 2.0, 1.0], [False, True, False])
    axes = figure.axes[0]
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    assert [bar.get_height() for bar in bars] == [2.0, 1.0, 0.1]
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] != colours[1] == colours[2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "0"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["active", "not active"]
    assert figure.get_suptitle() == "KL per dimension, 1 of 3 active"
    for rates, active, word in (([], [], "rates"), ([np.nan], [1], "rates"), ([1.0], [], "active")):
        with pytest.raises(DgmjaxError, match=f"^`{word}` must be"):
            plotting.kl_bars(rates, active)


COMMON = {"means", "samples", "reconstructions", "data"}
VECTOR = COMMON | {"traversals", "interpolations"}
GREY = np.zeros((4, 4, 4, 1), np.float32)
LABEL = np.arange(4)


@pytest.mark.parametrize(
    "module, arrays, expected",
    [
        (models.DenseVAE((4, 4, 1), 3, (4,)), {"x": GREY}, VECTOR | {"kl_per_dimension"}),
        (
            models.DenseVAE((4, 4, 1), 2, (4,)),
            {"x": GREY, "label": LABEL},
            VECTOR | {"kl_per_dimension", "manifold", "posterior_scatter"},
        ),
        (
            models.DenseVAE((4, 4, 1), 1, (4,)),
            {"x": GREY, "label": LABEL},
            VECTOR | {"kl_per_dimension"},
        ),
        (
            models.DenseVAE((4, 4, 1), 3, (4,), prior_model=models.NormalMixture(3, 5)),
            {"x": GREY},
            VECTOR | {"components"},
        ),
        (models.DenseHierarchicalVAE((4, 4, 1), (3, 2), ((4,), (4,))), {"x": GREY}, COMMON),
        (models.DRAW((4, 4, 1), 2, 3, 4), {"x": GREY}, COMMON),
        (
            models.DenseCVAE((4, 4, 1), 3, (4,), num_classes=2),
            {"x": GREY, "label": LABEL},
            COMMON - {"reconstructions"},
        ),
        (models.DenseVAE((5,), 3, (4,)), {"x": np.zeros((4, 5))}, {"kl_per_dimension"}),
        (models.RealNVP(2, layers=2, hidden=(4,)), {"x": np.zeros((4, 2))}, set()),
    ],
    ids=["vector", "plane", "line", "mixture", "chain", "draw", "conditional", "rows", "flow"],
)
def test_a_model_gets_the_figures_it_supports(module, arrays, expected):
    dataset = data.Dataset("rows", {"train": arrays, "test": arrays}, {})
    assert set(latent_figures.supported(module, dataset)) == expected


def test_of_many_components_the_heaviest_are_shown():
    mixed = untrained("vae_priors_mnist", prior="mixture", components=5)
    weights = np.array([0.0, 3.0, 1.0, 2.0, -1.0], np.float32)
    (name,) = (name for name, part in mixed.state.params.items() if "logits" in part)
    part = {**mixed.state.params[name], "logits": weights}
    mixed.state = mixed.state.replace(params={**mixed.state.params, name: part})
    figure = latent_figures.components(mixed, each=2, rows=3)
    assert "(3 of 5)" in figure.get_suptitle()
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    assert mosaic.shape == (3 * 35 + 3, 2 * 35 + 3)
    key = jax.random.key(latent_figures.FIGURE_SEED)
    z = mixed.model.prior().components.sample(seed=key, sample_shape=(2,))
    pictures = np.asarray(mixed.call(latent_figures._decoded, z))[0, ..., 0]
    for row, component in enumerate((1, 2, 3)):
        shown = mosaic[3 + 35 * row :, 3:][:32, :32][::4, ::4]
        np.testing.assert_allclose(shown, pictures[component], rtol=1e-4)


def test_scatter_needs_labels(trained):
    del trained.arrays("test")["label"]
    with pytest.raises(DgmjaxError, match=r"^`dataset` must have labels"):
        latent_figures.posterior_scatter(trained)


def test_each_row_shows_one_component_of_a_mixture_prior(trained):
    with pytest.raises(DgmjaxError, match="mixture"):
        latent_figures.components(trained)
    mixed = untrained("vae_clusters_mnist", pretrain_epochs=0)
    drawn = mixed.model.prior().components.sample(
        seed=jax.random.key(latent_figures.FIGURE_SEED), sample_shape=(3,)
    )
    pictures = np.asarray(mixed.call(latent_figures._decoded, np.asarray(drawn)[:, 4]))
    mosaic = latent_figures.components(mixed, each=3).axes[0].images[0].get_array()
    pitch = mosaic.shape[0] // 10
    row = np.asarray(mosaic)[4 * pitch : 5 * pitch]
    means = [part.mean() for part in np.array_split(row, 3, axis=1)]
    order = np.argsort(pictures.reshape(3, -1).mean(1))
    assert np.array_equal(np.argsort(means), order)
