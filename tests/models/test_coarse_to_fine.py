"""Coarse to fine against enumeration of all binary images, and the context of a low resolution."""

import itertools
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import models, nn
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
SHAPE = (2, 4, 1)
IMAGES = np.array(list(itertools.product([0.0, 1.0], repeat=8)), np.float32).reshape(-1, *SHAPE)


@dataclass(frozen=True)
class Counts:
    """Ones in each block of 2x2, of images 2x4."""

    def __call__(self, x):
        return x.reshape(*x.shape[:-3], 2, 2, 2).sum((-3, -1))[..., None, :, None]


@cache
def model():
    small = {"features": 3, "blocks": 1, "first_kernel": 3, "head_features": 4}
    module = models.CoarseToFine(
        models.PixelCNN((1, 2, 1), families.Categorical(5), **small),
        models.PixelCNN(SHAPE, local_features=2, **small),
        nn.LowResolutionContext(2, 3, factor=2, scale=4.0),
        Counts(),
    )
    variables = compiled_start(module, KEY, IMAGES[:2], method="log_prob")
    return module.bind(perturbed(variables, scale=0.5))


def test_the_fine_density_sums_to_one_and_the_terms_are_those_of_the_whole():
    y = Counts()(IMAGES)
    assert y.shape == (256, 1, 2, 1)
    bound = model()
    log_prob = jax.jit(lambda *given: bound.log_prob(IMAGES, *given))
    for given in (y[0], y[77]):
        fine = log_prob(jnp.broadcast_to(given, y.shape))
        assert float(jnp.exp(fine).sum()) == pytest.approx(1.0, abs=1e-5)
    coarse, fine = jax.jit(lambda: bound.log_probs(IMAGES))()
    np.testing.assert_allclose(coarse, jax.jit(bound.coarse.log_prob)(y), rtol=1e-5)
    np.testing.assert_allclose(log_prob(), coarse + fine, rtol=1e-5)
    # p(x | y) also gives mass to images of other counts, so the whole sums to less than 1.
    assert 0.0 < float(jnp.exp(coarse + fine).sum()) < 1.0


@pytest.mark.slow
def test_samples_follow_the_fine_density():
    y = Counts()(IMAGES[77])
    drawn = np.asarray(model().sample(KEY, (4000,), y)).reshape(4000, 8)
    every = np.exp(model().log_prob(IMAGES, jnp.broadcast_to(y, (256, *y.shape))))
    means = (every[:, None] * IMAGES.reshape(256, 8)).sum(0)
    np.testing.assert_allclose(drawn.mean(0), means, atol=0.04)  # 5 standard errors
    assert model().sample(KEY, (3,)).shape == (3, *SHAPE)
    assert model().log_prob(IMAGES[:0]).shape == (0,)


@pytest.mark.slow
def test_each_site_has_the_features_of_its_block():
    """The receptive field of a 1-wide context is the block; its sites differ from each other."""
    module = nn.LowResolutionContext(3, 4, factor=2, width=1)
    y = np.zeros((2, 3, 1), np.float32)
    variables = perturbed(compiled_start(module, KEY, y), scale=1.0)
    slope = jax.jacobian(lambda y: module.apply(variables, y).reshape(4, 6, 3))(y + 0.5)[..., 0]
    moved = np.asarray(jnp.abs(slope).max(2) > 0)
    for row, column in itertools.product(range(4), range(6)):
        read = np.argwhere(moved[row, column])
        assert read.tolist() in ([], [[row // 2, column // 2]])
    assert moved.any((2, 3)).all()
    made = module.apply(variables, y + 0.5).reshape(4, 6, 3)
    assert float(jnp.abs(made[0, 0] - made[1, 1]).max()) > 1e-3
    sound = nn.LowResolutionContext(3, ndims=1)
    assert sound.init_with_output(KEY, np.zeros((5, 7)))[0].shape == (5, 21)
    codes = nn.LowResolutionContext(3, 4, 2, levels=5)
    made, variables = codes.init_with_output(KEY, np.zeros((7, 2, 3, 2), np.int32))
    assert made.shape == (7, 4 * 6 * 3)
    assert variables["params"]["Embed_0"]["embedding"].shape == (5, 4)
    assert codes.apply(variables, np.zeros((0, 2, 3, 2), np.int32)).shape == (0, 72)
    with pytest.raises(DgmjaxError, match="`ndims` must be"):
        nn.LowResolutionContext(3, ndims=3).init(KEY, y)
