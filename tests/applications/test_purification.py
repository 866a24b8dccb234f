"""Purified images against the greedy choice by hand."""

import jax
import numpy as np
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import models
from dgmjax.applications import purify
from dgmjax.distributions.families import Bernoulli, Categorical, Normal
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
LEVELS, LEVELLED, X = 5, Categorical(5), np.array([[0, 1, 2, 4], [3, 0, 4, 4]], np.int32)


def density(method="incremental", reverse=False, family=LEVELLED):
    """A distribution of four sites with scrambled parameters."""
    ordering = (3, 1, 0, 2) if reverse else "natural"
    module = models.MADE((4,), (8,), family, ordering=ordering, sampling=method)
    zeros = np.zeros((1, 4), np.float32)
    variables = perturbed(compiled_start(module, KEY, zeros, method="log_prob"), scale=1.0)
    return module.bind(variables)()


def by_hand(p, x, radius):
    """One number after the other, by the probability of what is complete up to it."""
    places = np.arange(4) if p.ordering is None else np.asarray(p.ordering)
    found = np.zeros(4, np.float32)
    for place in places:
        window = [v for v in range(LEVELS) if abs(v - x[place]) <= radius]
        scores = []
        for v in window:
            found[place] = v
            params = p.params(p._reordered(found, p.ordering))
            site = int(np.flatnonzero(places == place)[0])
            scores.append(float(p.family(params[site]).log_prob(v)))
        found[place] = window[int(np.argmax(scores))]
    return found


@pytest.mark.staggered(of=2)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", ["incremental", "naive", "jacobi"])
def test_each_site_is_the_most_probable_of_its_interval(method, reverse):
    p = density(method, reverse)
    for radius in (0, 1, 4):
        found = np.asarray(jax.jit(lambda x, r=radius: purify(p, x, r))(X))
        assert found.dtype == X.dtype
        np.testing.assert_array_equal(found, [by_hand(p, x, radius) for x in X])
        assert np.abs(found - X).max() <= radius
    np.testing.assert_array_equal(purify(p, X, 0), X)


def test_two_levels_are_levels():
    p = density(family=Bernoulli())
    assert set(np.unique(purify(p, np.ones((2, 4), np.uint8), 1))) <= {0, 1}


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: purify(density(family=Normal()), X, 1), "`density`"),
        (lambda: purify(density(), X, 0.1), "`radius`"),
        (lambda: purify(density(), X, 5), "`radius`"),
        (lambda: purify(density(), X[:, :3], 1), "`x` must end"),
        (lambda: purify(density(), X / 4.0, 1), "`x` must hold"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(DgmjaxError, match=f"^{message}"):
        act()
