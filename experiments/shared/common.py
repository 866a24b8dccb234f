"""What several experiments share: data sets with their transforms, and groups of estimators."""

import math
from functools import lru_cache, partial
from typing import Literal

import jax
import numpy as np
import optax

from dgmjax import data, evaluation, lab, objectives, training
from dgmjax.errors import require, require_sizes

Bound = Literal["elbo", "iwae"]


def dynamic_mnist(data_dir, tiny, validation=0):
    """MNIST, binarised by a fresh draw each time; scikit-learn's digits where `tiny`."""
    if tiny:
        return data.load("digits"), data.Binarise("dynamic", levels=17)
    return data.load("mnist", data_dir=data_dir, validation=validation), data.Binarise("dynamic")


def static_mnist(data_dir, tiny):
    """The fixed binarisation of MNIST; scikit-learn's digits, thresholded, where `tiny`."""
    if tiny:
        return data.load("digits"), data.Binarise("threshold", levels=17)
    return data.load("binarized_mnist", data_dir=data_dir), data.Binarise("static")


def epochs_to_steps(dataset, epochs, batch_size):
    """Steps of so many passes over the training split, whose last part of a batch is left out."""
    require_sizes(epochs=epochs, batch_size=batch_size)
    num = len(dataset.splits["train"]["x"])
    rule = f"must be at most {num}, the examples of the training split"
    require(batch_size <= num, "batch_size", rule, batch_size)
    return epochs * (num // batch_size)


def filled(defaults, **given):
    """`given`, with those of the defaults in the place of None.

    >>> filled({"features": 16, "layers": 4}, features=None, layers=2)
    {'features': 16, 'layers': 2}
    """
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}


def latent_experiment(
    *,
    model,
    module,
    loss,
    dataset,
    transform,
    epochs,
    batch_size,
    estimators,
    learning_rate,
    schedule="cosine",
    eps=1e-8,
    clip=None,
    validation=None,
    figures=None,
    previews=("means",),
    evaluations=20,
    **options,
):
    """A latent-variable model trained by one loss: what such experiments have in common.

    It logs 500 times. `figures` are drawn besides those of `vae_figures`; `options` are further
    fields of `Experiment`.
    """
    steps = epochs_to_steps(dataset, epochs, batch_size)
    optimiser = training.adam(learning_rate, steps, schedule=schedule, eps=eps, clip=clip)
    return lab.Experiment(
        model=model,
        module=module,
        players={"model": training.Player(loss, optimiser)},
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=validation,
        evaluate_every=max(1, steps // evaluations),
        log_every=max(1, steps // 500),
        estimators=estimators,
        figures={**vae_figures(module, dataset), **(figures or {})},
        previews=previews,
        **options,
    )


def bound_of_samples(bound: Bound, num_samples: int):
    """The ELBO or the IWAE bound, of so many posterior samples."""
    return partial(
        {"elbo": objectives.elbo, "iwae": objectives.iwae}[bound], num_samples=num_samples
    )


def warmed_up(objective, dataset, epochs, batch_size):
    """The objective with a weight of the KL that rises from 0 to 1 over so many passes."""
    if epochs == 0:
        return objective
    steps = epochs_to_steps(dataset, epochs, batch_size)
    return partial(objective, beta=optax.linear_schedule(0.0, 1.0, steps))


def exact_likelihood(published=None, batch_size=500):
    """The exact test negative log-likelihood."""
    return lab.Estimator(
        metric="nll_nats",
        estimator="exact",
        measure=lab.averaged(objectives.negative_log_likelihood, batch_size),
        published=published,
    )


def importance_estimator(samples, of="", metric="nll_bound", published=None, chunk=50):
    """-L_K of the test split; `of` says which likelihood it bounds, where it is not that of x."""
    chunk = math.gcd(samples, chunk)
    bound = partial(objectives.importance_bound, num_samples=samples, chunk=chunk)
    return lab.Estimator(
        f"{metric}_k{samples}",
        f"{of}importance-weighted bound, {samples} samples",
        lab.averaged(bound, batch_size=100),
        published=published,
    )


def latent_estimators(
    module,
    dataset,
    published=None,
    published_units=None,
    samples=5000,
    published_elbo=None,
    chunk=50,
):
    """L_K, the ELBO, its rate and distortion, and of the test split's codes what they tell.

    The information of index and code only where the posterior is a product over dimensions: of a
    flow, N^2 densities are not cheap.
    """
    latent = evaluation.latent_structure(module, tuple(dataset.event_shape))
    rule = "must have a prior and a posterior that need x alone"
    require(latent is not None, "module", rule, type(module).__name__)
    return (
        importance_estimator(samples, published=published, chunk=chunk),
        lab.Estimator(
            "nll_bound_k1", "ELBO", lab.averaged(objectives.elbo), published=published_elbo
        ),
        *rate_and_distortion("analytic, averaged" if latent.closed_kl else SAMPLED_RATE),
        active_units(latent.closed_mean, published=published_units),
        *([code_information(dataset)] if latent.independent_posterior else []),
    )


SAMPLED_RATE = "log q(z | x) - log p(z) at samples, averaged"


def rate_and_distortion(rate="analytic, averaged", batch_size=500):
    """A point of the rate-distortion plane, whose sum is the negative ELBO of that batch size.

    `rate` says how the KL divergence is measured.
    """
    return (
        lab.Estimator("kl_nats", rate, lab.averaged(objectives.elbo, batch_size, metric="kl")),
        lab.Estimator(
            "distortion_nats",
            "E_q[-log p(x | z)], averaged; with the rate `kl_nats` the ELBO",
            lab.averaged(evaluation.rate_and_distortion, batch_size, metric="distortion"),
        ),
    )


def active_units(
    closed_mean=True, metric="active_units", mean=evaluation.posterior_mean, published=None
):
    """Active units of the test split; `mean(model, x)` says of which codes."""
    each = "" if closed_mean else f" (averages of {evaluation.MEAN_SAMPLES} samples)"
    return lab.Estimator(
        metric,
        f"variance of posterior means{each} > 0.01",
        lab.latent_units(mean=mean),
        unit="count",
        published=published,
    )


INFORMATION_ROWS = 2000


def code_information(dataset):
    """I(n; z) of the first test images and their codes: cheap, N^2 densities of z."""
    rows = min(INFORMATION_ROWS, len(dataset.splits["test"]["x"]))

    def measure(trained, arrays):
        method = _information(math.gcd(rows, 100))
        information, _ = trained.call(method, arrays["x"][:rows], jax.random.key(1))
        return evaluation.Measurement(float(information), None, rows)

    return lab.Estimator(
        "mutual_information_nats",
        "E[log q(z | x) - log q(z)], q(z) the mixture of the posteriors of the first "
        f"{rows} images: at most log {rows} = {np.log(rows):.2f}",
        measure,
    )


@lru_cache
def _information(chunk):
    return partial(evaluation.index_code_information, chunk=chunk)


def baseline():
    """Independent Bernoulli pixels, exact: what a model must beat."""
    return lab.Estimator(
        "nll_nats",
        "exact",
        lab.independent_pixels,
        model="independent Bernoulli pixels (baseline)",
    )


def vae_figures(module, dataset):
    """Every figure of a latent-variable model that this one and its data support."""
    return lab.latent_figures.supported(module, dataset)


def plane_figures():
    """Figures of a density of the plane."""
    return {"density": lab.figures.density, "samples": lab.figures.samples}
