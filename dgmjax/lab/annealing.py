"""Annealed evaluation of a trained model: `dgmjax evaluate RUN --ais`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgmjax.contracts import anneals, generates, is_latent_variable_model
from dgmjax.distributions.discrete import is_discrete
from dgmjax.errors import DataError, require
from dgmjax.evaluation.annealed import Annealing, FixedObservation, annealed_bound, bidirectional
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.evaluation.parzen import parzen
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.partition import partition_estimators, partition_figure
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.objectives import importance_bound
from dgmjax.plotting.bounds import bounds_by_temperatures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def annealed_bounds(how: Annealing, images: int = 100) -> Supplement:
    """-log p(x) of test images by AIS, beside L_5000 of the same images; the gap on simulated ones.

    The difference of the first two is what the importance-weighted bound misses. The figure `ais`
    shows both bounds on simulated data against the number of temperatures. An implicit model has no
    posterior for L_5000; it is observed with a standard deviation that validation images choose.

    Of a model that is known up to its normaliser log Z is annealed, and all test images are used;
    there is no upper bound, which would need an exact sample of the model.
    """
    require(images >= 1, "images", "must be at least 1", images)

    @lru_cache(maxsize=1)
    def scale_of(trained: Trained) -> float | None:
        check_annealable(trained)
        return observation_scale(trained, how, images)

    def figure(trained: Trained) -> "Figure":
        if anneals(trained.model):
            return partition_figure(trained, [h.betas for h in _decades(how)], how.chains)
        return annealed_figure(trained, how, min(images, 20), scale_of(trained))

    def estimators(trained: Trained) -> tuple[Estimator, ...]:
        if anneals(trained.model):
            return partition_estimators(how.betas, how.chains, metric="nll_ais")
        return _estimators(how, images, scale_of(trained), is_real(trained))

    return Supplement(estimators, {"ais": figure})


def _estimators(
    how: Annealing, images: int, scale: float | None, real: bool
) -> tuple[Estimator, ...]:
    chains = f"{how.chains} chains from the {how.start}, {how.temperatures} temperatures"
    chains += f" ({how.schedule})"
    chains += "" if scale is None else f", observed with scale {scale:.3g}"
    by_annealing = f"annealed importance sampling, {chains}"
    by_both = f"bidirectional Monte Carlo on simulated data, {chains}"
    bound = Estimator("nll_ais", by_annealing, _bound(how, images, scale))
    gap = Estimator("ais_gap", by_both, _gap(how, images, scale))
    by_weights = f"importance-weighted bound, {images} images"
    return (
        bound,
        *([Estimator("nll_bound_k5000", by_weights, _weighted(images))] if scale is None else []),
        gap,
        *([kernel_density(images)] if real else []),
    )


def _bound(how: Annealing, images: int, scale: float | None) -> Any:
    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        few = {name: array[:images] for name, array in arrays.items()}
        found = trained.per_example(_objective(how, scale), few, len(few["x"]))
        refused = float(found["divergent"].mean())
        require(
            refused < 0.5,
            "temperatures",
            "must be so many that most trajectories do not diverge",
            f"{how.temperatures}, of whose trajectories {refused:.0%} diverged",
            "Raise --temperatures.",
            DataError,
        )
        return average(found["loss"])

    return measure


def _weighted(images: int) -> Any:
    bound = partial(importance_bound, num_samples=5000, chunk=50)

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        few = {name: array[:images] for name, array in arrays.items()}
        return average(trained.per_example(bound, few, len(few["x"]))["loss"])

    return measure


def _gap(how: Annealing, images: int, scale: float | None) -> Any:
    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return average(np.asarray(_sandwich(trained, how, images, scale).gap))

    return measure


KDE_SAMPLES = 10_000
"""Of the kernel density estimate, as in the literature."""


def kernel_density(images: int = 1000) -> Estimator:
    """What the field once compared models by, to be shown beside the bound: see `parzen`."""

    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        means = np.asarray(trained.call(_means, jax.random.key(EVALUATION_SEED)))
        validation = validation_arrays(trained)["x"][:1000]
        test = arrays["x"][:images]
        found = parzen(means, validation, test)
        log_det = np.asarray(arrays.get("log_det", np.zeros(len(test))))[:images]
        return average(-found.log_prob - log_det)

    how = f"kernel density estimate of {KDE_SAMPLES} means, the width by validation images"
    return Estimator("nll_kde", how, measure)


def _means(model: Any, key: Any) -> Any:
    """E[x | z] of latents of the prior, or what a generator makes of them."""
    if generates(model):
        return model.sample(key, (KDE_SAMPLES,))
    return model.mean(key, (KDE_SAMPLES,))


def is_real(trained: Trained) -> bool:
    """Whether a model is of real-valued data, of which kernels are a density."""
    model, key = trained.model, jax.random.key(0)
    if generates(model):
        return True
    likelihood = model.likelihood(model.prior().sample(seed=key, sample_shape=(1,)))
    return not is_discrete(likelihood, likelihood.sample(seed=key))


def validation_arrays(trained: Trained) -> Mapping[str, np.ndarray]:
    """Of the validation split; where there is none, of the training split."""
    splits = trained.experiment.dataset.splits
    return trained.arrays("validation" if "validation" in splits else "train")


SCALES = tuple(float(scale) for scale in np.geomspace(0.03, 1.0, 8))
"""Standard deviations of the observation of an implicit model, of which validation data choose."""


def check_annealable(trained: Trained) -> None:
    """Raises `DgmjaxError` for a model without a prior, and a likelihood or a generator."""
    rule = "must be of a latent-variable model, with a prior and a likelihood, of a generator or "
    rule += "of an energy with a path to it"
    given = type(trained.experiment.module).__name__
    remedy = "Models with an exact density need no bound."
    annealable = is_latent_variable_model(trained.model) or generates(trained.model)
    require(annealable, "run", rule, given, remedy)


def observation_scale(trained: Trained, how: Annealing, images: int) -> float | None:
    """The best of `SCALES` for validation images, by a tenth of the temperatures.

    None for a model with a likelihood of its own.
    """
    if is_latent_variable_model(trained.model):
        return None
    few = {name: array[: min(images, 20)] for name, array in validation_arrays(trained).items()}
    quick = replace(how, temperatures=max(1, how.temperatures // 10))
    bounds = [
        trained.per_example(_objective(quick, scale), few, len(few["x"]))["loss"].mean()
        for scale in SCALES
    ]
    return SCALES[int(np.argmin(bounds))]


def annealed_figure(
    trained: Trained, how: Annealing, num: int = 20, scale: float | None = None
) -> "Figure":
    """Both bounds on simulated data against the number of temperatures, in three decades."""
    fewer = _decades(how)
    counts = [some.temperatures for some in fewer]
    found = [_sandwich(trained, some, num, scale) for some in fewer]
    lower = np.stack([np.asarray(bounds.lower) for bounds in found])
    upper = np.stack([np.asarray(bounds.upper) for bounds in found])
    return bounds_by_temperatures(counts, lower, upper, f"AIS: {trained.experiment.model}")


def _decades(how: Annealing) -> list[Annealing]:
    """A hundredth, a tenth and all of the temperatures."""
    counts = sorted({max(1, how.temperatures // 10**power) for power in range(3)})
    return [replace(how, temperatures=count) for count in counts]


def _sandwich(trained: Trained, how: Annealing, num: int, scale: float | None) -> Any:
    return trained.call(_simulated(how, num, scale), jax.random.key(EVALUATION_SEED))


# The same functions for the same settings, so that they compile once.


@lru_cache
def _objective(how: Annealing, scale: float | None) -> Any:
    return lambda model, batch, key: annealed_bound(_observed(model, scale), batch, key, how)


@lru_cache
def _simulated(how: Annealing, num: int, scale: float | None) -> Any:
    return lambda model, key: bidirectional(_observed(model, scale), key, num, how)


def _observed(model: Any, scale: float | None) -> Any:
    return model if scale is None else FixedObservation(model, scale)
