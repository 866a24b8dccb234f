"""Temperature and completion of autoregressive samplers, against exact conditionals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import applied, compiled_start, scrambled

from dgmjax.bijectors import Conditioner
from dgmjax.distributions import Autoregressive, families
from dgmjax.errors import DgmjaxError
from dgmjax.models import NADE, RowLSTM
from dgmjax.nn import MaskedMLP

METHODS = ("incremental", "naive", "jacobi")
NUM = 8192
BITS = np.asarray(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)
SAMPLE = jax.jit(
    lambda model, key, temperature, observed, mask, shape: model.sample(
        seed=key, sample_shape=shape, temperature=temperature, observed=observed, mask=mask
    ),
    static_argnums=5,
)


def network(features=4, num_params=1, context_features=0):
    module = MaskedMLP(features, (8,), num_params, jnp.tanh, context_features=context_features)
    context = jnp.zeros(context_features) if context_features else None
    variables = compiled_start(module, jax.random.key(0), jnp.zeros(features), context)
    return Conditioner(module, scrambled(variables))


def model_of(method="incremental", family=families.Bernoulli(), **options):  # noqa: B008
    return Autoregressive(
        network(4, family.num_params), family, (2, 2), flatten=True, method=method, **options
    )


def chain_probabilities(temperature=1.0, mask=None, observed=None, ordering=None):
    """Of all 16 images: prod over the sites that are not forced of p(x_t | x_<t), by hand."""
    order = np.arange(4) if ordering is None else ordering
    logits = np.asarray(network()(jnp.asarray(BITS[:, order]))[..., 0], np.float64) / temperature
    bits = BITS[:, order]
    factors = 1.0 / (1.0 + np.exp(-logits * (2 * bits - 1)))
    if mask is not None:
        forced, wanted = mask.ravel()[order], observed.ravel()[order]
        factors = np.where(forced, bits == wanted, factors)
    return factors.prod(1)


def assert_follows(samples, probabilities):
    """Chi-squared at level 1e-4, and nothing that has probability zero."""
    codes = np.asarray(samples).reshape(-1, 4) @ np.array([8, 4, 2, 1])
    counts = np.bincount(codes.astype(int), minlength=16)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible] / probabilities.sum() * counts.sum()
    if possible.sum() > 1:
        assert scipy.stats.chisquare(counts[possible], expected).pvalue > 1e-4


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(temperature):
    samples = [
        SAMPLE(model_of(m), jax.random.key(1), temperature, None, None, (NUM,)) for m in METHODS
    ]
    assert_follows(samples[0], chain_probabilities(temperature))
    for other in samples[1:]:
        np.testing.assert_array_equal(samples[0], other)


MASKS = {
    "prefix": [1, 0, 0, 0],
    "a_row": [1, 1, 0, 0],
    "the_last": [0, 0, 0, 1],
    "scattered": [0, 1, 0, 1],
    "all": [1, 1, 1, 1],
    "none": [0, 0, 0, 0],
}


@pytest.mark.parametrize("ordering", [None, np.array([2, 0, 3, 1])], ids=["natural", "permuted"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_completions_follow_the_exact_conditionals(mask, ordering):
    mask = np.asarray(mask, bool).reshape(2, 2)
    observed = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    key, samples = jax.random.key(2), []
    for method in METHODS:
        model = model_of(method, ordering=ordering)
        samples.append(np.asarray(SAMPLE(model, key, 1.0, observed, mask, (NUM,))))
    assert (samples[0][:, mask] == observed[mask]).all()
    assert_follows(samples[0], chain_probabilities(1.0, mask, observed, ordering))
    for other in samples[1:]:
        np.testing.assert_array_equal(samples[0], other)


def test_the_completion_of_a_prefix_is_the_conditional_distribution():
    """p(x | first row) by Bayes' rule from the joint, at temperature 1."""
    row = np.array([[0.0, 1.0]], np.float32)
    joint = chain_probabilities()
    possible = (BITS[:, :2] == row).all(1)
    posterior = np.where(possible, joint, 0.0) / joint[possible].sum()
    samples = jax.jit(lambda m, k: m.complete(k, row, sample_shape=(NUM,)))(
        model_of(), jax.random.key(3)
    )
    assert_follows(samples, posterior)


def test_free_sites_have_the_noise_of_the_sample():
    """A site before all that is forced is drawn as without forcing."""
    key = jax.random.key(4)
    model = model_of()
    plain = model.sample(seed=key, sample_shape=(64,))
    mask = np.array([[False, False], [True, False]])
    forced = model.complete(key, plain, mask, sample_shape=())
    assert forced.shape == (64, 2, 2)
    np.testing.assert_array_equal(forced, plain)
    other = model.complete(key, 1.0 - plain, mask)
    np.testing.assert_array_equal(other[:, 0], plain[:, 0])
    np.testing.assert_array_equal(other[:, 1, 0], 1.0 - plain[:, 1, 0])
    assert (other[:, 1, 1] != plain[:, 1, 1]).any()


def test_batches_of_observations_broadcast():
    context = jnp.array([[0.5], [-1.0], [2.0]])
    model = Autoregressive(
        network(4, context_features=1), families.Bernoulli(), (4,), context=context
    )
    observed = jnp.asarray(BITS[:5, None])
    x = model.complete(jax.random.key(0), observed[..., :2], sample_shape=(7,))
    assert x.shape == (7, 5, 3, 4)
    np.testing.assert_array_equal(x[..., :2], np.broadcast_to(observed[..., :2], (7, 5, 3, 2)))
    everything = model.complete(jax.random.key(0), observed)
    np.testing.assert_array_equal(everything, np.broadcast_to(observed, (5, 3, 4)))


def test_sites_that_are_vectors_are_forced_whole():
    family = families.DiscretisedLogisticMixture(2, levels=8, channels=3)
    module = RowLSTM((2, 2, 3), family, features=2, layers=1, first_kernel=3, head_features=4)
    x = jax.random.randint(jax.random.key(0), (5, 2, 2, 3), 0, 8)
    variables = compiled_start(module, jax.random.key(1), x, method="log_prob")
    mask = np.array([[True, False], [False, True]])
    samples = []
    for method in METHODS:
        complete = jax.jit(module.clone(sampling=method).apply, static_argnames="method")
        samples.append(complete(variables, jax.random.key(2), x, mask, method="complete"))
        assert samples[-1].shape == (5, 2, 2, 3)
        np.testing.assert_array_equal(samples[-1][:, mask], x[:, mask])
        np.testing.assert_array_equal(samples[0], samples[-1])
    assert (samples[0][:, ~mask] != x[:, ~mask]).any()


TEMPERED = {
    "bernoulli": (families.Bernoulli(), [2.0], 1.0),
    "categorical": (families.Categorical(3), [0.5, 2.0, -1.0], 1.0),
    "mixture_logits": (families.MixtureOfNormals(2), [3.0, -1.0, 0.1, 0.2, 0.0, 0.0], None),
}


@pytest.mark.parametrize("family, params, value", TEMPERED.values(), ids=TEMPERED)
def test_families_divide_logits_by_the_temperature(family, params, value):
    params = jnp.asarray(params)
    if value is None:
        logits = family(params, 0.25).mixture_distribution.logits
        np.testing.assert_allclose(
            jax.nn.softmax(logits), jax.nn.softmax(params[:2] / 0.25), rtol=1e-5
        )
        return
    tempered, plain = family(params, 0.25).log_prob(value), family(params / 0.25).log_prob(value)
    np.testing.assert_allclose(tempered, plain, rtol=1e-6)


@pytest.mark.parametrize(
    "family",
    [
        families.Normal(),
        families.Normal(scale=2.0),
        families.StudentT(),
        families.MixtureOfNormals(1),
        families.DiscretisedLogisticMixture(1, levels=65536),
    ],
    ids=repr,
)
def test_families_multiply_scales_by_the_temperature(family):
    """Spread of samples, with the same noise, about their centre."""
    params = jnp.tile(jnp.array([0.2, -1.0, 3.0])[: family.num_params], (2000, 1))
    if family.num_params == 3 and not isinstance(family, families.StudentT):
        params = params.at[:, 1:].set(jnp.array([0.2, -3.0]))
    draw = lambda t: np.asarray(family(params, t).sample(seed=jax.random.key(0)), np.float64)
    plain, sharp = draw(1.0), draw(0.25)
    assert np.subtract(*np.percentile(sharp, [75, 25])) / np.subtract(
        *np.percentile(plain, [75, 25])
    ) == pytest.approx(0.25, rel=2e-3)


def test_the_density_does_not_depend_on_a_temperature():
    module = NADE((4,), 4)
    variables = compiled_start(module, jax.random.key(0), BITS, method="log_prob")
    x = module.apply(variables, jax.random.key(1), (6,), temperature=1e-4, method="sample")
    greedy = np.unique(np.asarray(x), axis=0)
    assert len(greedy) == 1, "at a low temperature every sample is the likeliest continuation"
    total = np.exp(
        np.asarray(applied(module, variables, BITS, method="log_prob"), np.float64)
    ).sum()
    assert total == pytest.approx(1.0, abs=1e-5)


def test_one_trace_for_all_temperatures():
    traces = []

    @jax.jit
    def draw(model, temperature):
        traces.append(1)
        return model.sample(seed=0, sample_shape=(2,), temperature=temperature)

    for temperature in (0.5, 1.0, 2.0):
        draw(model_of(), temperature)
    assert len(traces) == 1


BERNOULLI = families.Bernoulli()
BAD = {
    "long_prefix": (lambda m: m.complete(jax.random.key(0), np.zeros((3, 2))), "observed"),
    "wrong_width": (lambda m: m.complete(jax.random.key(0), np.zeros((1, 3))), "observed"),
    "too_few_axes": (lambda m: m.complete(jax.random.key(0), np.zeros(2)), "observed"),
    "part_with_mask": (
        lambda m: m.complete(jax.random.key(0), np.zeros((1, 2)), np.ones((2, 2), bool)),
        "observed",
    ),
    "mask_shape": (
        lambda m: m.complete(jax.random.key(0), np.zeros((2, 2)), np.ones((2, 3), bool)),
        "mask",
    ),
    "mask_batch": (
        lambda m: m.complete(jax.random.key(0), np.zeros((3, 2, 2)), np.ones((2, 2, 2), bool)),
        "mask",
    ),
    "mask_of_numbers": (
        lambda m: m.complete(jax.random.key(0), np.zeros((2, 2)), np.ones((2, 2))),
        "mask",
    ),
    "nothing_observed": (lambda m: m.sample(seed=0, mask=np.ones((2, 2), bool)), "observed"),
    "batches": (
        lambda m: Autoregressive(
            network(4, context_features=1), BERNOULLI, (4,), context=jnp.zeros((3, 1))
        ).complete(jax.random.key(0), np.zeros((2, 1))),
        "observed",
    ),
    "grey": (lambda m: m.complete(jax.random.key(0), np.full((1, 2), 0.5)), "observed"),
    "level": (
        lambda m: m.complete(
            jax.random.key(0), np.array([[0, 1], [2, 0]]), np.array([[True, True], [True, False]])
        ),
        "observed",
    ),
    "cold": (lambda m: m.sample(seed=0, temperature=0.0), "temperature"),
    "nan": (lambda m: m.sample(seed=0, temperature=float("nan")), "temperature"),
    "vector_temperature": (lambda m: m.sample(seed=0, temperature=jnp.ones(2)), "temperature"),
    "repeats": (lambda m: model_of(ordering=np.array([0, 0, 1, 2])), "ordering"),
    "short_ordering": (lambda m: model_of(ordering=np.arange(3)), "ordering"),
    "model_ordering": (
        lambda m: NADE((4,), ordering=(0, 1, 1, 3)).init(
            jax.random.key(0), BITS, method="log_prob"
        ),
        "ordering",
    ),
    "word": (
        lambda m: NADE((4,), ordering="reversed").init(jax.random.key(0), BITS, method="log_prob"),
        "ordering",
    ),
}


def test_what_is_not_observed_may_be_anything():
    mask = np.array([[True, True], [False, False]])
    drawn = model_of().complete(jax.random.key(0), np.array([[0.0, 1.0], [np.nan, 7.0]]), mask)
    assert drawn[0].tolist() == [0, 1] and set(drawn[1].tolist()) <= {0, 1}


@pytest.mark.parametrize("act, word", BAD.values(), ids=BAD)
def test_bad_input_is_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act(model_of())


@pytest.mark.parametrize("family", [families.Bernoulli(), families.MixtureOfNormals(2)])
def test_samples_do_not_depend_on_how_much_noise_is_made_at_once(family, monkeypatch):
    """All sites, two of the four, and one at a time; and where a family does not split draws."""
    found = []
    for numbers in (10**6, 12 if family == families.Bernoulli() else 2, 0):
        monkeypatch.setattr("dgmjax.distributions.autoregressive.NOISE", numbers)
        found.append(model_of(family=family).sample(seed=jax.random.key(2), sample_shape=(5,)))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
