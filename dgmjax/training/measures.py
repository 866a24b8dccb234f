"""What estimators measure: functions `(trained, arrays) -> Measurement`."""

from collections.abc import Callable, Mapping

import numpy as np

from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.baselines import independent_bernoulli
from dgmjax.evaluation.latent import active_units, posterior_mean, posterior_means
from dgmjax.evaluation.units import bits_per_dim
from dgmjax.training.trained import Trained
from dgmjax.types import Array, Objective

Measure = Callable[[Trained, Mapping[str, np.ndarray]], Measurement]


def averaged(
    objective: Objective, batch_size: int = 500, metric: str = "loss", bits: bool = False
) -> Measure:
    """The mean over examples of an objective's loss, or of another metric of it.

    Args:
      bits: turn nats per example into bits per dimension.
    """

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        values = trained.per_example(objective, arrays, batch_size)[metric]
        dims = int(np.prod(arrays["x"].shape[1:]))
        return average(bits_per_dim(values, dims) if bits else values)

    return measure


def latent_units(batch_size: int = 500, mean: Callable[..., Array] = posterior_mean) -> Measure:
    """Active units (see `evaluation.latent.active_units`) of the codes `mean(model, x)`."""

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        means = posterior_means(lambda x: trained.call(mean, x), arrays, batch_size)
        return Measurement(float(active_units(means)), None, len(means))

    return measure


def independent_pixels(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
    """The baseline of independent Bernoulli pixels, fitted to the training split."""
    return average(independent_bernoulli(trained.arrays("train")["x"], arrays["x"]))
