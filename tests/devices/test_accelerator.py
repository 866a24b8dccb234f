"""What must hold on whatever device there is: bounds by precision, policies, resumption elsewhere.

On a machine without an accelerator, two host devices take its place and that of the CPU.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import perturbed

from dgmjax import models, objectives
from dgmjax.bijectors import RationalQuadraticSpline
from dgmjax.devices import make_mesh
from dgmjax.distributions import families
from dgmjax.nn.autoregressive.binding import run_steps
from dgmjax.runs import RunFolder
from dgmjax.training import Execution, Player, Validation, fit, gradient_learner

pytestmark = pytest.mark.accelerator

IMAGE = (6, 6, 1)
MODELS = {
    "made": lambda: models.MADE(IMAGE, (40, 40), num_orders=1),
    "nade": lambda: models.NADE(IMAGE, 16),
    "pixelcnn": lambda: models.PixelCNN(IMAGE, features=8, blocks=2, head_features=8),
    "gated_pixelcnn": lambda: models.GatedPixelCNN(IMAGE, features=8, blocks=2, head_features=8),
    "transformer": lambda: models.Transformer(IMAGE, features=16, layers=2, heads=2),
    "wavenet": lambda: models.WaveNet(
        (36,), families.Bernoulli(), channels=8, skip_channels=8, stacks=1, layers=3
    ),
    "maf": lambda: models.MAF(12, 3, (32, 32)),
    "spline": lambda: models.MAF(6, 2, (32,), transformer=RationalQuadraticSpline(6)),
    "realnvp": lambda: models.RealNVP(12, layers=4, hidden=(32,)),
    "glow": lambda: models.Glow((8, 8, 1), 2, 2, channels=16),
}
STEPPED = ("made", "nade", "pixelcnn", "gated_pixelcnn", "transformer", "wavenet")

# Share of the largest value by which a result may differ. TF32 keeps 10 bits of each factor, so
# that a product is off by some 2^-11 of its terms; layers add up.
PRECISIONS = {"highest": 2e-4, "default": 3e-2}
if jax.devices()[0].platform == "cpu":  # which computes the same at both
    del PRECISIONS["default"]


def example(name):
    """The model, its scrambled variables, and data."""
    model, rng = MODELS[name](), np.random.default_rng(0)
    shape = {"wavenet": (36,), "spline": (6,), "glow": (8, 8, 1)}.get(name, IMAGE)
    shape = (12,) if name in ("maf", "realnvp") else shape
    discrete = name in STEPPED
    x = rng.random((8, *shape)) < 0.4 if discrete else rng.normal(size=(8, *shape))
    x = jnp.asarray(x, jnp.float32)
    variables = jax.jit(partial(model.init, method="log_prob"))(jax.random.key(0), x)
    return model, perturbed(variables, scale=0.1), x


def close(found, expected, precision):
    expected = np.asarray(expected)
    bound = PRECISIONS[precision] * (1.0 + np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", MODELS)
def test_density_and_slopes_are_those_of_float64_on_a_cpu(name):
    """At both precisions of products; the truth is computed in float64 on the host."""
    model, variables, x = example(name)

    def value_and_slopes(variables, x):
        loss = lambda v: model.apply(v, x, method="log_prob").sum()
        (params := dict(variables)).pop("params")
        return jax.value_and_grad(lambda p: loss({**params, "params": p}))(variables["params"])

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        double = lambda leaf: np.asarray(leaf, np.float64)
        truth = jax.jit(value_and_slopes)(jax.tree.map(double, variables), double(x))
        truth = jax.tree.map(np.asarray, truth)
    for precision in PRECISIONS:
        with jax.default_matmul_precision(precision):
            found = jax.jit(value_and_slopes)(variables, x)
        jax.tree.map(partial(close, precision=precision), found, truth)


@pytest.mark.staggered
@pytest.mark.parametrize("name", STEPPED)
def test_steps_equal_one_pass(name):
    model, variables, x = example(name)

    def both(variables, x):
        bound = model.bind(variables)()
        stepped = run_steps(bound.network, x.reshape(len(x), -1), x[0].size)
        return stepped, bound.params(x).reshape(stepped.shape)

    for precision in PRECISIONS:
        with jax.default_matmul_precision(precision):
            close(*jax.jit(both)(variables, x), precision)


@pytest.mark.parametrize("name", ["made", "transformer"])
def test_samplers_agree(name):
    """Where products are exact, the three methods draw the same images from the same key."""
    model, variables, _ = example(name)
    draw = lambda method: (
        lambda v: model.clone(sampling=method).apply(v, jax.random.key(1), (64,), method="sample")
    )
    with jax.default_matmul_precision("highest"):
        drawn = [
            np.asarray(jax.jit(draw(m))(variables)) for m in ("incremental", "naive", "jacobi")
        ]
    for other in drawn[1:]:
        assert (other == drawn[0]).mean() > 0.999


VAE_DATA = {"x": (np.random.default_rng(1).random((64, 12)) < 0.4).astype(np.float32)}


@pytest.fixture(scope="module")
def learner():
    vae = models.DenseVAE((12,), 3, (16,))
    return gradient_learner(vae, {"model": Player(objectives.elbo, optax.adam(1e-2))})


def trained(learner, steps=12, run=None, **execution):
    options = {"key": jax.random.key(0), "steps": steps, "batch_size": 16, "run": run}
    execution = Execution(log_every=4, **execution)
    every = Validation(every=4)
    return fit(learner, VAE_DATA, **options, execution=execution, validation=every).state


def largest_difference(one, other):
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def test_bfloat16_networks_train_float32_parameters(learner):
    plain, coarse = trained(learner), trained(learner, compute_dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(coarse.params)} == {jnp.dtype("float32")}
    # Adam moves a parameter by at most about its rate a step, whatever the rounding.
    assert 0 < largest_difference(plain, coarse) < 12 * 1e-2


def test_deterministic_runs_are_equal_bit_for_bit(learner):
    one, other = (trained(learner, deterministic=True) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_run_resumes_on_another_kind_of_device(learner, tmp_path):
    """From the accelerator to the CPU and back, against a run that stays."""
    here, there = jax.devices()[0], jax.devices("cpu")[-1]
    assert here != there
    run = RunFolder.create(tmp_path, "moves", {}, 0)
    with run:
        for steps, device in ((4, here), (8, there), (12, here)):
            state = trained(learner, steps, run, mesh=make_mesh(1, devices=[device]))
            assert int(state.step) == steps
            assert {leaf.device for leaf in jax.tree.leaves(state.params)} == {device}
    assert largest_difference(state, trained(learner)) < 1e-3
