"""MNIST image and digit, each from the other, by one latent and a posterior of two experts.

    dgmjax train multimodal_mnist --data-dir DATA
    dgmjax train multimodal_mnist --experts mixture --data-dir DATA
    dgmjax train multimodal_mnist --experts product --data-dir DATA

The digit from the image is compared with logistic regression on pixels, and images from the digit
with real ones, both recognised by that regression. The papers print other quantities. A product of
experts may code image and digit in different coordinates of z, from which neither predicts the
other. Sources: Wu & Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised
Learning", 2018 (product, with the sub-sampled objective), https://arxiv.org/abs/1802.05335; Shi,
Siddharth, Paige & Torr, "Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep
Generative Models", 2019 (mixture), https://arxiv.org/abs/1911.03393; Sutter, Daunhawer & Vogt,
"Generalized Multimodal ELBO", 2021 (mixture of products), https://arxiv.org/abs/2105.02470.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import jax
import numpy as np

from dgmjax import evaluation, lab, models, objectives
from dgmjax.data.batches import evaluation_batches

from ..shared import common, labels
from ..shared.options import Epochs


def multimodal_mnist(
    *,
    experts: Literal["product", "mixture", "mixture_of_products"] = "mixture_of_products",
    latent: int = 64,
    hidden: tuple[int, ...] = (512, 512),
    label_weight: float = 50.0,
    warm_up: int = 20,
    marginal_start: bool = True,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=100, batch_size=100),
) -> lab.Experiment:
    """A VAE of images and digits whose posterior does with either of them.

    Args:
      experts: how the two opinions about z combine. "mixture_of_products" trains the posteriors
        given one, the other and both to explain both; "product" to explain what they see.
      latent: dimensions of z.
      hidden: units of the encoders' hidden layers; the decoders have them in reverse.
      label_weight: of the digit's log-likelihood in the loss (50 in the paper on MVAE).
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1.
      marginal_start: the decoders' outputs start at the marginals of the data, see `models.VAE`.
    """
    dataset, transform = common.mnist(shared, "dynamic")
    if shared.tiny:
        hidden, latent, shared, warm_up = (16,), 4, replace(shared, epochs=2), 1
    weights = {"label": label_weight}
    combined: Literal["product", "mixture"] = "mixture" if experts == "mixture" else "product"
    loss = partial(
        objectives.subsampled_elbo,
        alone=combined == "product",
        scored="all" if experts == "mixture_of_products" else "seen",
        weights=weights,
    )
    vae = models.ImageLabelVAE(dataset.event_shape, 10, latent, hidden, experts=combined)
    return common.latent_experiment(
        shared,
        model=f"{experts.replace('_', ' ')} of experts {common.sizes(*hidden, latent)}",
        module=vae.clone(marginal_start=marginal_start),
        loss=common.warmed_up(loss, dataset, warm_up, shared),
        dataset=dataset,
        transform=transform,
        estimators=(
            common.importance_estimator(
                50 if shared.tiny else 1000, "of log p(image, digit), ", "joint_nll_bound"
            ),
            lab.Estimator(
                "label_from_image",
                f"accuracy, {SAMPLES} posterior samples averaged",
                label_from_image,
                unit="fraction",
            ),
            *labels.recognised(images_of, each=5 if shared.tiny else 100),
        ),
        figures={"classes": labels.class_grid(mean_images_of)},
        previews=("classes",),
    )


SAMPLES = 20


def images_of(model, key, label):
    """Binary images of the given digits."""
    seen_key, key = jax.random.split(key)
    z = model.seen({"label": label}).posterior().sample(seed=seen_key)
    return model.modality("x").likelihood(z).sample(seed=key)


def mean_images_of(model, key, label):
    """E[image | z] of the given digits."""
    return model.seen({"label": label}).generate(key, "x")[0]


def label_from_image(trained, arrays, batch_size: int = 500):
    """How often the likeliest digit, given the image alone, is the right one."""
    right = []
    for batch in evaluation_batches(arrays, batch_size):
        probabilities = trained.call(_digits_of(SAMPLES), jax.random.key(1), batch["x"])
        guess = np.asarray(probabilities).mean(0).argmax(-1)
        right.append((guess == batch["label"])[batch["mask"] > 0])
    return evaluation.average(np.concatenate(right))


@lru_cache
def _digits_of(num: int):
    return lambda model, key, x: model.seen({"x": x}).generate(key, "label", num)
