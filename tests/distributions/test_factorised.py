"""Sites as one axis: the same numbers as `distrax.Independent`, for every kind of site."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.distributions import Factorised, families
from dgmjax.errors import DgmjaxError

FAMILIES = [
    families.Bernoulli(),
    families.Categorical(3),
    families.Normal(),
    families.StudentT(),
    families.Poisson(),
    families.MixtureOfNormals(2),
    families.DiscretisedLogisticMixture(2, levels=8),
]


@pytest.mark.staggered
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_equals_independent(family):
    params = jax.random.normal(jax.random.key(0), (5, 4, 2, 1, family.num_params))
    ours = Factorised(family, params, (4, 2, 1))
    reference = distrax.Independent(family(params), 3)
    x = reference.sample(seed=jax.random.key(1), sample_shape=(3,))
    assert ours.batch_shape == (5,) and ours.event_shape == (4, 2, 1)
    np.testing.assert_allclose(ours.log_prob(x), reference.log_prob(x), rtol=1e-5, atol=1e-5)
    per_site = family(params).log_prob(x)
    np.testing.assert_allclose(ours.site_log_prob(x), per_site, rtol=1e-5, atol=1e-5)
    assert ours.sample(seed=0, sample_shape=(3,)).shape == (3, 5, 4, 2, 1)
    if not isinstance(family, families.DiscretisedLogisticMixture):
        np.testing.assert_allclose(ours.mean(), family(params).mean(), rtol=1e-5, atol=1e-6)


def test_channels_belong_to_a_site():
    family = families.DiscretisedLogisticMixture(2, levels=8, channels=3)
    params = jax.random.normal(jax.random.key(0), (4, 2, family.num_params))
    ours = Factorised(family, params, (4, 2, 3))
    x = ours.sample(seed=0, sample_shape=(5,))
    assert x.shape == (5, 4, 2, 3)
    expected = family(params).log_prob(x).sum((-1, -2))
    np.testing.assert_allclose(ours.log_prob(x), expected, rtol=1e-5)
    assert ours.site_log_prob(x).shape == (5, 4, 2)


def test_bad_shapes_are_named():
    with pytest.raises(DgmjaxError, match=r"^`params` must end in"):
        Factorised(families.Normal(), jnp.zeros((3, 2)), (4,))
    with pytest.raises(DgmjaxError, match=r"^`value` must end in"):
        Factorised(families.Bernoulli(), jnp.zeros((4, 1)), (4,)).log_prob(jnp.zeros(5))
