"""Raw images of many levels: networks read numbers of order one, training starts near uniform."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import applied, compiled_start

from dgmjax import models, objectives
from dgmjax.distributions import families

KEY = jax.random.key(0)
IMAGE = (8, 8, 1)
X = jax.random.randint(jax.random.key(1), (6, *IMAGE), 0, 256).astype(jnp.uint8)
LEVELS = {
    "categorical": families.Categorical(256),
    "logistic_mixture": families.DiscretisedLogisticMixture(3),
}
UNIFORM = math.prod(IMAGE) * math.log(256)
BATCH = {"x": X, "label": jnp.arange(6) % 3}
MODELS = {
    "dense": lambda family: models.DenseVAE(IMAGE, 3, (8,), observation=family),
    "conv": lambda family: models.ConvVAE(IMAGE, 3, channels=4, observation=family),
    "skip": lambda family: models.SkipVAE(IMAGE, 3, (8,), observation=family),
    "conditional": lambda family: models.DenseCVAE(
        IMAGE, 3, (8,), num_classes=3, observation=family
    ),
    "hierarchical": lambda family: models.DenseHierarchicalVAE(
        IMAGE, (3, 2), ((8,), (8,)), observation=family
    ),
    "ladder": lambda family: models.DenseHierarchicalVAE(
        IMAGE, (3, 2), ((8,), (8,)), inference="ladder", observation=family
    ),
    "multimodal": lambda family: models.ImageLabelVAE(IMAGE, 3, 3, (8,), observation=family),
}


@pytest.mark.staggered(of=3)
@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("family", LEVELS)
@pytest.mark.parametrize("name", MODELS)
def test_training_on_raw_levels_starts_near_the_uniform_code(name, family):
    model = MODELS[name](LEVELS[family])
    variables = jax.jit(partial(model.init, method=objectives.elbo))(KEY, BATCH, KEY)
    loss, _ = jax.jit(partial(model.apply, method=objectives.elbo))(variables, BATCH, KEY)
    assert np.isfinite(loss).all() and loss.max() < 3 * UNIFORM, loss


def test_a_vrnn_reads_levels_too():
    model = models.VRNN((5, 4), latent=2, hidden=4, observation=families.Categorical(256))
    x = jax.random.randint(KEY, (3, 5, 4), 0, 256)
    variables = compiled_start(model, KEY, {"x": x}, KEY, method=objectives.elbo)
    loss, _ = applied(model, variables, {"x": x}, KEY, method=objectives.elbo)
    assert loss.max() < 3 * 20 * math.log(256)
    sampled = model.apply(variables, KEY, (2,), method="sample")
    assert sampled.shape == (2, 5, 4)


@pytest.mark.parametrize("name", LEVELS)
def test_every_family_of_levels_has_a_mean(name):
    family = LEVELS[name]
    params = jax.random.normal(KEY, (4, family.num_params))
    probabilities = jnp.exp(family(params[:, None]).log_prob(jnp.arange(256)))
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-4)
    exact = (probabilities * jnp.arange(256)).sum(-1)
    np.testing.assert_allclose(family(params).mean(), exact, rtol=1e-4)


def test_the_mean_of_channels_agrees_with_samples():
    family = families.DiscretisedLogisticMixture(2, channels=3)
    params = 0.5 * jax.random.normal(KEY, (2, family.num_params))
    mean = family(params).mean()
    samples = family(params).sample(seed=KEY, sample_shape=(40_000,))
    assert mean.shape == (2, 3)
    error = 4 * np.asarray(samples.std(0)) / np.sqrt(40_000)
    # The first channel is exact. Later ones read the means of those before them.
    np.testing.assert_allclose(mean[:, 0], samples[..., 0].mean(0), atol=error[:, 0].max())
    np.testing.assert_allclose(mean[:, 1:], samples[..., 1:].mean(0), atol=8.0)
