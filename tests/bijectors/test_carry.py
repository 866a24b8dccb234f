"""Loops whose carry starts narrower than it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.bijectors import carry


@pytest.mark.parametrize("wide", [False, True])
def test_numbers_of_python_are_carried_as_they_are(wide):
    """Beside a sum that widens from float32 to float64."""
    with jax.enable_x64(wide):
        kind = jnp.result_type(float)
        start = (jnp.zeros(2, jnp.float32), 0.5)
        body = lambda carried, x: ((carried[0] + carried[1] + x, carried[1]), None)
        (total, half), _ = carry.scan(body, start, jnp.ones((3, 2), kind))
        looped = carry.fori_loop(0, 3, lambda _, now: body(now, jnp.ones(2, kind))[0], start)
    for found in (total, looped[0]):
        assert found.dtype == kind
        np.testing.assert_array_equal(found, [4.5, 4.5])
    assert float(half) == float(looped[1]) == 0.5
