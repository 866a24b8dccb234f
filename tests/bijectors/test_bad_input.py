"""Bad input ends in an error that names the argument and says what would do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import bijectors as bj
from dgmjax.errors import DataError, DgmjaxError

from .networks import Autoregressive, Dense
from .table import ROWS

NAN = jnp.array([0.0, jnp.nan, 1.0])
NET = Dense((2,), (2, 2))
CONDITIONER = bj.Conditioner(NET, NET.init(jax.random.key(0)))
MADE = bj.Conditioner(Autoregressive(4, 2), Autoregressive(4, 2).init(jax.random.key(0)))


def coupling(split=None, shape=(4,), transformer=None, **kwargs):
    return bj.Coupling(
        bj.halves() if split is None else split,
        CONDITIONER,
        transformer or bj.Affine(),
        shape,
        **kwargs,
    )


class Callable:
    def __call__(self, x, context=None):
        return jnp.zeros((*x.shape, 2))


CASES = {
    "event shape": (lambda: coupling().forward(jnp.zeros((2, 3))), r"`x` .*\(4,\).*\(2, 3\)"),
    "scalar": (lambda: coupling().forward(jnp.zeros(())), r"`x` must end in"),
    "conditioner's output": (
        lambda: coupling(transformer=bj.Shift()).forward(jnp.zeros((3, 4))),
        r"`conditioner` must return parameters of shape \(3, 2, 1\)",
    ),
    "network's output": (
        lambda: bj.MaskedAutoregressive(MADE, bj.Shift()).inverse(jnp.zeros((3, 4))),
        r"`network` must return parameters of shape \(3, 4, 1\)",
    ),
    "network without step": (
        lambda: bj.MaskedAutoregressive(Callable(), bj.Affine()),
        r"`network` must have `init_carry` and `step`.*naive",
    ),
    "unknown method": (
        lambda: bj.MaskedAutoregressive(MADE, bj.Affine(), forward_method="newton"),
        r"`forward_method` must be one of.*'newton'",
    ),
    "context": (
        lambda: coupling(context=jnp.zeros((3, 2))).forward(jnp.zeros((5, 4))),
        r"`context` must broadcast",
    ),
    "empty halves": (lambda: coupling(shape=(1,)), r"`event_shape` must have at least 2"),
    "channel split of a vector": (lambda: coupling(bj.channel()), r"`event_shape`.*`halves`"),
    "checkerboard of a vector": (lambda: coupling(bj.checkerboard()), r"`event_shape` must be"),
    "empty mask": (
        lambda: coupling(np.zeros(4, bool)),
        r"`split` must leave entries on both sides; got 0 of 4",
    ),
    "full mask": (lambda: coupling(np.ones(4, bool)), r"`split` must leave entries"),
    "mask's shape": (lambda: coupling(np.ones(3, bool)), r"`split` must have the event shape"),
    "indices twice": (lambda: coupling([1, 1]), r"`split` must be .*distinct"),
    "index outside": (lambda: coupling([1, 4]), r"`split` must be .*\[0, 4\)"),
    "no permutation": (lambda: bj.Permutation([0, 2]), r"`indices` must be a permutation"),
    "permutation of floats": (lambda: bj.Permutation([0.0, 1.0]), r"`indices`"),
    "lu permutation": (
        lambda: bj.LU(jnp.zeros((3, 3)), [1, 0]),
        r"`permutation` must have 3 entries",
    ),
    "lu signs": (lambda: bj.LU(jnp.zeros((2, 2)), signs=[1, 0]), r"`signs`"),
    "odd height": (
        lambda: bj.Squeeze(2).inverse(jnp.zeros((5, 4, 1))),
        r"`x` must have a height and width that 2 divides; got shape \(5, 4, 1\)",
    ),
    "reshape to other sizes": (lambda: bj.Reshape((6,), (2, 2)), r"`event_shape`.*`base_shape`, 6"),
    "event to reshape": (
        lambda: bj.Reshape((6,), (2, 3)).forward(jnp.zeros((2, 5))),
        r"event shape \(6,\) of Reshape",
    ),
    "channels to unsqueeze": (lambda: bj.Squeeze(2).forward(jnp.zeros((2, 2, 3))), r"4 divides"),
    "not square": (lambda: bj.Linear(jnp.zeros((2, 3))), r"`matrix` must be square"),
    "singular": (lambda: bj.Linear(jnp.ones((2, 2))), r"`matrix` must be invertible"),
    "nan affine": (lambda: bj.ElementwiseAffine(NAN), r"`shift` must be finite; got 1 of 3"),
    "nan planar": (lambda: bj.Planar(NAN, jnp.ones(3), jnp.array(0.0)), r"must be finite"),
    "nan radial": (lambda: bj.Radial(NAN, jnp.array(0.0), jnp.array(0.0)), r"must be finite"),
    "infinite network": (
        lambda: bj.MaskedAutoregressive(
            bj.Conditioner(Autoregressive(4, 2), {"w": jnp.array(jnp.inf)}), bj.Affine()
        ),
        r"`network` must be finite",
    ),
    "nan spline": (lambda: bj.RationalQuadraticSpline(2)(jnp.full(5, jnp.nan)), r"`params`"),
    "spline's size": (lambda: bj.RationalQuadraticSpline(4)(jnp.zeros(12)), r"dimension of 11"),
    "one bin": (lambda: bj.RationalQuadraticSpline(1), r"`num_bins` must be at least 2"),
    "tails": (lambda: bj.RationalQuadraticSpline(4, tails="cubic"), r"`tails` must be one of"),
    "tails of entries": (
        lambda: bj.RationalQuadraticSpline(4, tails=("linear", "cubic")),
        r"`tails` must be one of",
    ),
    "number of tails": (
        lambda: bj.RationalQuadraticSpline(4, tails=("linear", "circular"))(jnp.zeros((3, 12))),
        r"`tails` must be one word, or as many as there are entries",
    ),
    "no components": (lambda: bj.MixtureOfLogisticsCDF(0), r"`num_components`"),
    "bound": (lambda: bj.Affine(-1.0), r"`bound`"),
    "u and w": (
        lambda: bj.Planar(jnp.ones(3), jnp.ones(2), jnp.ones(())),
        r"`w` must be \[..., D\] with D = 3 as in `u`",
    ),
    "not orthonormal": (
        lambda: bj.Sylvester(jnp.ones((3, 2)), jnp.eye(2), jnp.eye(2), jnp.zeros(2)),
        r"`basis` must have orthonormal columns",
    ),
    "wide basis": (lambda: bj.orthonormal_columns(jnp.ones((2, 3))), r"M <= D"),
    "parametrisation": (lambda: bj.SylvesterFamily(3, "cayley"), r"`parametrisation`"),
    "family params": (lambda: bj.PlanarFamily(3)(jnp.zeros(6)), r"must be .*7"),
    "outside unit": (
        lambda: bj.Sigmoid().inverse(jnp.array([0.5, 1.5])),
        r"`x` must lie in \[0, 1\].*1 of 2 entries outside, the first 1.5",
    ),
    "negative": (lambda: bj.Softplus().inverse(jnp.array([-1.0])), r"`x` must lie in"),
    "margin": (lambda: bj.Sigmoid(0.5), r"`margin`"),
    "no bijectors": (lambda: bj.compose(), r"`bijectors`"),
    "not a bijector": (lambda: bj.compose(bj.Squeeze(), jnp.sin), r"`bijectors\[1\]`"),
    "inverse of a function": (lambda: bj.Inverse(jnp.sin), r"`bijector`"),
    "stack": (
        lambda: bj.Repeat(bj.ElementwiseAffine(jnp.zeros((3, 2))), 4),
        r"`stacked` must have arrays with a leading dimension of 4",
    ),
    "unequal stack": (
        lambda: bj.stack_bijectors([bj.ElementwiseAffine(1.0), bj.ElementwiseAffine(1.0, 2.0)]),
        r"`bijectors\[1\]`",
    ),
    "one example": (lambda: bj.actnorm_init(jnp.ones((1, 3))), r"at least 2 examples"),
    "channels": (
        lambda: bj.ActNorm(jnp.ones(3), jnp.ones(3), 3).forward(jnp.zeros((2, 2, 4))),
        r"`x` must have at least 3 dimensions, the last of 3 channels",
    ),
    "negative variance": (lambda: bj.BatchNorm(jnp.ones(2), -jnp.ones(2)), r"`variance`"),
    "one channel": (
        lambda: bj.MultiScale([bj.Inverse(bj.Squeeze(1)), bj.Squeeze(1)], (2, 2, 1)),
        r"`levels\[0\]` must give at least 2 channels",
    ),
    "multiscale's base": (
        lambda: bj.MultiScale([bj.Squeeze(2)], (4, 4, 1)).forward(jnp.zeros((2, 15))),
        r"event shape \(16,\)",
    ),
    "vector for conv": (lambda: bj.Invertible1x1Convolution(bj.Squeeze()), r"`linear`"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named(name):
    call, message = CASES[name]
    with pytest.raises(DgmjaxError, match=message):
        call()


def batched(*shape):
    return 0.1 + jnp.zeros((2, *shape))  # two sets of parameters, for three points below


MATRICES = jnp.broadcast_to(jnp.eye(4), (2, 4, 4))
BATCHES = {
    "shift": lambda: bj.ElementwiseAffine(batched(1)),
    "log_scale": lambda: bj.ElementwiseAffine(jnp.zeros(4), batched(1)),
    "linear": lambda: bj.Linear(MATRICES),
    "lu": lambda: bj.LU(MATRICES),
    "triangular": lambda: bj.Triangular(MATRICES),
    "householder": lambda: bj.Householder(batched(3, 4)),
    "actnorm": lambda: bj.ActNorm(batched(4), batched(4)),
    "planar u": lambda: bj.Planar(batched(4), jnp.ones(4), 0.1),
    "planar w": lambda: bj.Planar(jnp.ones(4), batched(4), 0.1),
    "planar b": lambda: bj.Planar(jnp.ones(4), jnp.ones(4), batched()),
    "radial centre": lambda: bj.Radial(batched(4), 0.1, 0.1),
    "radial alpha": lambda: bj.Radial(jnp.ones(4), batched(), 0.1),
    "radial beta": lambda: bj.Radial(jnp.ones(4), 0.1, batched()),
    "sylvester": lambda: bj.Sylvester(
        jnp.eye(4)[:, :3], jnp.zeros((2, 3, 3)), jnp.zeros((3, 3)), jnp.zeros(3)
    ),
}
"""Bijectors of two sets of parameters, each for `[..., 4]`."""


@pytest.mark.staggered(of=3)
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_of_points_that_is_not_that_of_the_parameters_is_named(name):
    bijector = BATCHES[name]()
    for call in (bijector.forward, bijector.inverse, bijector.forward_and_log_det):
        with pytest.raises(DgmjaxError, match=r"`x` must have a batch shape that broadcasts"):
            call(jnp.ones((3, 4)))
    x, log_det = bijector.inverse_and_log_det(jnp.ones((3, 1, 4)))
    assert x.shape == (3, 2, 4)
    assert log_det.shape == ((3, 2, 4) if bijector.event_ndims_in == 0 else (3, 2))
    y, forward = bijector.forward_and_log_det(x)
    np.testing.assert_allclose(y, 1.0, rtol=1e-5)
    np.testing.assert_allclose(forward, -log_det, atol=1e-5)


def test_levels_of_images_may_have_batches_of_parameters():
    scales = jnp.linspace(-0.5, 0.5, 3)[:, None, None, None] * jnp.ones(4)
    plain, wide = bj.ElementwiseAffine(0.0, scales[0]), bj.ElementwiseAffine(0.0, scales)
    image = jax.random.normal(jax.random.key(0), (2, 1, 4, 4, 1))
    half = bj.ElementwiseAffine(0.0, scales[..., :2])
    for first, last in ((plain, half), (wide, bj.ElementwiseAffine(0.0, scales[0, ..., :2]))):
        levels = [bj.compose(bj.Block(first, 3), bj.Squeeze(2)), bj.Block(last, 3)]
        flow = bj.MultiScale(levels, (4, 4, 1))
        z, log_det = flow.inverse_and_log_det(image)
        assert z.shape == (2, 3, 16) and log_det.shape == (2, 3)
        back, forward = flow.forward_and_log_det(z)
        np.testing.assert_allclose(back, jnp.broadcast_to(image, back.shape), atol=1e-5)
        np.testing.assert_allclose(forward, -log_det, atol=1e-5)


def test_points_outside_are_a_data_error_and_nan_under_jit():
    with pytest.raises(DataError):
        bj.Sigmoid().inverse(jnp.array(-0.1))
    found = jax.jit(bj.Sigmoid().inverse)(jnp.array([-0.1, 0.5, 1.0]))
    assert jnp.isnan(found[0]) and jnp.isfinite(found[1:]).all()


@pytest.mark.staggered
@pytest.mark.parametrize("side", ["forward", "inverse"])
@pytest.mark.parametrize("name", ROWS)
def test_a_point_that_is_not_finite_gives_no_finite_density_and_no_error(name, side):
    """The same with and without `jit`; the rest of the batch does not see it."""
    row = ROWS[name]
    bijector = row.make(jax.random.key(0), 1.0)
    shape = row.shape if side == "forward" else row.data_shape or row.shape
    good = np.full(shape, 0.3, np.float32)
    x = np.stack([good] * 7)
    for index, bad in enumerate((np.nan, np.inf, -np.inf)):
        x[index].flat[0] = x[3 + index].flat[-1] = bad

    def run(bijector, x):
        return getattr(bijector, f"{side}_and_log_det")(x)

    jitted = jax.jit(run)
    eager, compiled = run(bijector, x), jitted(bijector, x)
    for ours, theirs in zip(eager, compiled):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    value, log_det = map(np.asarray, compiled)
    unspoilt = jitted(bijector, np.stack([good] * 7))
    np.testing.assert_allclose(value[-1], unspoilt[0][-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_det[-1], unspoilt[1][-1], rtol=1e-5, atol=1e-6)
    sound = np.isfinite(value.reshape(7, -1)).all(1) & np.isfinite(log_det)
    assert sound.tolist() == [False] * 6 + [True]
    if side == "inverse":
        log_prob = log_det - 0.5 * np.square(value.reshape(7, -1)).sum(1)
        assert not np.isfinite(log_prob[:6]).any() and not (log_prob == np.inf).any()
