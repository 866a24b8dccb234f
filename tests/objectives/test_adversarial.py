"""Games against what is known of their optimal critics; divergences and MMD against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scrambling import compiled_start

from dgmjax import models, nn, objectives
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.objectives import DIVERGENCES, GAMES
from dgmjax.objectives.mmd import mmd

KEY = jax.random.key(0)
GRID = np.linspace(-12.0, 12.0, 4001)
WIDTH = GRID[1] - GRID[0]


def mixture(weights, means, deviations):
    parts = zip(weights, means, deviations)
    return sum(w * scipy.stats.norm.pdf(GRID, m, s) for w, m, s in parts)


MIXTURES = {
    "near": (mixture([0.5, 0.5], [-1, 1], [1, 1]), mixture([0.3, 0.7], [-1, 1.5], [1, 1.2])),
    "apart": (mixture([0.7, 0.3], [-3, 2], [0.8, 1]), mixture([0.4, 0.6], [-2, 2], [1, 1.1])),
}
KNOWN = {
    "kl": lambda p, q: p * np.log(p / q),
    "reverse_kl": lambda p, q: q * np.log(q / p),
    "jensen_shannon": lambda p, q: (
        0.5 * p * np.log(2 * p / (p + q)) + 0.5 * q * np.log(2 * q / (p + q))
    ),
    "pearson_chi2": lambda p, q: (p - q) ** 2 / q,
    "squared_hellinger": lambda p, q: (np.sqrt(p) - np.sqrt(q)) ** 2,
    "total_variation": lambda p, q: 0.5 * np.abs(p - q),
}


def minimised(loss, steps=60):
    """v of the least `loss(v)` at each point of the grid, by golden sections in float64."""
    low, high = np.full(GRID.shape, -60.0), np.full(GRID.shape, 60.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        better = np.asarray(loss(jnp.asarray(left))) < np.asarray(loss(jnp.asarray(right)))
        low, high = np.where(better, low, left), np.where(better, right, high)
    return 0.5 * (low + high)


def pointwise(game, p, q):
    """p l(v on data) + q l(v on samples), with the constants that a separate game leaves out."""
    zero = jnp.zeros(GRID.shape)
    on_data = lambda v: game.critic(v, zero) - game.critic(zero, zero) / 2
    on_samples = lambda v: game.critic(zero, v) - game.critic(zero, zero) / 2
    return lambda v: p * on_data(v) + q * on_samples(v)


@pytest.mark.staggered
@pytest.mark.parametrize("densities", MIXTURES)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_bound_of_the_optimal_critic_is_the_divergence(name, densities):
    """-E[critic loss], maximised at every point by itself, is within 2% of the divergence."""
    p, q = MIXTURES[densities]
    true = (KNOWN[name](p, q) * WIDTH).sum()
    row = DIVERGENCES[name]
    with jax.enable_x64(True):
        np.testing.assert_allclose((q * row.function(jnp.asarray(p / q)) * WIDTH).sum(), true)
        game = GAMES[f"f_{name}"]
        v = minimised(pointwise(game, p, q))
        zero = jnp.zeros(GRID.shape)
        constant = float(game.critic(zero, zero)[0])
        least = float((pointwise(game, p, q)(jnp.asarray(v)) * WIDTH).sum())
        # Each half of the pointwise loss holds one half of the constant.
        bound = -least
    assert abs(bound - true) <= 0.02 * true, (bound, true, constant)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_conjugates_are_conjugate_and_activations_stay_in_the_domain(name):
    """f*(t) = max_u u t - f(u) by enumeration; f*(g_f(v)) finite in float32 for large v."""
    row = DIVERGENCES[name]
    low, high = row.domain
    with jax.enable_x64(True):
        v = jnp.linspace(-2.0, 2.0, 9)
        t = row.activation(v)
        u = jnp.asarray(
            np.concatenate([np.linspace(0.0, 20.0, 200_001)[1:], np.logspace(1, 3, 999)])
        )
        best = jnp.max(u[:, None] * t - row.function(u)[:, None], axis=0)
        attained = t >= -2.0 if name == "pearson_chi2" else t == t  # f is continued below u = 0
        np.testing.assert_allclose(best[attained], row.conjugate(t)[attained], rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(row.composed(v), row.conjugate(t), rtol=1e-9, atol=1e-9)
        slope = jax.grad(row.function)(1.0) if name != "total_variation" else 0.0
        np.testing.assert_allclose(row.activation(jnp.asarray(row.boundary)), slope, atol=1e-12)
    v = jnp.linspace(-60.0, 60.0, 101)
    t = row.activation(v)
    assert bool(((t >= low) & (t <= high + 1e-6)).all()) and bool((jnp.diff(t) >= 0).all())
    assert bool(jnp.isfinite(row.composed(v)).all())


OPTIMAL = {
    "minimax": lambda p, q: np.log(p / q),
    "non_saturating": lambda p, q: np.log(p / q),
    "density_ratio": lambda p, q: np.log(p / q),
    "least_squares": lambda p, q: p / (p + q),
    "hinge": lambda p, q: np.sign(p - q),
    "f_jensen_shannon": lambda p, q: np.log(p / q),
    "f_kl": lambda p, q: 1 + np.log(p / q),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", OPTIMAL)
def test_the_optimal_critic_is_the_known_one(name):
    p, q = MIXTURES["near"]
    bulk = (p > 1e-4) & (q > 1e-4) & (np.abs(p / q - 1) > 1e-3)
    with jax.enable_x64(True):
        v = minimised(pointwise(GAMES[name], p, q))
    np.testing.assert_allclose(v[bulk], OPTIMAL[name](p, q)[bulk], atol=1e-5)
    assert ((v > GAMES[name].boundary) == (p > q))[bulk].all()


def test_non_saturating_f_gans_have_a_slope_where_no_data_are():
    """T = f'(0) = -2 is the optimal critic of Pearson's where p = 0: f* is flat there."""
    slope = lambda name, v: float(jax.grad(lambda v: GAMES[name].generator(None, v))(v))
    assert slope("f_pearson_chi2", -2.0) == 0.0
    assert slope("f_pearson_chi2_non_saturating", -2.0) == -1.0
    assert slope("f_kl", 40.0) < -1e16 and slope("f_kl_non_saturating", 40.0) == -1.0
    for name in ("f_kl", "f_pearson_chi2"):  # the critic's side is the same
        both = (GAMES[game].critic(0.3, -0.2) for game in (name, f"{name}_non_saturating"))
        assert len(set(map(float, both))) == 1


def test_minimax_at_its_optimum_is_the_jensen_shannon_divergence():
    p, q = MIXTURES["apart"]
    js = (KNOWN["jensen_shannon"](p, q) * WIDTH).sum()
    with jax.enable_x64(True):
        v = jnp.asarray(np.log(p / q))
        zero = jnp.zeros(GRID.shape)
        loss = GAMES["minimax"].critic(v, zero) - np.log(2), GAMES["minimax"].critic(zero, v)
        total = float(((p * loss[0] + q * (loss[1] - np.log(2))) * WIDTH).sum())
    assert total == pytest.approx(2 * np.log(2) - 2 * js, abs=1e-6)


def test_the_relativistic_critic_prefers_the_ratio():
    """Of all pairs, E softplus(D(y) - D(x)) is least at D = log p/q + c, by Bayes' rule."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    pairs = lambda d: GAMES["relativistic"].critic(d[:, None], d[None, :])
    loss = lambda d: (p[:, None] * q[None] * pairs(d)).sum()
    np.testing.assert_allclose(jax.grad(loss)(jnp.log(p / q)), 0.0, atol=1e-7)
    data, samples = jnp.array([1.0]), jnp.array([3.0])
    np.testing.assert_allclose(
        GAMES["relativistic"].generator(data, samples), np.log1p(np.exp(-2)), rtol=1e-6
    )


class Implicit:
    """Samples at 0.5 k, a critic that is given."""

    def __init__(self, logit):
        self.logit = logit
        self.features = lambda x: logit(x)[..., None]

    def sample(self, key, shape):
        return 0.5 * jnp.ones((*shape, 2)) * jnp.arange(shape[0])[:, None]


@pytest.mark.staggered
@pytest.mark.parametrize("name", GAMES)
def test_every_game_gives_finite_losses_and_slopes_to_both_players(name):
    module = models.GAN(2, nn.MLP((8,), (2,)), nn.MLP((8,), (1,)))
    batch = {"x": jax.random.normal(KEY, (6, 2))}
    losses = {"generator": objectives.generator_loss}
    if GAMES[name].head != "none":
        losses["critic"] = objectives.critic_loss
    for player, loss in losses.items():
        options = {"penalties": (objectives.r1(1.0),)} if player == "critic" else {}

        def both(model, batch, key, loss=loss, options=options):
            return loss(model, batch, key, game=name, **options)

        init = lambda model, batch, key: (model.sample(key, (1,)), model.logit(batch["x"]))
        variables = compiled_start(module, KEY, batch, KEY, method=init)
        value = lambda p, both=both: module.apply({"params": p}, batch, KEY, method=both)[0]
        assert value(variables["params"]).shape == (6,)
        slope = jax.grad(lambda p, value=value: value(p).mean())(variables["params"])
        norms = {
            k: float(sum(jnp.abs(a).sum() for a in jax.tree.leaves(v))) for k, v in slope.items()
        }
        assert np.isfinite(list(norms.values())).all() and norms[player] > 0
        if player == "critic":
            assert norms["generator"] == 0.0


PENALTIES = {
    "r1": objectives.r1(0.7),
    "r2": objectives.r2(0.7),
    "on_lines": objectives.on_lines(0.7),
    "dragan": objectives.dragan(0.7),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("event", [(3,), (4, 4, 2)])
def test_penalties_are_those_of_finite_differences_in_float64(name, event):
    """The norm of the slope by central differences at the points; so is the penalty's gradient."""
    network = nn.MLP((7,), (1,), activation=jnp.tanh, event_ndims=len(event))
    penalty, rng = PENALTIES[name], np.random.default_rng(0)
    with jax.enable_x64(True):
        data, samples = jnp.asarray(rng.normal(size=(2, 5, *event)))
        variables = compiled_start(network, KEY, data)
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        value = lambda v: lambda x: network.apply(v, x)[..., 0]
        x = np.asarray(penalty.points(data, samples, KEY))
        slopes, step = np.zeros(x.shape), 1e-5
        for place in np.ndindex(*event):
            moved = np.zeros(x.shape)
            moved[(slice(None), *place)] = step
            high, low = (
                value(variables)(jnp.asarray(x + moved)),
                value(variables)(jnp.asarray(x - moved)),
            )
            slopes[(slice(None), *place)] = (high - low) / (2 * step)
        norm = np.sqrt((slopes**2).reshape(5, -1).sum(1))
        expected = 0.35 * norm**2 if name in ("r1", "r2") else 0.7 * (norm - 1) ** 2
        found = penalty(value(variables), data, samples, KEY)
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        total = lambda v: penalty(value(v), data, samples, KEY).sum()
        direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), variables)
        at = lambda s: total(jax.tree.map(lambda a, d: a + s * d, variables, direction))
        slope = jax.tree.map(lambda a, b: (a * b).sum(), jax.grad(total)(variables), direction)
        numeric = (at(step) - at(-step)) / (2 * step)
        np.testing.assert_allclose(sum(jax.tree.leaves(slope)), numeric, rtol=1e-6)


def test_the_points_of_penalties_lie_where_they_should():
    data, samples = jnp.zeros((200, 3)), jnp.ones((200, 3))
    between = objectives.on_lines().points(data, samples, KEY)
    assert (
        bool((between == between[:, :1]).all())
        and 0 < float(between.min()) < float(between.max()) < 1
    )
    near = objectives.dragan(deviation=0.5).points(data.at[::2].set(2.0), samples, KEY)
    spread = float((near - data.at[::2].set(2.0)).std())
    assert spread == pytest.approx(0.5, rel=0.15)  # the batch has deviation 1; 600 draws


def test_a_flat_critic_has_a_finite_penalty_and_slope():
    penalty = lambda w: objectives.on_lines(1.0)(
        lambda x: w * x.sum(-1), *[jnp.ones((2, 3))] * 2, KEY
    )
    np.testing.assert_allclose(penalty(0.0), 1.0)
    assert float(jax.grad(lambda w: penalty(w).sum())(0.0)) == 0.0


@pytest.mark.parametrize("make", [objectives.r1, objectives.on_lines, objectives.dragan])
def test_penalties_of_bytes_are_those_of_their_values(make):
    x = jnp.array([[1, 200], [3, 2]], jnp.uint8)
    penalty = lambda data: make(1.0)(lambda x: (x**2).sum(-1), data, jnp.ones((2, 2)), KEY)
    np.testing.assert_array_equal(penalty(x), penalty(x.astype(jnp.float32)))


def test_penalties_add_up_in_the_loss_of_any_game():
    model = Implicit(lambda x: (x**2).sum(-1))
    batch = {"x": jnp.array([[1.0, 0.0], [0.5, 2.0]])}
    slopes = np.array([4.0, 17.0]) / 2 + np.array([0.0, 2.0]) / 2  # 4 |x|^2, halved
    for game in ("wasserstein", "hinge", "relativistic", "f_kl"):
        plain, _ = objectives.critic_loss(model, batch, KEY, game=game)
        loss, metrics = objectives.critic_loss(
            model, batch, KEY, game=game, penalties=(objectives.r1(1.0), objectives.r2(1.0))
        )
        np.testing.assert_allclose(loss - plain, slopes, rtol=1e-5)
        np.testing.assert_allclose(metrics["gradient_penalty"], slopes, rtol=1e-6)


def test_the_penalty_of_an_mmd_game_is_on_the_slope_of_its_witness():
    model, x = Implicit(lambda x: x.sum(-1)), jnp.array([[1.0, 0.0], [0.5, 2.0]])
    row = objectives.moment_matching("rbf")
    found = objectives.critic_loss(model, {"x": x}, KEY, game=row, penalties=(objectives.r1(2.0),))
    samples = model.sample(KEY, (2,))

    def witness(t):
        kernel = lambda a: np.exp(-((t.sum(-1)[:, None] - np.asarray(a).sum(-1)) ** 2) / 2)
        return kernel(x).mean(1) - kernel(samples).mean(1)

    x64, step = np.asarray(x, np.float64), 1e-4
    slopes = [(witness(x64 + step * e) - witness(x64 - step * e)) / (2 * step) for e in np.eye(2)]
    np.testing.assert_allclose(
        found[1]["gradient_penalty"], (np.array(slopes) ** 2).sum(0), rtol=1e-4
    )


def gaussian_mmd(mean, variances, bandwidth, size):
    """MMD^2 of N(0, a I) and N(mean, b I) under exp(-|x - y|^2 / (2 h)), in closed form."""
    (a, b), h = variances, bandwidth
    factor = lambda v, square: (h / (h + v)) ** (size / 2) * np.exp(-square / (2 * (h + v)))
    return factor(2 * a, 0.0) + factor(2 * b, 0.0) - 2 * factor(a + b, mean @ mean)


@pytest.mark.parametrize("biased", [False, True])
def test_mmd_has_the_closed_form_of_gaussians_as_its_mean(biased):
    """Of 2000 pairs of 8 and 6 points, 5 standard errors; the biased one is too large by a known
    amount: (1 - E k(x, x')) / n of each set."""
    mean, n, m, h = np.array([1.0, -0.5]), 8, 6, 1.5
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2000, n, 2)), jnp.float32)
    y = jnp.asarray(mean + np.sqrt(0.5) * rng.normal(size=(2000, m, 2)), jnp.float32)
    values = np.asarray(
        jax.vmap(lambda x, y: mmd(x, y, kernel="rbf", bandwidth=h, biased=biased))(x, y)
    )
    true = gaussian_mmd(mean, (1.0, 0.5), h, 2)
    within = lambda v: h / (h + 2 * v)
    expected = true + biased * ((1 - within(1.0)) / n + (1 - within(0.5)) / m)
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(2000)
    assert not biased or (values >= 0).all()


@pytest.mark.parametrize("kernel", ["rational_quadratic", "gaussian_mixture"])
def test_mixtures_of_kernels_by_hand(kernel):
    x, y = np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([[3.0, -1.0]])
    squared = ((x[:, None] - y[None]) ** 2).sum(-1)
    expected = {
        "rational_quadratic": sum((1 + squared / (2 * a)) ** -a for a in (0.2, 0.5, 1, 2, 5)),
        "gaussian_mixture": sum(np.exp(-squared / (2 * s**2)) for s in (2, 5, 10, 20, 40, 80)),
    }
    np.testing.assert_allclose(
        objectives.gram(jnp.asarray(x), jnp.asarray(y), kernel), expected[kernel], rtol=1e-5
    )


@pytest.mark.parametrize("kernel", ["rbf", "imq", "rational_quadratic", "gaussian_mixture"])
def test_mmd_does_not_change_with_the_origin(kernel):
    """Squares of distant points have no digits left for their differences."""
    x, y = np.round(64 * np.random.default_rng(0).normal(size=(2, 60, 3))) / 64  # exact when moved
    near, far = (mmd(x + c, y + 1.0 + c, kernel=kernel) for c in (0.0, 1e4))
    np.testing.assert_allclose(far, near, rtol=1e-3)


def test_what_a_game_cannot_do_is_named():
    model, batch = Implicit(lambda x: x.sum(-1)), {"x": jnp.ones((3, 2))}
    loss = lambda **options: objectives.critic_loss(model, batch, KEY, **options)
    with pytest.raises(DgmjaxError, match=r"`game` must be one of.*Did you mean 'hinge'"):
        loss(game="hinges")
    with pytest.raises(DgmjaxError, match="`game` must have a critic to train; got 'mmd'"):
        loss(game="mmd", penalties=(objectives.r1(1.0),))
    with pytest.raises(DgmjaxError, match="`penalties` must hold rows"):
        loss(penalties=(1.0,))
    with pytest.raises(DgmjaxError, match="`weight` must be at least 0"):
        objectives.r1(-1.0)
    with pytest.raises(DgmjaxError, match="`deviation` must be positive"):
        objectives.dragan(deviation=0.0)
    with pytest.raises(DgmjaxError, match="`divergence` must be one of"):
        objectives.f_gan("alpha")
    with pytest.raises(DgmjaxError, match="`on` must be"):
        objectives.moment_matching(on="value")
    with pytest.raises(DgmjaxError, match="`kernel` must be one of"):
        objectives.gram(jnp.ones((2, 1)), jnp.ones((2, 1)), "linear")
    with pytest.raises(DataError, match="`x` must have the shape of the generator's samples"):
        objectives.generator_loss(model, {"x": jnp.ones((3, 4))}, KEY)
    gan = models.GAN(2, nn.MLP((8,), (2,)), nn.MLP((8,), (3,)))
    with pytest.raises(DgmjaxError, match="`critic` must have one output for a game of values"):
        gan.init(KEY, batch, KEY, method=objectives.critic_loss)


def test_a_conjugate_that_leaves_its_domain_is_named():
    row = DIVERGENCES["squared_hellinger"]
    wrong = objectives.Divergence(
        row.function, row.conjugate, lambda v: v, row.domain, row.composed, row.boundary
    )
    with pytest.raises(DgmjaxError, match=r"`activation` must map real numbers into the domain"):
        objectives.f_gan(wrong)
