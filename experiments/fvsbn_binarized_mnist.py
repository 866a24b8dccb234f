"""FVSBN on static binarised MNIST: exact 97.45 nats (Larochelle & Murray 2011).

    dgmjax train fvsbn_binarized_mnist --data-dir DATA

Two CPU cores: about a minute, judged by the time of a step (4 CPU-ms); there is no record of a
whole run yet. Logistic regressions in one triangular matrix, Adam with a cosine
schedule; the best epoch is chosen on the validation split. Adam's epsilon is large, so that the
weights of pixels that are rarely on move slowly: they overfit first.
Source: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator", 2011, Table 1.
"""

from dgmjax import models, objectives, training
from experiments import common, completion


def fvsbn_binarized_mnist(
    *,
    learning_rate: float = 0.3,
    penalty: float = 2e-4,
    epochs: int = 30,
    batch_size: int = 100,
    tiny: bool = False,
    data_dir: str | None = None,
) -> training.Experiment:
    """Every pixel a logistic regression on the pixels before it, in raster order.

    Args:
      learning_rate: peak of the cosine schedule of gradient descent with momentum 0.9.
      penalty: weight of half the squared norm of the parameters.
      epochs: passes over the 50,000 training images.
      batch_size: images a step.
      tiny: a few steps on scikit-learn's digits.
      data_dir: folder of data sets.
    """
    dataset, transform = common.static_mnist(data_dir, tiny)
    epochs = 2 if tiny else epochs
    steps = epochs * (len(dataset.splits["train"]["x"]) // batch_size)
    nll = objectives.negative_log_likelihood
    source = "Larochelle & Murray 2011, Table 1 (about)"
    return training.Experiment(
        model="FVSBN",
        module=models.FVSBN(dataset.event_shape),
        players={
            "model": training.Player(nll, training.sgd(learning_rate, steps, penalty=penalty))
        },
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=nll,
        estimators=(
            common.exact_likelihood(training.Published(97.45, source)),
            completion.gain(),
            common.baseline(),
        ),
        figures=completion.figures(),
        previews=("samples",),
    )
