"""Dense, recurrent and attention networks against their formulas and against Flax's cells."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start, perturbed, scrambled

from dgmjax import models
from dgmjax.distributions import families
from dgmjax.errors import DgmjaxError
from dgmjax.nn import CausalAttention, DiagonalBiLSTM, Positions, Recurrent, RowLSTM
from dgmjax.nn.autoregressive.nade import NADENetwork

KEY = jax.random.key(0)


def initialised(module, *arguments, scale=1.0):
    return scrambled(jax.eval_shape(module.init, KEY, *arguments), scale=scale)


@partial(jax.jit, static_argnums=0)
def density(model, x):
    """The variables of a model that saw the data when it began."""
    return compiled_start(model, KEY, x, method="log_prob")


@partial(jax.jit, static_argnums=0, static_argnames="method")
def apply(module, variables, *arguments, method=None):
    return module.apply(variables, *arguments, method=method)


@partial(jax.jit, static_argnums=(0, 2))
def draw(model, variables, num):
    return model.apply(variables, jax.random.key(1), (num,), method="sample")


@partial(jax.jit, static_argnums=(0, 2))
def conditional(model, variables, mask, x):
    return model.apply(variables, None, mask).log_prob(x)


@partial(jax.jit, static_argnums=(0, 3))
def run(module, variables, h, num_sites):
    """The layer one site at a time, `[N, D, C] -> [N, D, C']`."""

    def body(carry, parts):
        index, h = parts
        return module.apply(variables, carry, h, index, method="step")

    carry = module.apply(variables, (len(h),), method="init_carry")
    parts = (jnp.arange(num_sites), jnp.moveaxis(h, 1, 0))
    return jnp.moveaxis(jax.lax.scan(body, carry, parts)[1], 0, 1)


def test_fvsbn_is_one_triangular_matrix_of_logistic_regressions():
    model = models.FVSBN((2, 2, 1))
    images = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=4))).reshape(-1, 2, 2, 1)
    variables = density(model, images[:5])
    params = variables["params"]["network"]
    assert set(params) == {"out_kernel", "out_bias"}
    assert (params["out_kernel"] == 0).all(), "it starts at the marginals of the data"
    ones = np.asarray(images[:5].sum(0)).ravel()
    np.testing.assert_allclose(
        params["out_bias"], np.log((ones + 0.5) / (5 - ones + 0.5)), rtol=1e-5
    )
    params = scrambled(params)
    x = np.asarray(images, np.float64).reshape(-1, 4)
    logits = x @ np.triu(params["out_kernel"], 1) + params["out_bias"]
    expected = (x * logits - np.logaddexp(0.0, logits)).sum(-1)
    ours = apply(model, {"params": {"network": params}}, images, method="log_prob")
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("features", [1, 2, 5, 12])
@pytest.mark.parametrize("rescale", [False, True])
def test_nade_is_the_sum_of_its_paper(features, rescale):
    """Every conditional by its own O(D H) sum, for lengths that do and do not divide evenly."""
    module = NADENetwork(features, 6, 2, rescale=rescale, context_features=3)
    x = jax.random.normal(KEY, (2, 3, features))
    context = jax.random.normal(jax.random.key(1), (3, 3))
    variables = initialised(module, x, context)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
    values, given = np.asarray(x, np.float64), np.asarray(context, np.float64)
    expected = np.empty((2, 3, features, 2))
    out = (given @ p["context_out"]).reshape(3, features, 2)
    for t in range(features):
        total = p["bias"] + given @ p["context_kernel"] + values[..., :t] @ p["kernel"][:t]
        hidden = 1.0 / (1.0 + np.exp(-total * (p["scale"][t] if rescale else 1.0)))
        expected[..., t, :] = p["out_bias"][t] + hidden @ p["out_kernel"][t].T + out[:, t]
    ours = apply(module, variables, x, context)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_gradient_of_nade_is_that_of_the_formula():
    module = NADENetwork(7, 5, 1)
    x = jax.random.normal(KEY, (4, 7))
    variables = initialised(module, x)

    def plain(variables, x):
        p = variables["params"]
        total = jnp.cumsum(x[..., None] * p["kernel"], -2) - x[..., None] * p["kernel"] + p["bias"]
        return jnp.einsum("ndh,dph->ndp", nn.sigmoid(total), p["out_kernel"]) + p["out_bias"]

    loss = lambda f: lambda variables, x: jnp.sin(f(variables, x)).sum()
    ours = jax.jit(jax.grad(loss(module.apply), (0, 1)))(variables, x)
    expected = jax.jit(jax.grad(loss(plain), (0, 1)))(variables, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, expected)


def test_an_ensemble_of_nades_is_a_density_and_a_mask_is_a_reordering():
    """Mask m is the NADE over x[order] whose site parameters were gathered in that order."""
    images = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=5)))
    model = models.NADE((5,), 6, num_orders=3, ordering="random")
    variables = perturbed(density(model, images), scale=1.0)
    total = np.exp(np.asarray(apply(model, variables, images, method="log_prob"), np.float64)).sum()
    assert total == pytest.approx(1.0, abs=1e-5)
    orders = model.bind(variables)._tables()[0]
    params = variables["params"]["network"]
    plain = models.NADE((5,), 6)
    each = []
    for mask, order in enumerate(orders):
        gathered = {
            name: params[name] if name == "bias" else params[name][order] for name in params
        }
        expected = apply(
            plain, {"params": {"network": gathered}}, images[:, order], method="log_prob"
        )
        each.append(conditional(model, variables, mask, images))
        np.testing.assert_allclose(each[-1], expected, atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 1e-2
    samples = draw(model, variables, 3)
    assert samples.shape == (3, 5)


def test_any_permutation_is_an_ordering():
    images = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=3)))
    for build in (lambda **o: models.NADE((3,), 4, **o), lambda **o: models.FVSBN((3,), **o)):
        model = build(ordering=(2, 0, 1))
        variables = perturbed(density(model, images), scale=1.0)
        total = np.exp(np.asarray(apply(model, variables, images, method="log_prob"), np.float64))
        assert total.sum() == pytest.approx(1.0, abs=1e-5)
        first = jax.jit(lambda v, m=model: m.apply(v, None).params(images))(variables)[:, 0]
        assert np.ptp(np.asarray(first)) == 0, "the first site in the order reads nothing"


def test_rnade_integrates_to_one():
    model = models.RNADE((2,), 5, num_components=2)
    x = jax.random.normal(KEY, (32, 2))
    variables = perturbed(density(model, x), scale=0.15)
    line = np.linspace(-24.0, 24.0, 961, dtype=np.float32)
    grid = jnp.asarray(np.stack(np.meshgrid(line, line), -1))
    log_prob = np.asarray(apply(model, variables, grid, method="log_prob"), np.float64)
    assert (np.exp(log_prob).sum() * (line[1] - line[0]) ** 2) == pytest.approx(1.0, abs=2e-3)


CELLS = {
    "lstm": (nn.OptimizedLSTMCell, {"i": "i", "f": "f", "g": "g", "o": "o"}),
    "gru": (nn.GRUCell, {"r": "r", "z": "z", "n": "n"}),
}


@pytest.mark.parametrize("name", CELLS)
def test_recurrent_layers_are_flax_cells(name):
    """The same outputs as Flax's cell, step by step, with its parameters taken from ours."""
    cell, gates = CELLS[name]
    ours, theirs = Recurrent(5, name), cell(5)
    h = jax.random.normal(KEY, (2, 6, 3))
    variables = initialised(ours, h, scale=0.5)
    p = variables["params"]
    params = {}
    split = lambda a: np.split(a, len(gates), -1)
    for gate, kernel, bias, recurrent in zip(
        gates, split(p["inputs"]["kernel"]), split(p["inputs"]["bias"]), split(p["kernel"])
    ):
        if name == "lstm":
            params[f"i{gate}"] = {"kernel": kernel}
            params[f"h{gate}"] = {"kernel": recurrent, "bias": bias}
        else:
            params[f"i{gate}"] = {"kernel": kernel, "bias": bias}
            params[f"h{gate}"] = {"kernel": recurrent}
    if name == "gru":
        params["hn"]["bias"] = p["bias"]
    carry = theirs.initialize_carry(KEY, (2, 3))
    carry = jax.tree.map(jnp.zeros_like, carry)
    expected = []
    for t in range(6):
        carry, out = applied(theirs, {"params": params}, carry, h[:, t])
        expected.append(out)
    expected = np.stack(expected, 1)
    np.testing.assert_allclose(apply(ours, variables, h), expected, atol=1e-5)
    np.testing.assert_allclose(run(ours, variables, h, 6), expected, atol=1e-5)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(gates, cell):
    i, f, g, o = np.split(gates, 4, -1)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


@pytest.mark.parametrize("sites", [(3, 4), (4, 1), (1, 3)])
def test_row_lstm_is_its_formula(sites):
    """h_{i,j} reads inputs j - 1 and j of its row, and hidden units j - 1 .. j + 1 above."""
    module, (height, width) = RowLSTM(2, sites), sites
    x = jax.random.normal(KEY, (2, *sites, 3))
    variables = initialised(module, x, scale=0.7)
    p, values = float64(variables["params"]), np.asarray(x, np.float64)
    units, cells = np.zeros((2, height + 1, width + 2, 2)), np.zeros((2, height + 1, width, 2))
    for i, j in itertools.product(range(height), range(width)):
        gates = values[:, i, j] @ p["inputs"]["centre_0"] + p["bias"]
        if j:
            gates = gates + values[:, i, j - 1] @ p["inputs"]["left"][0, 0]
        gates = gates + units[:, i, j : j + 3].reshape(2, -1) @ p["kernel"]
        units[:, i + 1, j + 1], cells[:, i + 1, j] = lstm(gates, cells[:, i, j])
    expected = units[:, 1:, 1:-1]
    np.testing.assert_allclose(apply(module, variables, x), expected, atol=1e-5)
    stepped = run(module, variables, x.reshape(2, -1, 3), height * width)
    np.testing.assert_allclose(stepped, expected.reshape(2, -1, 2), atol=1e-5)


@pytest.mark.parametrize("sites", [(3, 4), (4, 1), (1, 3), (4, 2)])
def test_diagonal_bilstm_is_its_formula(sites):
    """Site by site without skewing; the right sweep enters one row below."""
    module, (height, width) = DiagonalBiLSTM(2, sites), sites
    x = jax.random.normal(KEY, (2, *sites, 3))
    variables = initialised(module, x, scale=0.7)
    p, values = float64(variables["params"]), np.asarray(x, np.float64)
    expected = np.zeros((2, height + 1, width, 2))
    for side, kernel, back in (("left", "left_kernel", -1), ("right", "right_kernel", 1)):
        units, cells = np.zeros((2, height + 1, width + 2, 2)), np.zeros((2, height, width + 2, 2))
        for i, j in itertools.product(range(height), range(width)[::-back]):
            gates = values[:, i, j] @ p[side]["kernel"] + p[side]["bias"]
            before = np.concatenate([units[:, i, j + 1], units[:, i + 1, j + 1 + back]], -1)
            gates = gates + before @ p[kernel]
            units[:, i + 1, j + 1], cells[:, i, j + 1] = lstm(gates, cells[:, i, j + 1 + back])
            expected[:, i + (side == "right"), j] += units[:, i + 1, j + 1]
    expected = expected[:, :height]
    np.testing.assert_allclose(apply(module, variables, x), expected, atol=1e-5)
    stepped = run(module, variables, x.reshape(2, -1, 3), height * width)
    np.testing.assert_allclose(stepped, expected.reshape(2, -1, 2), atol=1e-5)


def test_diagonal_bilstm_sees_everything_and_row_lstm_a_triangle():
    """What the last site of a 4x5 image reads; a Row LSTM misses the corners above it."""
    x = jax.random.normal(KEY, (4, 5, 1))
    reads = {}
    for name, module in {"row": RowLSTM(3, (4, 5)), "diagonal": DiagonalBiLSTM(3, (4, 5))}.items():
        variables = initialised(module, x)
        output = lambda x, module=module, variables=variables: module.apply(variables, x)
        gradient = jax.jit(jax.grad(lambda x, output=output: output(x)[-1, 2].sum()))(x)
        reads[name] = (np.asarray(gradient)[..., 0] != 0).astype(int)
    assert reads["diagonal"][:-1].all()
    assert reads["diagonal"][-1].tolist() == [1, 1, 1, 0, 0]
    assert reads["row"].tolist() == [[1] * 5, [1] * 5, [1, 1, 1, 1, 0], [0, 1, 1, 0, 0]]


@pytest.mark.parametrize("turned", [False, True], ids=["plain", "rotary"])
def test_attention_is_its_formula(turned):
    """Rotary: pairs are complex numbers z_i, turned by exp(1j t 10000^(-i / 2))."""
    module = CausalAttention(8, 2, 7, turned)
    h = jax.random.normal(KEY, (2, 5, 8))
    variables = initialised(module, h, scale=0.5)
    p, x = float64(variables["params"]), np.asarray(h, np.float64)
    query, key, value = np.split(x @ p["read"]["kernel"] + p["read"]["bias"], 3, -1)
    if turned:
        turns = np.exp(1j * np.arange(5)[:, None, None] * 10_000.0 ** -np.array([0, 0.5]))
        for rows in (query, key):
            pairs = rows.reshape(2, 5, 2, 2, 2)
            z = (pairs[..., 0, :] + 1j * pairs[..., 1, :]) * turns
            rows[:] = np.stack([z.real, z.imag], -2).reshape(rows.shape)
    out = np.zeros_like(x)
    for head, t in itertools.product(range(2), range(5)):
        part = slice(4 * head, 4 * head + 4)
        scores = (query[:, t, None, part] * key[:, : t + 1, part]).sum(-1) / np.sqrt(4)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        out[:, t, part] = (weights[..., None] * value[:, : t + 1, part]).sum(1)
    expected = out @ p["write"]["kernel"] + p["write"]["bias"]
    np.testing.assert_allclose(apply(module, variables, h), expected, atol=1e-5)
    np.testing.assert_allclose(run(module, variables, h, 5), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.staggered
@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_deep_transformer_starts_with_gradients_of_moderate_size(positions):
    """The first site has read nothing: without a start of its own its norms overflowed."""
    model = models.Transformer((9,), features=8, heads=2, layers=6, positions=positions)
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 9)), jnp.float32)
    variables = compiled_start(model, KEY, x, method="log_prob")
    loss = lambda variables: -model.apply(variables, x, method="log_prob").mean()
    norm = jax.jit(lambda variables: optax.tree.norm(jax.grad(loss)(variables)))(variables)
    assert 1e-3 < norm < 1e3


def test_a_recurrent_model_reads_and_draws_any_length():
    model = models.CharRNN(8, levels=5, features=6)
    x = jax.random.randint(KEY, (16, 8), 0, 5)
    variables = perturbed(density(model, x))
    longer = model.clone(event_shape=(20,))
    text = draw(longer, variables, 3)
    assert text.shape == (3, 20)
    assert ((text >= 0) & (text < 5) & (text == jnp.round(text))).all()
    both = apply(longer, variables, text, method="log_prob")
    assert both.shape == (3,)
    prefix = apply(model, variables, text[:, :8], method="log_prob")
    assert (both < prefix).all(), "the first characters are as likely as in the shorter text"


@pytest.mark.staggered
@pytest.mark.parametrize(
    "family, event_shape",
    [
        (families.Categorical(4), (3, 3, 1)),
        (families.Normal(), (6,)),
        (families.DiscretisedLogisticMixture(2, levels=4, channels=2), (2, 2, 2)),
    ],
    ids=["categorical", "normal", "channels"],
)
@pytest.mark.parametrize("recipe", [models.RecurrentModel, models.Transformer])
def test_recurrent_models_serve_any_family(recipe, family, event_shape):
    model = recipe(event_shape, family, features=8, layers=2, site_bias=True)
    shape = (16, *event_shape)
    x = (
        jax.random.normal(KEY, shape)
        if family.values == "real"
        else (jax.random.randint(KEY, shape, 0, family.levels))
    )
    variables = perturbed(density(model, x))
    assert np.isfinite(apply(model, variables, x, method="log_prob")).all()
    samples = draw(model, variables, 3)
    assert samples.shape == (3, *event_shape) and np.isfinite(samples).all()


BAD = {
    "cell": (lambda: Recurrent(3, "elman").init(KEY, jnp.zeros((2, 3))), "cell"),
    "sequence": (lambda: Recurrent(3).init(KEY, jnp.zeros(3)), "h"),
    "heads": (lambda: CausalAttention(5, 2, 4).init(KEY, jnp.zeros((2, 5))), "features"),
    "odd_heads": (lambda: CausalAttention(6, 2, 4).init(KEY, jnp.zeros((2, 6))), "features"),
    "positions": (lambda: models.Transformer((4,), positions="sine"), "positions"),
    "long": (lambda: Positions((4,), 2).init(KEY, jnp.zeros((5, 2))), "h"),
    "other_image": (lambda: Positions((4, 3), 2).init(KEY, jnp.zeros((3, 4, 2))), "h"),
    "even_kernel": (lambda: RowLSTM(2, (3, 3), 2).init(KEY, jnp.zeros((3, 3, 1))), "kernel_size"),
    "flat_sites": (lambda: DiagonalBiLSTM(2, (9,)).init(KEY, jnp.zeros((9, 1))), "sites"),
    "rgb_of_scalars": (lambda: models.RowLSTM((3, 3, 3)), "event_shape"),
    "other_length": (
        lambda: (
            models.Transformer((4,))
            .clone(event_shape=(5,))
            .init(KEY, jnp.zeros((1, 5)), method="log_prob")
        ),
        "event_shape",
    ),
    "no_layers": (lambda: models.Transformer((4,), layers=0), "layers"),
    "nade_x": (lambda: NADENetwork(3, 2, 1).init(KEY, jnp.zeros(4)), "x"),
    "nade_context": (lambda: NADENetwork(3, 2, 1).init(KEY, jnp.zeros(3), jnp.zeros(2)), "context"),
    "nade_units": (lambda: NADENetwork(3, 0, 1).init(KEY, jnp.zeros(3)), "hidden"),
    "direct_fvsbn": (
        lambda: models.FVSBN((3,), direct=True).init(KEY, jnp.zeros((1, 3)), method="log_prob"),
        "hidden",
    ),
    "reordered_lstm": (
        lambda: models.RecurrentModel((3,), num_orders=2).init(
            KEY, jnp.zeros((1, 3)), method="log_prob"
        ),
        "network",
    ),
    "context": (
        lambda: models.NADE((3,), context_features=2).init(
            KEY, jnp.zeros((1, 3)), method="log_prob"
        ),
        "context",
    ),
}


@pytest.mark.parametrize("act, word", BAD.values(), ids=BAD)
def test_bad_input_is_named(act, word):
    with pytest.raises(DgmjaxError, match=f"^`{word}` must"):
        act()


RECIPES = {
    "fvsbn": lambda: models.FVSBN((4,)),
    "nade": lambda: models.NADE((4,), 3, num_orders=2),
    "rnade": lambda: models.RNADE((4,), 3, 2),
    "char_rnn": lambda: models.CharRNN(4, 3, 2, layers=2),
    "pixel_lstm": lambda: models.PixelLSTM((2, 2, 1), features=2),
    "transformer": lambda: models.Transformer((4,), features=2, layers=1, heads=1),
    "row_lstm": lambda: models.RowLSTM((2, 2, 1), features=2, layers=1),
    "diagonal_bilstm": lambda: models.DiagonalBiLSTM((2, 2, 1), features=2, layers=1),
}


@pytest.mark.staggered
@pytest.mark.parametrize("build", RECIPES.values(), ids=RECIPES)
def test_equal_models_compile_once(build):
    """A model that was built again is the same static argument, and so is its distribution."""
    traces = []

    @partial(jax.jit, static_argnums=0)
    def log_prob(model, variables, x):
        traces.append(1)
        return model.apply(variables, x, method="log_prob")

    @jax.jit
    def of_distribution(distribution, x):
        traces.append(1)
        return distribution.log_prob(x)

    x = jnp.ones((5, *build().event_shape))
    variables = density(build(), x)
    for _ in range(2):
        first = log_prob(build(), jax.tree.map(jnp.copy, variables), x)
        assert first.shape == (5,) and np.isfinite(first).all()
        if build().num_orders == 1:
            second = of_distribution(applied(build(), variables), x)
            np.testing.assert_allclose(first, second, rtol=1e-5)
    assert len(traces) == 1 + (build().num_orders == 1)
