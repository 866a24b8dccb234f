"""Samples of an ensemble of orderings: each row has an ordering of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import applied, compiled_start, perturbed

from dgmjax import models

KEY = jax.random.key(0)
NUM, ERROR_RATE = 20_000, 1e-6
CUBE = jnp.asarray(np.unravel_index(np.arange(8), (2, 2, 2))).T.astype(jnp.float32)
MODELS = {
    "made": (models.MADE((3,), (6,), num_orders=4), None),
    "nade": (models.NADE((3,), 4, num_orders=3, ordering="random"), None),
    "context": (models.MADE((3,), (6,), num_orders=4, context_features=2), jnp.ones((1, 2))),
}


def scrambled(module, context):
    variables = compiled_start(module, KEY, jnp.zeros((2, 3)), context, method="log_prob")
    return perturbed(variables, seed=3, scale=1.5)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", MODELS)
def test_rows_of_one_call_follow_the_mixture_of_the_orders(name):
    """Frequencies of the 8 events, and of pairs of neighbouring rows, by chi-squared tests."""
    module, context = MODELS[name]
    variables = scrambled(module, context)
    draw = jax.jit(lambda v: module.apply(v, KEY, (NUM,), context, method="sample"))
    x = np.asarray(draw(variables)).reshape(NUM, 3)
    log_p = applied(module, variables, CUBE, context, method="log_prob")
    p = np.exp(np.asarray(log_p, np.float64))
    assert p.sum() == pytest.approx(1.0, abs=1e-5)
    p /= p.sum()
    index = (x @ np.array([4, 2, 1])).astype(int)
    counts = np.bincount(index, minlength=8)
    assert scipy.stats.chisquare(counts, NUM * p).pvalue > ERROR_RATE
    pairs = np.bincount(8 * index[::2] + index[1::2], minlength=64)
    expected = NUM / 2 * np.outer(p, p).ravel()
    assert scipy.stats.chisquare(pairs, expected).pvalue > ERROR_RATE
    log_one = module.apply(variables, CUBE, context, 0, method="log_prob")
    one = np.exp(np.asarray(log_one, np.float64))
    assert scipy.stats.chisquare(counts, NUM * one / one.sum()).pvalue < ERROR_RATE


def test_one_sample_and_a_given_order_are_drawn_as_before():
    module, _ = MODELS["made"]
    bound = module.bind(scrambled(module, None))
    order_key, key = jax.random.split(KEY)
    order = jax.random.randint(order_key, (), 0, 4)
    np.testing.assert_array_equal(bound.sample(KEY, ()), bound(None, order).sample(seed=key))
    single = models.MADE((3,), (6,))
    bound = single.bind(scrambled(single, None))
    expected = bound().sample(seed=KEY, sample_shape=(5,))
    np.testing.assert_array_equal(bound.sample(KEY, (5,)), expected)


def test_rows_of_an_order_are_those_of_its_distribution():
    module, _ = MODELS["made"]
    bound = module.bind(scrambled(module, None))
    order_key, key = jax.random.split(KEY)
    orders = jax.random.randint(order_key, (2, 3), 0, 4)
    x = bound.sample(KEY, (2, 3))
    for row in np.ndindex(2, 3):
        of_order = bound(None, int(orders[row])).sample(seed=key, sample_shape=(2, 3))
        np.testing.assert_array_equal(x[row], of_order[row])
    made = compiled_start(module, KEY, KEY, (2,), method="sample")
    wanted = compiled_start(module, KEY, jnp.zeros((2, 3)), method="log_prob")
    assert jax.tree.structure(made) == jax.tree.structure(wanted)
