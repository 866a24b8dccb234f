"""A size of zero, or below, is named where a model is made, not found deep in an initialiser."""

import jax
import jax.numpy as jnp
import pytest

from dgmjax import models, nn, objectives
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
