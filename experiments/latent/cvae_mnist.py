"""Conditional VAE on dynamic MNIST: p(image | digit), and images of the digit asked for.

    dgmjax train cvae_mnist --data-dir DATA

`--epochs 30`, 72 seconds of training on a CPU core that others shared: 91.04 nats, and 85% of the
generated images recognised where 90% of real ones are. There is no published number on this data:
the bound is one on log p(x | y), which the unconditional VAE's stands beside, and a classifier of
real images has to recognise the generated ones.
Source: Sohn, Yan & Lee, "Learning Structured Output Representation using Deep Conditional
Generative Models", 2015.
"""

from dgmjax import lab, models, objectives

from ..shared import common, labels


def cvae_mnist(
    *,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    conditional_prior: bool = False,
    learning_rate: float = 1e-3,
    epochs: int = 100,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """A VAE of tanh layers that reads the digit in its encoder and its decoder.

    Args:
      latent: dimensions of z.
      hidden: units of the encoder's hidden layers; the decoder has them in reverse.
      conditional_prior: learn p(z | digit) as well; N(0, I) otherwise.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the training images.
      batch_size: images a step.
      tiny: a few steps of a small model on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.dynamic_mnist(data_dir, tiny)
    if tiny:
        hidden, latent, epochs = (16,), 4, 2
    return common.latent_experiment(
        model=f"conditional VAE {'-'.join(map(str, (*hidden, latent)))}",
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
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        estimators=(
            common.importance_estimator(
                50 if tiny else 5000, "of log p(x | y), ", "conditional_nll_bound"
            ),
            *common.rate_and_distortion(),
            *labels.recognised(images_of, each=5 if tiny else 100),
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
