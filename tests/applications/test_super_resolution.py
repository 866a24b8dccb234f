"""Low resolutions of images and of sound, the two terms of the loss, and baselines by counting."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dgmjax.experiments.applications.super_resolution_mnist import uniform_given_counts
from dgmjax.experiments.applications.super_resolution_speech import table_of_codes
from dgmjax.experiments.shared.super_resolution import BlockCounts, HalfRate, both_terms
from scipy.special import comb
from scrambling import compiled_start

from dgmjax import models, nn
from dgmjax.data import audio
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def test_counts_of_blocks_and_their_entropy():
    x = (RNG.random((5, 4, 6, 1)) < 0.4).astype(np.float32)
    reduce = BlockCounts((4, 6, 1), 2)
    y = np.asarray(reduce(x))
    np.testing.assert_array_equal(y[..., 0], x.reshape(5, 2, 2, 3, 2).sum((2, 4)))
    np.testing.assert_array_equal(reduce.spread(y)[:, 1::2, ::2, 0], y[..., 0] / 4)
    trained = SimpleNamespace(experiment=SimpleNamespace(module=SimpleNamespace(reduce=reduce)))
    found = uniform_given_counts(2, trained, {"x": x})
    assert found.value == pytest.approx(np.log(comb(4, y)).sum((1, 2, 3)).mean(), rel=1e-5)


def test_half_the_rate_is_the_mean_of_pairs():
    x = RNG.integers(0, 256, (3, 8))
    y = np.asarray(HalfRate((8,))(x))
    sound = audio.mu_law_decode(x).astype(np.float32).reshape(3, 4, 2).mean(-1)
    np.testing.assert_array_equal(y, audio.mu_law_encode(np.round(sound).astype(np.int16)))
    np.testing.assert_array_equal(HalfRate((8,)).spread(y), np.repeat(y, 2, 1))


@pytest.mark.slow
def test_terms_of_whole_recordings_are_those_of_the_model_and_shorter_ones_have_fewer():
    family, small = families.Categorical(256), {"channels": 3, "skip_channels": 3, "stacks": 1}
    module = models.CoarseToFine(
        models.WaveNet((4,), family, layers=1, **small),
        models.WaveNet((8,), family, layers=2, local_features=2, hop=2, **small),
        nn.LowResolutionContext(2, 4, ndims=1, scale=128.0),
        HalfRate((8,)),
    )
    x = jnp.asarray(RNG.integers(0, 256, (3, 8)))
    bound = module.bind(compiled_start(module, KEY, x, method="log_prob"))
    run = lambda *length: both_terms(bound, {"x": x, "length": jnp.array(length)})
    loss, terms = run(8, 8, 8)
    coarse, fine = bound.log_probs(x)
    np.testing.assert_allclose(terms["coarse_nats"], -coarse, rtol=1e-5)
    np.testing.assert_allclose(terms["fine_nats"], -fine, rtol=1e-5)
    np.testing.assert_allclose(loss, -bound.log_prob(x), rtol=1e-5)
    plain = both_terms(bound, {"x": x})[0]
    np.testing.assert_allclose(loss, plain, rtol=1e-5)
    _, terms = run(0, 3, 8)
    each = -bound(bound.reduce(x)).family(bound(bound.reduce(x)).params(x)).log_prob(x)
    np.testing.assert_allclose(terms["fine_nats"][:2], [0.0, each[1, :3].sum()], rtol=1e-5)
    # Three samples need two of the low rate.
    low = bound.coarse()
    each = -low.family(low.params(bound.reduce(x))).log_prob(bound.reduce(x))
    np.testing.assert_allclose(terms["coarse_nats"][:2], [0.0, each[1, :2].sum()], rtol=1e-5)


def test_the_table_of_codes_is_counted_for_each_place_of_a_pair():
    """Pairs (a, b) whose code of the mean tells both: nothing is left, but smoothing."""
    first, second = np.array([120, 200]), np.array([140, 100])
    rows = RNG.integers(0, 2, (60, 4))
    x = np.stack([first[rows], second[rows]], -1).reshape(60, 8)
    arrays = {"x": x, "length": np.full(60, 8)}
    trained = SimpleNamespace(
        arrays=lambda split: arrays,
        experiment=SimpleNamespace(module=SimpleNamespace(reduce=HalfRate((8,)))),
    )
    assert 0.0 < table_of_codes(trained, arrays).value < 0.05


@pytest.mark.parametrize("factor", [1, 3])
def test_a_factor_that_does_not_divide_is_named(factor):
    function = catalogue.load_experiment("super_resolution_mnist")
    given = catalogue.own_defaults(function) | {"factor": factor}
    with pytest.raises(DgmjaxError, match="`factor` must be a divisor"):
        catalogue.build(function, given, seed=0, tiny=True, data_dir=None)
