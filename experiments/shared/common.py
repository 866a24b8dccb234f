"""Parts that experiments share: data sets with their transforms, and groups of estimators."""

import math
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import accumulate
from typing import Literal

import jax
import numpy as np
import optax

from dgmjax import data, evaluation, lab, objectives, training
from dgmjax.errors import DgmjaxError, require
from dgmjax.types import Objective

from . import own
from .options import Epochs, OwnImages, Shared, epochs_to_steps

Bound = Literal["elbo", "iwae"]
Binarisation = Literal["dynamic", "static"]


def mnist(shared: Shared, binarisation: Binarisation):
    """Binarised MNIST and its transform; scikit-learn's digits in miniature.

    "dynamic": all 60,000 training images, drawn afresh at each step; thresholded digits stand for
    the fixed draw of "static" (50,000/10,000/10,000).
    """
    if shared.tiny:
        fresh = binarisation == "dynamic"
        return data.load("digits"), data.Binarise("dynamic" if fresh else "threshold", levels=17)
    if binarisation == "dynamic":
        mnist = data.load("mnist", data_dir=shared.data_dir, validation=0)
        return mnist, data.Binarise("dynamic")
    return data.load("binarized_mnist", data_dir=shared.data_dir), data.Binarise("static")


def images(shared: OwnImages, binarisation: Binarisation):
    """`mnist`, or the images of `shared.dataset`: 0/1 as they are, grey ones drawn afresh."""
    if shared.dataset is not None:
        return own.binary_images(shared)
    own.require_own(shared, is_own=False)
    return mnist(shared, binarisation)


def filled(defaults, **given):
    """`given`, with None replaced by the defaults.

    >>> filled({"features": 16, "layers": 4}, features=None, layers=2)
    {'features': 16, 'layers': 2}
    """
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}


def sizes(*numbers):
    """The sizes of a model as shown in its name.

    >>> sizes(200, 200, 50)
    '200-200-50'
    """
    return "-".join(map(str, numbers))


def experiment(
    shared: Shared,
    *,
    loss,
    dataset,
    steps: int | None = None,
    optimiser=None,
    adam=None,
    evaluations: int | None = None,
    **options,
):
    """One module trained by one loss, or by several of its parts, logged 500 times.

    Args:
      loss: an objective; or one for each player, with the names of the parameters that it moves.
      steps: of training; those of `shared.epochs` if None.
      optimiser: `shared.adam` with the arguments `adam` if None.
      evaluations: their number; one per epoch if None.
      options: further fields of `lab.Experiment`.
    """
    if steps is None:
        assert isinstance(shared, Epochs)
        steps = shared.steps(dataset)
    optimiser = optimiser or shared.adam(steps, **(adam or {}))
    losses = loss if isinstance(loss, Mapping) else {"model": (loss, None)}
    players = {
        name: training.Player(objective, optimiser, params)
        for name, (objective, params) in losses.items()
    }
    if evaluations is not None:
        options["evaluate_every"] = max(1, steps // evaluations)
    return lab.Experiment(
        players=players,
        dataset=dataset,
        steps=steps,
        batch_size=shared.batch_size,
        ema_decay=shared.ema_decay,
        **{"log_every": max(1, steps // 500), **options},
    )


def latent_experiment(shared: Epochs, *, module, dataset, figures=None, **options):
    """A latent-variable model trained by one loss, with every figure that it supports.

    `options` are those of `experiment`; `figures` are drawn in addition.
    """
    return experiment(
        shared,
        module=module,
        dataset=dataset,
        figures={**vae_figures(module, dataset), **(figures or {})},
        **{"previews": ("means",), "evaluations": 20, **options},
    )


def bound_of_samples(bound: Bound, num_samples: int):
    """The ELBO or the IWAE bound with this number of posterior samples."""
    bounds: dict[Bound, Objective] = {"elbo": objectives.elbo, "iwae": objectives.iwae}
    return partial(bounds[bound], num_samples=num_samples)


def warmed_up(objective, dataset, epochs, shared: Epochs):
    """The objective with a weight of the KL term that rises from 0 to 1 over `epochs` epochs."""
    require(epochs >= 0, "warm_up", "must be at least 0", epochs)
    if epochs == 0:
        return objective
    # Otherwise the weight would never be 1, and the bound itself never be trained.
    rule, remedy = f"must be at most the {shared.epochs} epochs of training", "Raise --epochs."
    require(epochs <= shared.epochs, "warm_up", rule, epochs, remedy)
    steps = epochs_to_steps(dataset, epochs, shared.batch_size)
    return partial(objective, beta=optax.linear_schedule(0.0, 1.0, steps))


def samples_in_stages(bound_of, stages, epochs, loss, shared: Epochs, dataset):
    """`loss` after stages of fewer samples, `bound_of(k)` each; one of one sample is the ELBO."""
    if not (stages or epochs):
        return loss
    first = [bound_of_samples("elbo", 1) if k == 1 else bound_of(k) for k in stages]
    return in_stages(first, epochs, loss, shared, dataset)


def in_stages(first, epochs, loss, shared: Epochs, dataset):
    """The losses `first`, each for its number of `epochs`, and then `loss`, in one run."""
    rule = f"must have an entry for each of the {len(first)} stages"
    require(len(epochs) == len(first), "stage_epochs", rule, epochs)
    require(
        sum(epochs) < shared.epochs,
        "stage_epochs",
        f"must leave some of the {shared.epochs} epochs to the last stage",
        epochs,
        "Raise --epochs.",
    )
    ends = [epochs_to_steps(dataset, end, shared.batch_size) for end in accumulate(epochs)]
    return training.Stages((*first, loss), tuple(ends))


def evaluation_samples(shared: Shared, samples: int = 5000) -> int:
    """K of a reported bound; few in miniature."""
    return 50 if shared.tiny else samples


def exact_likelihood(published=None, batch_size=500):
    """The exact test negative log-likelihood."""
    return lab.Estimator(
        metric="nll_nats",
        estimator="exact",
        measure=lab.averaged(objectives.negative_log_likelihood, batch_size),
        published=published,
    )


def importance_estimator(samples, of="", metric="nll_bound", published=None, chunk=50):
    """-L_K of the test split; `of` names the likelihood that it bounds where that is not p(x)."""
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
    """L_K, the ELBO, its rate and distortion, and the active units and information of the codes.

    The mutual information of image and code is measured only where the posterior is a product over
    dimensions: N^2 densities of a flow are not cheap.
    """
    latent = evaluation.latent_structure(module, tuple(dataset.event_shape))
    if latent is None:
        rule = "must have a prior and a posterior that need x alone"
        raise DgmjaxError(f"`module` {rule}; got {type(module).__name__}.")
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
    """Rate and distortion, whose sum is the negative ELBO; `rate` says how the KL is measured."""
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
    """Active units of the codes `mean(model, x)` of the test split."""
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
    """I(n; z) of the first test images and their codes; it takes N^2 densities of z, cheap here."""
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
    """Independent Bernoulli pixels, exact: the baseline that a model must beat."""
    return lab.Estimator(
        "nll_nats",
        "exact",
        lab.independent_pixels,
        model="independent Bernoulli pixels (baseline)",
    )


def vae_figures(module, dataset):
    """Every figure of a latent-variable model that this model and its data support."""
    return lab.latent_figures.supported(module, dataset)


def plane_figures():
    """Figures of a density of the plane."""
    return {"density": lab.figures.density, "samples": lab.figures.samples}
