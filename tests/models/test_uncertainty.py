"""Uncertainty autoencoders against linear-Gaussian channels and principal components."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import compiled_start

from dgmjax import models, nn, objectives, training
from dgmjax.distributions.families import Normal
from dgmjax.errors import DgmjaxError

KEY = jax.random.key(0)
DEVIATIONS = np.array([2.0, 1.0, 0.3, 0.1], np.float32)
X = np.random.default_rng(0).normal(size=(4000, 4)).astype(np.float32) * DEVIATIONS


def linear(size=2, scale=0.1, **options):
    """A linear decoder of measurements of four numbers."""
    decoder = nn.MLP((), (4, 1))
    return models.UncertaintyAutoencoder((4,), size, decoder, scale, Normal(0.5), **options)


def initialised(module):
    return compiled_start(module, KEY, {"x": X[:8]}, KEY, method=objectives.information_bound)


def test_rows_have_the_power_of_random_measurements_and_the_noise_is_known():
    bound = linear().bind(initialised(linear()))
    matrix = bound.matrix()
    np.testing.assert_allclose((matrix**2).sum(-1), 4 / 2, rtol=1e-5)
    q = bound.posterior(X[:3])
    np.testing.assert_allclose(q.mean(), X[:3] @ matrix.T, rtol=1e-5)
    np.testing.assert_allclose(q.stddev(), 0.1)
    assert q.event_shape == (2,)


def test_the_objective_is_the_expected_log_likelihood():
    """Of a linear decoder M y + b: |x - b - M A x|^2 + scale^2 |M|^2, in closed form."""
    module = linear()
    variables = initialised(module)
    many = jax.jit(
        lambda batch, key: module.apply(
            variables, batch, key, num_samples=4000, method=objectives.information_bound
        )
    )
    loss, metrics = many({"x": X[:3]}, KEY)
    layer = variables["params"]["decoder"]["Dense_0"]
    kernel, bias = layer["kernel"], layer["bias"]
    matrix = module.bind(variables).matrix()
    left = X[:3] - bias - X[:3] @ matrix.T @ kernel
    square = (left**2).sum(-1) + 0.01 * (kernel**2).sum()
    exact = square / (2 * 0.25) + 4 * (np.log(0.5) + 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(loss, exact, rtol=0.02)
    np.testing.assert_array_equal(metrics["log_likelihood"], -loss)


def trained(**options):
    module = linear(**options)
    player = training.Player(objectives.information_bound, optax.adam(0.02))
    learner = training.gradient_learner(module, {"model": player})
    data = {"x": X}
    state = training.fit(learner, data, key=KEY, steps=600, batch_size=100).state
    return module.bind(learner.variables(state))


def test_learned_measurements_span_the_leading_principal_components():
    model = trained()
    rows = np.asarray(model.matrix())
    basis = np.linalg.svd(rows)[2][:2]
    # Both directions of the largest variance lie in the span of the rows.
    assert (np.linalg.norm(basis[:, :2], axis=0) > 0.97).all()
    error = float(((model.reconstruct(X, KEY) - X) ** 2).sum(-1).mean())
    lost = float((DEVIATIONS[2:] ** 2).sum())
    assert lost < error < lost + 0.08
    random = trained(learned=False)
    worse = float(((random.reconstruct(X, KEY) - X) ** 2).sum(-1).mean())
    assert worse > 2.0 * error


@pytest.mark.parametrize("learned", [True, False])
def test_random_measurements_have_no_gradient(learned):
    module = linear(learned=learned)
    loss = lambda variables: module.apply(
        variables, {"x": X[:8]}, KEY, method=objectives.information_bound
    )[0].sum()
    slope = jax.grad(loss)(initialised(module))["params"]
    assert bool((slope["rows"] != 0).any()) == learned
    assert bool((slope["decoder"]["Dense_0"]["kernel"] != 0).any())


def test_samples_are_those_of_the_chain():
    module = models.DenseUAE((3, 2, 1), 2, (4,))
    x = np.ones((5, 3, 2, 1), np.float32)
    variables = compiled_start(module, KEY, {"x": x}, KEY, method=objectives.information_bound)
    drawn = module.apply(variables, KEY, (7,), method="sample")
    assert drawn.shape == (7, 3, 2, 1) and bool(jnp.isfinite(drawn).all())
    assert module.apply(variables, x[:0], KEY, method="reconstruct").shape == (0, 3, 2, 1)


@pytest.mark.parametrize(
    "options, name", [({"size": 0}, "size"), ({"scale": 0.0}, "scale"), ({"size": 1.5}, "size")]
)
def test_bad_arguments_are_named(options, name):
    with pytest.raises(DgmjaxError, match=f"^`{name}`"):
        initialised(linear(**options))
