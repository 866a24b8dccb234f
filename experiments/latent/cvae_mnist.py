"""Conditional VAE on dynamic MNIST: p(image | digit), and images of a given digit.

    dgmjax train cvae_mnist --data-dir DATA

There is no published number on this data. The bound is on log p(x | y), and a classifier of real
images has to recognise the generated ones.
Source: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional
Generative Models", 2015,
https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html.
"""

from dataclasses import replace

from dgmjax import lab, models, objectives

from ..shared import common, labels
from ..shared.options import Epochs


def cvae_mnist(
    *,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    conditional_prior: bool = False,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=100, batch_size=100),
) -> lab.Experiment:
    """A VAE of tanh layers that reads the digit in its encoder and its decoder.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      conditional_prior: learn p(z | digit) as well; N(0, I) otherwise.
    """
    dataset, transform = common.mnist(shared, "dynamic")
    if shared.tiny:
        hidden, latent, shared = (16,), 4, replace(shared, epochs=2)
    return common.latent_experiment(
        shared,
        model=f"conditional VAE {common.sizes(*hidden, latent)}",
        module=models.DenseCVAE(
            dataset.event_shape,
            latent,
            hidden,
            num_classes=10,
            conditional_prior=conditional_prior,
        ),
        loss=objectives.elbo,
        dataset=dataset,
        transform=transform,
        estimators=(
            common.importance_estimator(
                50 if shared.tiny else 5000, "of log p(x | y), ", "conditional_nll_bound"
            ),
            *common.rate_and_distortion(),
            *labels.recognised(images_of, each=5 if shared.tiny else 100),
        ),
        figures={"classes": labels.class_grid(mean_images_of)},
        previews=("classes",),
    )


def images_of(model, key, label):
    """Images of the given digits."""
    return model.sample(key, (), model.context(label))


def mean_images_of(model, key, label):
    """E[x | z] of the given digits."""
    return model.mean(key, (), model.context(label))
