"""Structures of latents with every prior and posterior; parameters made by any public method.

The VAE of one latent is crossed with likelihoods and objectives in `test_latent_product`.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scrambling import compiled_start, perturbed

from dgmjax import models, nn, objectives
from dgmjax.errors import DgmjaxError
from dgmjax.training import Player, gradient_learner

KEY = jax.random.key(0)
EVENT, LATENT, WIDTH, CLASSES = (3,), 2, 4, 3
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, *EVENT)), jnp.float32)
BATCH = {"x": X, "label": jnp.arange(6) % CLASSES}


def priors(context):
    """Density modules of z given `context` numbers."""
    return {
        "standard": None,
        "normal": models.DiagonalNormal((LATENT,)),
        "mixture": models.NormalMixture(LATENT, 3),
        "vamp": models.VampPrior(EVENT, 3),
        "flow": models.RealNVP(LATENT, layers=2, hidden=(4,)),
        "autoregressive": models.RNADE((LATENT,), 4, context_features=context),
    }


POSTERIORS = {
    "diagonal": None,
    "full": models.FullCovarianceNormal(LATENT),
    "flow": models.IAF(
        LATENT, 1, (4,), context_features=WIDTH, base=models.DiagonalNormal((LATENT,))
    ),
}


def hierarchy(inference):
    return lambda prior, posterior: models.DenseHierarchicalVAE(
        EVENT, (3, LATENT), ((4,), (4,)), inference=inference, prior_model=prior, **posterior
    )


def chosen(posterior):
    return {} if posterior is None else {"posterior_model": posterior}


STRUCTURES = {
    "vae": (
        lambda prior, q: models.DenseVAE(EVENT, LATENT, (WIDTH,), prior_model=prior, **q),
        0,
    ),
    "conditional": (
        lambda prior, q: models.DenseCVAE(
            EVENT, LATENT, (WIDTH,), num_classes=CLASSES, prior_model=prior, **q
        ),
        CLASSES,
    ),
    "ladder": (hierarchy("ladder"), 0),
    "bottom_up": (hierarchy("bottom_up"), 0),
}
REFUSED = {("bottom_up", "vamp"): 'Use inference="ladder"'}
HIERARCHIES = ("ladder", "bottom_up")


def made(structure, prior, posterior):
    make, context = STRUCTURES[structure]
    return make(priors(context)[prior], chosen(POSTERIORS[posterior]))


def cells():
    for structure, prior, posterior in itertools.product(STRUCTURES, priors(0), POSTERIORS):
        if structure == "conditional" or (structure in HIERARCHIES and posterior == "diagonal"):
            yield structure, prior, posterior


def compiles(structure, prior, posterior):
    """Cells that also run: every prior once in each structure with a new one, every posterior."""
    if structure == "bottom_up":
        return prior in ("standard", "mixture")
    return posterior == "diagonal" or prior == "vamp"


@pytest.mark.staggered
@pytest.mark.parametrize("structure, prior, posterior", list(cells()))
def test_a_step_of_every_cell_moves_every_part_or_says_why_not(structure, prior, posterior):
    module = made(structure, prior, posterior)
    learner = gradient_learner(module, {"model": Player(objectives.elbo, optax.sgd(1.0))})

    def one_step(key):
        state = jax.jit(learner.init)(key, BATCH)
        state = state.replace(params=perturbed({"params": state.params}, scale=0.1)["params"])
        return state.params, *learner.step(state, BATCH)

    word = REFUSED.get((structure, prior))
    if word is not None:
        with pytest.raises(DgmjaxError, match=f"^`prior_model` must .*{word}"):
            jax.eval_shape(one_step, KEY)
        return
    if not compiles(structure, prior, posterior):
        jax.eval_shape(one_step, KEY)
        return
    before, after, metrics = jax.jit(one_step)(KEY)
    assert all(np.isfinite(value) for value in metrics.values())
    assert int(after.skipped) == 0
    change = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before, after.params)
    leaves = jax.tree_util.tree_leaves_with_path(change)
    still = {jax.tree_util.keystr(path) for path, moved in leaves if moved == 0}
    assert not still


@pytest.mark.parametrize("structure", HIERARCHIES)
def test_hierarchies_have_no_posterior_model(structure):
    with pytest.raises(TypeError, match="posterior_model"):
        made(structure, "standard", "full")


@pytest.mark.parametrize("option", ["prior_model", "posterior_model"])
@pytest.mark.parametrize("make", [models.VRNN, models.MultimodalVAE])
def test_structures_whose_prior_follows_from_them_take_no_other(make, option):
    """A product of experts needs a normal prior, and the steps of a VRNN are their own prior."""
    with pytest.raises(TypeError, match=option):
        make(**{option: models.DiagonalNormal((LATENT,))})


Z = jnp.zeros((6, LATENT))
NUMBERS = {
    "sample": (KEY, (2,)),
    "mean": (KEY, (2,)),
    "prior": (),
    "posterior": (X,),
    "reconstruct": (X, KEY),
    "likelihood": (Z,),
    "log_joint": (X, Z),
    "shown": (Z, KEY),
}
LATENTS = {"z1": jnp.zeros((6, 3)), "z2": jnp.zeros((6, LATENT))}
CHAIN = {
    name: tuple(LATENTS if a is Z else a for a in arguments) for name, arguments in NUMBERS.items()
}
WHOLE = ("sample", "mean")
TOY = models.DiscreteVAE(EVENT, LATENT, 2, (4,))
TREES = {
    "vae": (made("vae", "mixture", "flow"), objectives.elbo, NUMBERS),
    "vamp": (made("vae", "vamp", "full"), objectives.elbo, NUMBERS),
    "ladder": (made("ladder", "vamp", "diagonal"), objectives.elbo, CHAIN),
    "bottom_up": (made("bottom_up", "flow", "diagonal"), objectives.elbo, CHAIN),
    "conditional": (
        made("conditional", "normal", "full"),
        objectives.elbo,
        {**{name: (KEY, (2,)) for name in WHOLE}, "of_context": (KEY, (), jnp.eye(3))},
    ),
    "conditional_vamp": (
        made("conditional", "vamp", "flow"),
        objectives.elbo,
        {name: (KEY, (2,)) for name in WHOLE},
    ),
    "modalities": (
        models.ImageLabelVAE((3,), CLASSES, LATENT, (4,)),
        objectives.elbo,
        {**{name: (KEY, (2,)) for name in (*WHOLE, "sample_all")}, "prior": (), "given": (BATCH,)},
    ),
    "vrnn": (
        models.VRNN((3, 1), LATENT, 4),
        lambda model, batch, key: objectives.elbo(model, {"x": batch["x"][..., None]}, key),
        {"sample": (KEY, (2,)), "given": ({"x": X[..., None]},)},
    ),
    "draw": (
        models.DRAW((3, 1, 1), LATENT, 2, 4),
        lambda model, batch, key: objectives.elbo(model, {"x": batch["x"][..., None, None]}, key),
        {name: (KEY, (2,)) for name in WHOLE},
    ),
    "baseline": (
        models.WithBaseline(TOY, nn.MLP((4,), (1,))),
        objectives.reinforce,
        {"reconstruct": (X, KEY), "sample": (KEY, (2,))},
    ),
    "control_variate": (
        models.WithControlVariate(TOY, nn.MLP((4,), (1,))),
        objectives.relax,
        {"reconstruct": (X, KEY), "sample": (KEY, (2,))},
    ),
}


@pytest.mark.staggered
@pytest.mark.parametrize("name", TREES)
def test_every_public_method_makes_the_same_parameters(name):
    module, objective, methods = TREES[name]
    shapes = lambda *arguments, method: jax.eval_shape(
        lambda: module.init(KEY, *arguments, method=method)
    )
    wanted = shapes(BATCH, KEY, method=objective)
    for method, arguments in methods.items():
        found = shapes(*arguments, method="sample" if method == "of_context" else method)
        assert jax.tree.structure(found) == jax.tree.structure(wanted), method
        assert found == wanted, method


def test_parameters_do_not_depend_on_the_method_that_makes_them():
    module = made("vae", "flow", "flow").clone(marginal_start=False)
    by_name = compiled_start(module, KEY, X, KEY, method="reconstruct")
    by_objective = compiled_start(module, KEY, BATCH, KEY, method=objectives.elbo)
    jax.tree.map(np.testing.assert_array_equal, by_name, by_objective)


def test_a_vamp_prior_is_the_mean_of_the_posteriors_of_its_inputs():
    """Of a ladder's top latent, and of a conditional model for the class of each row."""

    def mean(each):
        return jax.nn.logsumexp(jnp.stack(each), 0) - np.log(3)

    def inputs(model):
        return jax.nn.sigmoid(model.variables["params"]["prior_model"]["pseudo_inputs"])

    def of_ladder(model, z):
        each = [model.posterior(u).conditional("z2", z).log_prob(z["z2"]) for u in inputs(model)]
        return model.prior().conditional("z2", z).log_prob(z["z2"]), mean(each)

    def of_conditional(model, z):
        given = model.given(BATCH)
        rows = [jnp.broadcast_to(u, X.shape) for u in inputs(model)]
        return given.prior().log_prob(z), mean([given.posterior(x).log_prob(z) for x in rows])

    noise = jax.random.normal(KEY, (7, 6, LATENT))
    chain = {"z1": jnp.ones((7, 6, 3)), "z2": noise}
    for cell, compare, z in (
        (("ladder", "vamp", "diagonal"), of_ladder, chain),
        (("conditional", "vamp", "full"), of_conditional, noise),
    ):
        module = made(*cell)
        variables = jax.jit(lambda m=module: m.init(KEY, BATCH, KEY, method=objectives.elbo))()
        found, expected = jax.jit(lambda v, m=module, f=compare, z=z: m.apply(v, z, method=f))(
            perturbed(variables)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    one_z = jax.jit(lambda v: module.apply(v, jnp.zeros((6, LATENT)), method=of_conditional))
    values = one_z(perturbed(variables))[0]
    assert np.abs(np.diff(values[:3])).min() > 0, "it depends on the class"
