"""Which pixels a pixel RNN reads: its Jacobian against the set that its docstring names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import models
from dgmjax.distributions import families

KEY = jax.random.key(0)
HEIGHT, WIDTH = 4, 5
SITES = [divmod(site, WIDTH) for site in range(HEIGHT * WIDTH)]


def read(model):
    """Whether the parameters of a site (rows) depend on a pixel (columns), at any of 16 images."""
    event = (HEIGHT, WIDTH, 1)
    variables = compiled_start(model, KEY, jnp.zeros((1, *event)), method="log_prob")
    variables = perturbed(variables, scale=0.5)

    def params(x):
        found = model.apply(variables, x.reshape(event), method=lambda m, x: m().params(x))
        return found.reshape(len(SITES), -1)

    x = jax.random.normal(KEY, (16, len(SITES)))
    slopes = jax.jit(jax.vmap(jax.jacrev(params)))(x)
    return np.asarray(jnp.abs(slopes).max((0, 2))) > 0


@pytest.mark.staggered
@pytest.mark.parametrize("layers, first_kernel", [(1, 3), (2, 3), (1, 5), (1, 9)])
def test_a_diagonal_bilstm_reads_the_past_but_for_the_end_of_the_row_above(layers, first_kernel):
    """The last pixel of the row above, until the first convolution has reached it."""
    model = models.DiagonalBiLSTM(
        (HEIGHT, WIDTH, 1),
        families.Normal(),
        features=4,
        layers=layers,
        first_kernel=first_kernel,
        head_features=8,
    )
    found, reach = read(model), first_kernel // 2
    for here, (row, column) in enumerate(SITES):
        for there, pixel in enumerate(SITES):
            unread = pixel == (row - 1, WIDTH - 1) and column + reach < WIDTH - 1
            assert found[here, there] == (there < here and not unread), ((row, column), pixel)
