"""Every figure that a VAE is offered, with every family of likelihoods."""

from functools import partial

import jax
import numpy as np
import optax
import pytest
from scrambling import applied, compiled_start

from dgmjax import data, evaluation, lab, models, objectives
from dgmjax.distributions import families
from dgmjax.lab import Trained, latent_figures
from dgmjax.plotting import to_png
from dgmjax.training import Player

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, (8, 4, 4, 1)).astype(np.float32)
REAL = RNG.normal(size=(8, 4, 4, 1)).astype(np.float32)
LEVELS = RNG.integers(0, 5, (8, 4, 4, 1)).astype(np.uint8)

ROWS = {
    "Bernoulli": (families.Bernoulli(), BITS),
    "Categorical": (families.Categorical(5), LEVELS),
    "OneHotCategorical": (families.OneHotCategorical(3), np.eye(3, dtype=np.float32)[LEVELS % 3]),
    "Normal": (families.Normal(), REAL),
    "StudentT": (families.StudentT(), REAL),
    "Poisson": (families.Poisson(), LEVELS.astype(np.float32)),
    "MixtureOfNormals": (families.MixtureOfNormals(3), REAL),
    "DiscretisedLogisticMixture": (families.DiscretisedLogisticMixture(2, levels=5), LEVELS),
}


def test_every_family_has_a_row():
    public = {
        name
        for name, value in vars(families).items()
        if (isinstance(value, type) and hasattr(value, "num_params")) or name in ROWS
    }
    assert public - {"Family"} <= set(ROWS)


@pytest.mark.staggered(of=6)
@pytest.mark.parametrize("name", ROWS)
def test_every_figure_is_drawn(name):
    family, x = ROWS[name]
    x = x[..., 0, :] if name == "OneHotCategorical" else x
    arrays = {"x": x, "label": np.arange(8) % 2}
    info = {"value_range": [0.0, float(max(x.max(), 1.0))]}
    dataset = data.Dataset(name, {"train": arrays, "test": arrays}, info)
    module = models.DenseVAE(x.shape[1:], 2, (4,), observation=family)
    experiment = lab.Experiment(
        model=name,
        module=module,
        players={"model": Player(objectives.elbo, optax.adam(1e-3))},
        dataset=dataset,
        transform=data.Identity(),
        steps=1,
        batch_size=4,
        estimators=(),
        figures={},
    )
    learner = experiment.learner()
    trained = Trained(experiment, learner, jax.jit(learner.init)(jax.random.key(0), {"x": x}))
    offered = latent_figures.supported(module, dataset)
    assert {"kl_per_dimension", "posterior_scatter"} <= set(offered)
    for figure in offered.values():
        assert to_png(figure(trained), dpi=30).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"OneHotCategorical"}))
def test_missing_sites_are_imputed(name):
    family, x = ROWS[name]
    module = models.DenseVAE(x.shape[1:], 2, (4,), observation=family)
    batch, key = {"x": x, "observed": np.ones_like(x)}, jax.random.key(0)
    batch["observed"][:, 0] = 0
    variables = compiled_start(module, key, {"x": x}, key, method=objectives.elbo)
    imputed = partial(evaluation.imputations, num_samples=4, chunk=2)
    found = applied(module, variables, batch, key, method=imputed)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(found))


SHAPE = (4, 4, 3)
RECIPES = {
    "dense": lambda family: models.DenseVAE(SHAPE, 2, (4,), observation=family),
    "skip": lambda family: models.SkipVAE(SHAPE, 2, (4,), observation=family),
    "convolutional": lambda family: models.ConvVAE(
        SHAPE, 2, channels=4, factor=2, blocks=1, observation=family
    ),
    "hierarchical": lambda family: models.DenseHierarchicalVAE(
        SHAPE, (3, 2), ((4,), (4,)), observation=family
    ),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    "family", [families.OneHotCategorical(3), families.DiscretisedLogisticMixture(2, 5, 3)]
)
def test_families_that_cover_the_channels_are_decoded_by_every_recipe(name, family):
    x = np.zeros((2, *SHAPE), np.float32)
    module, key = RECIPES[name](family), jax.random.key(0)
    loss = jax.eval_shape(
        lambda: module.init_with_output(key, {"x": x}, key, method=objectives.elbo)[0][0]
    )
    assert loss.shape == (2,)
