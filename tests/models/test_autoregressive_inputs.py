"""What an autoregressive model is given that it cannot use is named at its boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax import models, objectives
from dgmjax.distributions import Categorical, families
from dgmjax.errors import DataError, DgmjaxError

KEY, X = jax.random.key(0), jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 4)), float)
CHANNELS = families.DiscretisedLogisticMixture(2, levels=4, channels=3)
CONTEXTUAL = models.NADE((4,), 3, context_features=2, num_orders=3)
BY_CLASS = models.ClassConditional(models.NADE((4,), 3, context_features=3), 3)


def scored(model, *given, x=X, **options):
    """log p(x) with scrambled parameters."""
    variables = compiled_start(model, KEY, X[:, : model.event_shape[0]], *given, method="log_prob")
    noise = np.random.default_rng(1)
    variables = jax.tree.map(lambda a: a + noise.normal(size=a.shape), variables)
    return model.apply(variables, x, *given, method="log_prob", **options)


@pytest.mark.staggered
@pytest.mark.parametrize("recipe", [models.MADE, models.NADE, models.FVSBN])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, list])
def test_orderings_may_be_arrays(recipe, kind):
    arrays = recipe((4,), ordering=kind([2, 0, 3, 1]))
    np.testing.assert_array_equal(scored(arrays), scored(recipe((4,), ordering=(2, 0, 3, 1))))


@pytest.mark.parametrize(
    "act, argument, given",
    [
        (lambda: scored(models.NADE((4,), 3, ordering=None)), "ordering", "None"),
        (lambda: scored(models.MADE((4,), ordering=5)), "ordering", "5"),
        (lambda: scored(models.MADE((4,), ordering=(0, 1, 1, 3))), "ordering", "1 twice"),
        (lambda: scored(models.NADE((4,), 3, num_orders=2), order=2), "order", "2"),
        (lambda: scored(models.NADE((4,), 3), order=-1), "order", "-1"),
        (lambda: scored(models.NADE((4,), 3, num_orders=2), order=1.0), "order", "1.0"),
        (lambda: scored(CONTEXTUAL, jnp.ones((2, 2))), "context", r"\(2, 2\)"),
        (lambda: scored(CONTEXTUAL, jnp.ones(())), "context", r"\(\)"),
        (lambda: scored(models.MADE((4,), family=CHANNELS)), "family", "Discretised"),
        (lambda: scored(models.NADE((4,), family=CHANNELS)), "family", "Discretised"),
        (lambda: models.WaveNet((4,), layers=3), "layers", "3"),
        (lambda: models.WaveNet((4,), local_features=-1), "local_features", "-1"),
        (lambda: BY_CLASS.bind({}).context(3), "label", "3"),
        (lambda: BY_CLASS.bind({}).context(jnp.array([0.5, 1.0])), "label", "0.5"),
        (lambda: BY_CLASS.bind({}).complete(KEY, X[0]), "context", "none"),
        (lambda: Categorical(jnp.zeros(3)).sample(seed=0, sample_shape=-1), "sample_shape", "-1"),
    ],
)
def test_what_a_model_cannot_use_is_named(act, argument, given):
    with pytest.raises(DgmjaxError, match=rf"^`{argument}` must .*; got .*{given}"):
        act()


@pytest.mark.parametrize("missing", ["length", "label"])
def test_a_batch_of_sequences_without_its_lengths_or_labels(missing):
    batch = {"x": X, "length": jnp.full(3, 4), "label": jnp.zeros(3, int)}
    del batch[missing]
    with pytest.raises(DataError, match=f"^`batch` must hold `{missing}`"):
        objectives.padded_sequence_nll(BY_CLASS.bind({}), batch)


def test_an_ensemble_over_orderings_is_trained_with_a_context():
    batch = {"x": X, "context": jnp.asarray(np.random.default_rng(2).normal(size=(3, 2)))}
    variables = compiled_start(CONTEXTUAL, KEY, X, batch["context"], method="log_prob")
    noise = np.random.default_rng(1)
    variables = jax.tree.map(lambda a: a + noise.normal(size=a.shape), variables)
    loss, metrics = applied(CONTEXTUAL, variables, batch, KEY, method=objectives.sampled_ordering)
    mask = int(metrics["order"])
    own = applied(CONTEXTUAL, variables, X, batch["context"], method="log_prob", order=mask)
    np.testing.assert_allclose(loss, -own, rtol=1e-6)


def test_a_completion_given_a_class_keeps_what_was_observed():
    variables = compiled_start(BY_CLASS, KEY, X, method="log_prob")
    noise = np.random.default_rng(1)
    variables = jax.tree.map(lambda a: a + noise.normal(size=a.shape), variables)
    model, mask = BY_CLASS.bind(variables), jnp.array([True, True, False, False])
    drawn = model.complete(KEY, X[0], mask, context=model.context(2), sample_shape=(500,))
    np.testing.assert_array_equal(drawn[:, :2], np.broadcast_to(X[0, :2], (500, 2)))
    rest = jnp.asarray([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)])
    whole = jnp.concatenate([jnp.broadcast_to(X[0, :2], (4, 2)), rest], -1)
    expected = jax.nn.softmax(model.log_prob(whole, model.context(2)))
    found = np.bincount(np.asarray(2 * drawn[:, 2] + drawn[:, 3], int), minlength=4) / 500
    error = 4.5 * np.sqrt(np.asarray(expected * (1 - expected)) / 500)
    assert (np.abs(found - expected) < error + 1e-3).all()


def test_no_rows_of_a_logistic_mixture():
    model = models.PixelCNNPlusPlus((2, 2, 3), CHANNELS, features=2, blocks=2)
    shape = jax.eval_shape(
        lambda: model.init_with_output(KEY, jnp.zeros((0, 2, 2, 3)), method="log_prob")[0]
    )
    assert shape.shape == (0,)


def test_values_between_categories_have_no_probability():
    value = jnp.array([jnp.nan, -0.5, 0.0, 1.5, 2.0, 3.0])
    found = Categorical(jnp.zeros(3)).log_prob(value)
    inside = np.array([0, 0, 1, 0, 1, 0], bool)
    np.testing.assert_allclose(found, np.where(inside, -np.log(3.0), -np.inf), rtol=1e-6)
