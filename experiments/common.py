"""What several experiments share: data sets with their transforms, and groups of estimators."""

import math
from functools import partial
from typing import Literal

import optax

from dgmjax import data, objectives, plotting, training
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

    It logs 500 times. `options` are further fields of `Experiment`.
    """
    steps = epochs_to_steps(dataset, epochs, batch_size)
    optimiser = training.adam(learning_rate, steps, schedule=schedule, eps=eps, clip=clip)
    return training.Experiment(
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
        figures=vae_figures() if figures is None else figures,
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
    return training.Estimator(
        metric="nll_nats",
        estimator="exact",
        measure=training.averaged(objectives.negative_log_likelihood, batch_size),
        published=published,
    )


def importance_estimator(samples, of="", metric="nll_bound", published=None, chunk=50):
    """-L_K of the test split; `of` says which likelihood it bounds, where it is not that of x."""
    chunk = math.gcd(samples, chunk)
    bound = partial(objectives.importance_bound, num_samples=samples, chunk=chunk)
    return training.Estimator(
        f"{metric}_k{samples}",
        f"{of}importance-weighted bound, {samples} samples",
        training.averaged(bound, batch_size=100),
        published=published,
    )


def latent_estimators(
    published=None, published_units=None, samples=5000, published_elbo=None, chunk=50
):
    """L_K, the ELBO, the average KL and the active units of the test split."""
    return (
        importance_estimator(samples, published=published, chunk=chunk),
        training.Estimator(
            "nll_bound_k1", "ELBO", training.averaged(objectives.elbo), published=published_elbo
        ),
        training.Estimator(
            "kl_nats", "analytic, averaged", training.averaged(objectives.elbo, metric="kl")
        ),
        training.Estimator(
            "active_units",
            "variance of posterior means > 0.01",
            training.latent_units(),
            unit="count",
            published=published_units,
        ),
    )


def baseline():
    """Independent Bernoulli pixels, exact: what a model must beat."""
    return training.Estimator(
        "nll_nats",
        "exact",
        training.independent_pixels,
        model="independent Bernoulli pixels (baseline)",
    )


def vae_figures():
    """Figures of a VAE on images."""
    recipes = plotting.recipes
    return {
        "means": recipes.means,
        "samples": recipes.samples,
        "reconstructions": recipes.reconstructions,
        "data": recipes.data,
    }


def plane_figures():
    """Figures of a density of the plane."""
    return {"density": plotting.recipes.density, "samples": plotting.recipes.samples}
