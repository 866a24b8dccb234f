"""Annealed evaluation of a trained model: `dgmjax evaluate RUN --ais`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dgmjax.contracts import is_latent_variable_model
from dgmjax.errors import DataError, require
from dgmjax.evaluation.annealed import Annealing, annealed_bound, bidirectional
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.objectives import importance_bound
from dgmjax.plotting.bounds import bounds_by_temperatures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def annealed_bounds(how: Annealing, images: int = 100) -> Supplement:
    """-log p(x) of test images by AIS, beside L_5000 of the same images; the gap on simulated ones.

    The difference of the first two is what the importance-weighted bound misses. The figure `ais`
    shows both bounds on simulated data against the number of temperatures.
    """
    require(images >= 1, "images", "must be at least 1", images)
    chains = f"{how.chains} chains, {how.temperatures} temperatures ({how.schedule})"
    estimators = (
        Estimator("nll_ais", f"annealed importance sampling, {chains}", _bound(how, images)),
        Estimator(
            "nll_bound_k5000", f"importance-weighted bound, {images} images", _weighted(images)
        ),
        Estimator(
            "ais_gap", f"bidirectional Monte Carlo on simulated data, {chains}", _gap(how, images)
        ),
    )

    def checked(trained: Trained) -> tuple[Estimator, ...]:
        check_annealable(trained)
        return estimators

    figure = partial(annealed_figure, how=how, num=min(images, 20))
    return Supplement(checked, {"ais": figure})


def _bound(how: Annealing, images: int) -> Any:
    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        few = {name: array[:images] for name, array in arrays.items()}
        found = trained.per_example(_objective(how), few, len(few["x"]))
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


def _gap(how: Annealing, images: int) -> Any:
    def measure(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return average(np.asarray(_sandwich(trained, how, images).gap))

    return measure


def check_annealable(trained: Trained) -> None:
    """Raises `DgmjaxError` for a model without a prior of real latents and a likelihood."""
    rule = "must be of a latent-variable model, with a prior and a likelihood"
    given = type(trained.experiment.module).__name__
    remedy = "Models with an exact density need no bound."
    require(is_latent_variable_model(trained.model), "run", rule, given, remedy)


def annealed_figure(trained: Trained, how: Annealing, num: int = 20) -> "Figure":
    """Both bounds on simulated data against the number of temperatures, in three decades."""
    counts = sorted({max(1, how.temperatures // 10**power) for power in range(3)})
    found = [_sandwich(trained, replace(how, temperatures=count), num) for count in counts]
    lower = np.stack([np.asarray(bounds.lower) for bounds in found])
    upper = np.stack([np.asarray(bounds.upper) for bounds in found])
    return bounds_by_temperatures(counts, lower, upper, f"AIS: {trained.experiment.model}")


def _sandwich(trained: Trained, how: Annealing, num: int) -> Any:
    return trained.call(_simulated(how, num), jax.random.key(EVALUATION_SEED))


# The same functions for the same settings, so that they compile once.


@lru_cache
def _objective(how: Annealing) -> Any:
    return lambda model, batch, key: annealed_bound(model, batch, key, how)


@lru_cache
def _simulated(how: Annealing, num: int) -> Any:
    return lambda model, key: bidirectional(model, key, num, how)
