"""Parts of experiments on autoregressive image models: completions of the lower half."""

import numpy as np

from dgmjax import evaluation, lab, objectives

from . import common


def image_density(
    shared,
    *,
    published=None,
    loss=objectives.negative_log_likelihood,
    completes=True,
    evaluation_batch_size=500,
    **options,
):
    """An autoregressive density of images, whose best epoch is chosen by its validation likelihood.

    `completes` adds completions of lower halves, which a model with several orderings does not
    draw; `options` are those of `common.experiment`.
    """
    estimators = [common.exact_likelihood(published, evaluation_batch_size), common.baseline()]
    if completes:
        estimators.insert(1, gain(evaluation_batch_size))
    recipes = lab.figures
    plain = {"samples": recipes.samples, "data": recipes.data}
    return common.experiment(
        shared,
        loss=loss,
        validation=objectives.negative_log_likelihood,
        estimators=tuple(estimators),
        figures=figures() if completes else plain,
        previews=("samples",),
        evaluation_batch_size=evaluation_batch_size,
        **options,
    )


def figures():
    """Samples, data, and completions of test images whose lower half was removed."""
    recipes = lab.figures
    return {"samples": recipes.samples, "data": recipes.data, "completions": recipes.completions}


def gain(batch_size=500):
    """log p(own lower half | upper half) - log p(another image's lower half | upper half).

    Averaged over the test images, the others in the order of a fixed rotation. The upper half
    comes first in raster order, so the difference of joint log-likelihoods is exactly this.
    """

    def measure(trained, arrays):
        x = arrays["x"]
        upper = lab.figures.upper_half(x.shape[1:])
        mixed = {**arrays, "x": np.where(upper, x, np.roll(x, 1, axis=0))}
        nll = [
            trained.per_example(objectives.negative_log_likelihood, a, batch_size)["loss"]
            for a in (mixed, arrays)
        ]
        return evaluation.average(nll[0] - nll[1])

    return lab.Estimator(
        metric="completion_gain_nats",
        estimator="exact: true lower halves above those of other images",
        measure=measure,
    )
