"""A size of zero, or below, is named where a model is made, not found deep in an initialiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import models, nn, objectives
from dgmjax.distributions import families
from dgmjax.errors import DataError, DgmjaxError

IMAGE, VECTOR = jnp.zeros((2, 8, 8, 1)), jnp.zeros((2, 4))
ROWS = {"x": VECTOR, "label": jnp.zeros(2, int)}


def reconstructing(model, x):
    return lambda: model.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")


def scoring(model, x):
    return lambda: model.init(jax.random.key(0), x, method="log_prob")


def given(model, batch):
    return lambda: model.init(
        jax.random.key(0), batch, method=lambda model, batch: model.given(batch) and None
    )


def sampling(model):
    return lambda: model.init(jax.random.key(0), jax.random.key(1), (2,), method="sample")


# name -> (what makes the parameters, the argument that the message names)
ZERO = {
    "vae": (reconstructing(models.DenseVAE((4,), 0, (8,)), VECTOR), "latent"),
    "vae_hidden": (lambda: models.DenseVAE((4,), 2, (8, 0)), "hidden"),
    "SkipVAE": (reconstructing(models.SkipVAE((4,), 0, (8,)), VECTOR), "latent"),
    "ConvVAE": (reconstructing(models.ConvVAE((8, 8, 1), 0), IMAGE), "latent"),
    "conv_channels": (reconstructing(models.ConvVAE((8, 8, 1), 2, channels=0), IMAGE), "channels"),
    "PixelVAE": (reconstructing(models.PixelVAE((8, 8, 1), 0), IMAGE), "latent"),
    "DeltaVAE": (reconstructing(models.DeltaVAE((8, 8, 1), (4, 0)), IMAGE), "latent"),
    "hierarchical": (lambda: models.DenseHierarchicalVAE((4,), (2, 0), ((8,), (8,))), "latents"),
    "conditional": (given(models.DenseCVAE((4,), 0, (8,), num_classes=3), ROWS), "latent"),
    "multimodal": (given(models.ImageLabelVAE((4,), 3, 0, (8,)), ROWS), "latent"),
    "draw": (reconstructing(models.DRAW((8, 8, 1), 0, 2, 8), IMAGE), "latent"),
    "vq_vae": (
        reconstructing(models.VQVAE((8, 8, 1), num_codes=4, features=0), IMAGE),
        "features",
    ),
    "gan": (sampling(models.GAN(0, nn.MLP((8,), (2,)), nn.MLP((8,), (1,)))), "latent"),
    "glow": (scoring(models.Glow((8, 8, 1), 1, 1, channels=0), IMAGE), "channels"),
    "vae_event": (lambda: models.DenseVAE((4, 0), 2, (8,)), "event_shape"),
    "conv_event": (lambda: models.ConvVAE((8, 0, 1), 2), "event_shape"),
    "glow_event": (lambda: models.Glow((8, 0, 1)), "event_shape"),
    "conditional_event": (lambda: models.DenseCVAE((4, 0), 2, (8,)), "event_shape"),
    "multimodal_event": (lambda: models.ImageLabelVAE((4, 0), 3, 2, (8,)), "event_shape"),
    "draw_event": (reconstructing(models.DRAW((8, 0, 1), 2, 2, 8), IMAGE[:, :, :0]), "event_shape"),
    "vq_event": (lambda: models.VQVAE((8, 8, 0)), "event_shape"),
    "vrnn_event": (given(models.VRNN((3, 0), 2, 4), {"x": jnp.zeros((2, 3, 0))}), "event_shape"),
    "flow": (lambda: models.RealNVP((8, 8, 1)), "features"),
    "not_whole": (lambda: models.MAF(2.5), "features"),
    "sites": (lambda: models.NADE((0,)), "event_shape"),
    "text": (lambda: models.CharRNN(0, levels=5), "event_shape"),
    "context": (scoring(models.NADE((4,), context_features=-1), VECTOR), "context_features"),
    "kernel": (lambda: models.PixelCNN((8, 8, 1), kernel_size=-1), "kernel_size"),
    "blocks": (reconstructing(models.ConvVAE((8, 8, 1), 2, blocks=-1), IMAGE), "blocks"),
    "mixture": (lambda: models.NormalMixture(0, 3).init(jax.random.key(0)), "features"),
    "components": (lambda: models.NormalMixture(2, 0).init(jax.random.key(0)), "num_components"),
    "full_normal": (lambda: models.FullCovarianceNormal(0).init(jax.random.key(0)), "features"),
    "ar1": (lambda: models.AR1Prior(0, 2).init(jax.random.key(0)), "length"),
    "one_number": (lambda: models.RNADE(4), "event_shape"),
    "one_of_made": (lambda: models.MADE((4,), 8), "hidden"),
    "one_of_glow": (lambda: models.Glow(8), "event_shape"),
    "one_of_pixels": (lambda: models.PixelCNNPlusPlus(8), "event_shape"),
    "no_image": (lambda: models.RowLSTM((8, 8)), "event_shape"),
    "one_of_vae": (lambda: models.DenseVAE((4,), 2, 8), "hidden"),
    "many_of_nade": (lambda: models.NADE((4,), (8, 8)), "hidden"),
    "output": (lambda: nn.MLP((8,), (2, 0)).init(jax.random.key(0), VECTOR), "output"),
}


@pytest.mark.parametrize(
    "vae, x, shape",
    [
        (models.DenseVAE((4,), 2, (8,)), VECTOR, (2, 5)),
        (models.ConvVAE((8, 8, 1), 2), IMAGE, (2, 12, 8, 1)),
        (models.ConvVAE((8, 8, 1), 2), IMAGE, (2, 8, 8, 3)),
    ],
)
def test_data_of_another_size_than_in_training_are_named(vae, x, shape):
    made = lambda: vae.init(jax.random.key(0), x, jax.random.key(1), method="reconstruct")
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(made))
    with pytest.raises(DgmjaxError, match=r"^`x` must have the size for .*of shape") as found:
        vae.apply(variables, jnp.zeros(shape), method="posterior")
    assert str(shape) in str(found.value)


@pytest.mark.parametrize("loss", [objectives.elbo, objectives.iwae, objectives.wae])
def test_an_empty_batch_is_named(loss):
    vae = models.DenseVAE((4,), 2, (8,))
    with pytest.raises(DataError, match=r"^`x` must hold examples; got shape \(0, 4\)"):
        vae.init(jax.random.key(0), {"x": VECTOR[:0]}, jax.random.key(1), method=loss)


@pytest.mark.parametrize("name", ZERO)
def test_a_bad_size_is_named(name):
    make, argument = ZERO[name]
    with pytest.raises(DgmjaxError, match=f"`{argument}` must be "):
        jax.eval_shape(make)


EMPTY = {
    "conv_vae": (models.ConvVAE((8, 8, 1), 2, channels=4), IMAGE, "reconstruct"),
    "draw": (models.DRAW((8, 8, 1), 2, 2, 4, None), IMAGE, "reconstruct"),
    "draw_attention": (models.DRAW((8, 8, 1), 2, 2, 4, (2, 3)), IMAGE, "reconstruct"),
    "vq_vae": (models.VQVAE((8, 8, 1), 8, 4, channels=4), IMAGE, "reconstruct"),
    "semi_supervised": (models.SemiSupervisedVAE((4,), 1, 2, (5,)), VECTOR, "classify"),
    "code_prior": (
        models.CodePrior(((2, 2), (1, 1)), (3, 2), features=4, blocks=1, context_blocks=1),
        jnp.zeros((2, 5), int),
        "log_prob",
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_examples_have_no_results(name):
    """Shapes alone: -1 stands for no size where the batch is empty."""
    model, x, method = EMPTY[name]
    key = jax.random.key(0)
    more = (key,) if method == "reconstruct" else ()
    variables = jax.eval_shape(lambda: model.init(key, x, *more, method=method))
    apply = lambda variables, x: model.apply(variables, x, *more, method=method)
    found = jax.tree.leaves(jax.eval_shape(apply, variables, x[:0]))
    assert found and all(0 in leaf.shape for leaf in found)


@pytest.mark.parametrize("name", ["conv_vae", "draw", "draw_attention"])
def test_no_samples_may_be_drawn(name):
    model, x, _ = EMPTY[name]
    key = jax.random.key(0)
    variables = jax.eval_shape(lambda: model.init(key, x, key, method="reconstruct"))
    draw = lambda variables: model.apply(variables, key, (0,), method="sample")
    assert jax.eval_shape(draw, variables).shape == (0, 8, 8, 1)


def test_one_latent_has_a_full_covariance_by_a_context():
    """Nothing is below its diagonal."""
    model, context = models.FullCovarianceNormal(1), jnp.ones((4, 3))
    q, _ = model.init_with_output(jax.random.key(0), context)
    assert q.batch_shape == (4,) and q.event_shape == (1,)


@pytest.mark.parametrize("family", [families.Categorical(5), families.Poisson()])
def test_measured_models_draw_integers(family):
    model, key = models.DenseUAE((2,), 3, (4,), observation=family), jax.random.key(0)
    start = lambda: model.init(key, jnp.zeros((1, 3)), method="likelihood")
    variables = jax.eval_shape(start)
    draw = lambda variables: model.apply(variables, key, (2,), method="sample")
    assert jax.eval_shape(draw, variables).shape == (2, 2)


def test_sizes_may_be_numbers_of_numpy():
    model = models.DenseVAE((3,), np.int64(2), (8,))
    assert model.latent_shape == (2,)
