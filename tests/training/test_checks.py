"""Data that a model cannot take are refused before anything is compiled, with the remedy."""

from functools import partial

import jax
import numpy as np
import optax
import pytest
from fitting import fit

from dgmjax import data, models, nn, objectives
from dgmjax.distributions import families
from dgmjax.errors import DataError
from dgmjax.training import Player, gradient_learner
from dgmjax.training.checks import check_training_data

GREY = np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)
VAE = models.DenseVAE((4, 4, 1), latent=2, hidden=(4,))


def train(x, transform=None, module=VAE):
    objective = objectives.elbo if module is VAE else objectives.negative_log_likelihood
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(0.1))})
    fit(
        learner,
        {"x": x},
        key=jax.random.key(0),
        steps=1,
        batch_size=2,
        transform=transform,
    )


@pytest.mark.parametrize(
    "x, transform",
    [
        (GREY, None),
        (GREY / np.float32(63), data.Identity()),
        (GREY, data.Binarise("static")),
        (GREY, data.Scale(levels=64)),
    ],
)
def test_grey_values_for_a_bernoulli_likelihood_need_a_binarisation(x, transform):
    with pytest.raises(DataError, match="binarisation"):
        train(x, transform)


def test_named_binarisation_is_taken():
    train(GREY, data.Binarise("dynamic", levels=64))
    train((GREY > 30).astype(np.uint8), data.Binarise("static"))


def test_nan_is_refused():
    x = np.zeros((4, 2), np.float32)
    x[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        train(x, module=models.MAF(2, 1, (4,)))


def test_levels_outside_the_family_are_refused():
    made = models.MADE((2,), (4,), family=families.Categorical(4))
    with pytest.raises(DataError, match=r"0 \.\. 3"):
        train(np.full((4, 2), 4.0, np.float32), module=made)
    with pytest.raises(DataError, match=r"0 \.\. 3"):
        train(np.full((4, 2), 0.5, np.float32), module=made)


def codes(*shape):
    return np.arange(np.prod(shape)).reshape(shape) % 2


IMAGES = codes(300, 4, 4, 1).astype(np.float32)
CLASSES, LAST = np.arange(300) % 3, np.arange(300) == 299
MULTIMODAL = models.ImageLabelVAE((4, 4, 1), 3, 2, (4,))
CONDITIONAL = models.DenseCVAE((4, 4, 1), 2, (4,), num_classes=3)
BY_CONTEXT = models.DenseCVAE((4, 4, 1), 2, (4,))
CLASS_DENSITY = models.ClassConditional(models.MADE((4,), (8,), context_features=3), 3)
GIVEN_CONTEXT = models.MADE((4,), (8,), context_features=3)
PADDED = {"x": codes(300, 3, 2), "length": np.arange(300) % 3 + 1}
STEPS = {"x": PADDED["x"], "observed": np.arange(3) < PADDED["length"][:, None]}
ROWS = {"x": codes(300, 4), "label": CLASSES, "length": np.arange(300) % 5}
# name -> module, objective, data that fit it
READING_MORE = {
    "multimodal": (
        MULTIMODAL,
        objectives.elbo,
        # Of the first row the image is missing, of the last the class: they may be anything.
        {
            "x": np.where(LAST[::-1, None, None, None], 0.5, IMAGES),
            "label": np.where(LAST, -1, CLASSES),
            "present": 1 - np.stack([LAST[::-1], LAST], -1),
        },
    ),
    "conditional": (CONDITIONAL, objectives.elbo, {"x": IMAGES, "label": CLASSES}),
    "context": (BY_CONTEXT, objectives.elbo, {"x": IMAGES, "context": np.eye(3)[CLASSES]}),
    "baseline": (
        models.WithBaseline(CONDITIONAL, nn.MLP((4,), (1,), event_ndims=3)),
        objectives.reinforce,
        {"x": IMAGES, "label": CLASSES},
    ),
    "wrapped": (models.WithControlVariate(VAE), objectives.elbo, {"x": IMAGES}),
    "vrnn": (models.VRNN((3, 2), 2, 4), objectives.elbo, PADDED),
    "steps": (models.VRNN((3, 2), 2, 4), objectives.elbo, STEPS),
    "classes": (CLASS_DENSITY, objectives.padded_sequence_nll, ROWS),
    "density": (
        GIVEN_CONTEXT,
        objectives.negative_log_likelihood,
        {"x": ROWS["x"], "context": np.eye(3)[CLASSES]},
    ),
    "missing": (
        models.DenseVAE((4,), 2, (4,)),
        objectives.miwae,
        {"x": ROWS["x"], "observed": codes(300, 4)},
    ),
}


def last(array, value):
    """The array with another last row, as what holds the value."""
    array = np.array(array, np.result_type(array, np.asarray(value).dtype))
    array[-1] = value
    return array


@pytest.mark.parametrize("name", READING_MORE)
def test_data_that_fit_are_taken(name):
    module, objective, arrays = READING_MORE[name]
    check_training_data(module, arrays, None)
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(0.1))})
    state = jax.eval_shape(learner.init, jax.random.key(0), arrays)
    assert jax.eval_shape(learner.step, state, arrays)[1]["loss"].shape == ()


@pytest.mark.parametrize(
    "name, key, change",
    [
        ("multimodal", "x", partial(last, value=0.5)),
        ("multimodal", "label", lambda a: np.where(LAST, -1, 7)),
        ("multimodal", "present", partial(last, value=2)),
        ("multimodal", "present", partial(last, value=np.nan)),
        ("multimodal", "present", lambda a: a[:, :1]),
        ("multimodal", "label", lambda a: np.eye(3)[CLASSES]),
        ("conditional", "x", partial(last, value=0.5)),
        ("conditional", "label", partial(last, value=7)),
        ("conditional", "label", partial(last, value=-1)),
        ("conditional", "label", partial(last, value=1.5)),
        ("conditional", "label", partial(last, value=np.nan)),
        ("conditional", "label", lambda a: np.eye(3)[a]),
        ("conditional", "label", lambda a: a.astype(str)),
        ("conditional", "data", lambda a: a[:-1]),
        ("context", "context", partial(last, value=np.inf)),
        ("context", "context", lambda a: a[:, :0]),
        ("baseline", "label", partial(last, value=3)),
        ("wrapped", "x", partial(last, value=0.5)),
        ("vrnn", "length", partial(last, value=9)),
        ("vrnn", "length", partial(last, value=-1)),
        ("vrnn", "length", lambda a: a[:, None]),
        ("steps", "observed", partial(last, value=[1, 0, 1])),
        ("steps", "observed", partial(last, value=[1, np.nan, 0])),
        ("steps", "observed", lambda a: a[:, :2]),
        ("classes", "x", partial(last, value=0.5)),
        ("classes", "label", partial(last, value=3)),
        ("classes", "label", lambda a: np.eye(3)[a]),
        ("classes", "length", partial(last, value=5)),
        ("density", "context", partial(last, value=np.nan)),
        ("missing", "observed", partial(last, value=2)),
        ("missing", "observed", partial(last, value=np.nan)),
    ],
)
def test_data_that_do_not_fit_are_refused_by_name(name, key, change):
    module, objective, arrays = READING_MORE[name]
    changed = "label" if key == "data" else key
    bad = {**arrays, changed: change(arrays[changed])}
    learner = gradient_learner(module, {"model": Player(objective, optax.sgd(0.1))})
    with pytest.raises(DataError, match=f"^`{key}` must"):
        fit(learner, bad, key=jax.random.key(0), steps=1, batch_size=2)


def test_what_a_transform_makes_is_checked_and_the_rest_is_too():
    grey = {"x": np.arange(300 * 16, dtype=np.uint8).reshape(300, 4, 4, 1), "label": CLASSES}
    binarise = data.Binarise("dynamic", levels=256)
    check_training_data(CONDITIONAL, grey, binarise)
    with pytest.raises(DataError, match="binarisation"):
        check_training_data(CONDITIONAL, grey, data.Scale(levels=256))
    with pytest.raises(DataError, match=r"^`label` must hold the integers 0 \.\. 2; got .* and 3"):
        check_training_data(CONDITIONAL, {**grey, "label": last(CLASSES, 3)}, binarise)


def test_arrays_that_hold_no_numbers_are_named():
    arrays = {"x": np.zeros((4, 3), np.float32), "name": np.array(["a", "b", "c", "d"])}
    with pytest.raises(DataError, match=r"^`name` must hold numbers; got dtype <U1"):
        check_training_data(models.PPCA(3, 1), arrays, None)


@pytest.mark.parametrize("dtype, far", [(np.int64, 2**40), (np.uint64, 2**33), (np.float64, 1e39)])
@pytest.mark.parametrize("name", ["x", "identity"])
def test_numbers_beyond_32_bits_are_named(name, dtype, far):
    """Devices would hold 2^40 as 0, and 10^39 as infinity."""
    arrays = {"x": np.zeros((4, 3), np.float32)} | {name: np.full((4, 3), far, dtype)}
    with pytest.raises(DataError, match=rf"^`{name}` must be in .*, since devices hold 32 bits"):
        check_training_data(models.PPCA(3, 1), arrays, None)
    with jax.enable_x64(True):
        check_training_data(models.PPCA(3, 1), arrays, None)
    check_training_data(models.PPCA(3, 1), arrays | {name: np.full((4, 3), 7, dtype)}, None)
