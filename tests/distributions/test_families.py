"""The draws of families: split into noise and value, or not, they are the same."""

import jax
import numpy as np
import pytest

from dgmjax.distributions.families import (
    Bernoulli,
    Categorical,
    MixtureOfNormals,
    Normal,
    SplitsDraws,
    drawn,
    site_noise,
)


@pytest.mark.parametrize(
    "family", [Bernoulli(), Normal(), Normal(scale=0.5), Categorical(3), MixtureOfNormals(2)]
)
def test_a_draw_is_that_of_its_noise(family):
    """Split or not, the noise of a key gives the sample of that key."""
    params = jax.random.normal(jax.random.key(1), (40, family.num_params))
    for temperature in (1.0, 0.5):
        conditional = family(params, temperature)
        noise = site_noise(family, jax.random.key(2), (40,))
        np.testing.assert_allclose(
            drawn(family, conditional, noise), conditional.sample(seed=jax.random.key(2)), rtol=1e-6
        )
    assert isinstance(family, SplitsDraws) == isinstance(family, Bernoulli | Normal | Categorical)
