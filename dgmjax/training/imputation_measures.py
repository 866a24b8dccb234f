"""What estimators measure of imputations: the model's, and those of baselines beside it."""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import numpy as np

from dgmjax.evaluation.imputation import Imputed, imputation_error, imputations, impute
from dgmjax.training.measures import Measure
from dgmjax.training.trained import EVALUATION_SEED, Trained


def imputed(
    trained: Trained,
    arrays,
    *,
    num_samples: int = 10_000,
    num_imputations: int = 0,
    chunk: int = 100,
    batch_size: int = 100,
) -> Imputed:
    """The rows of `arrays` (`x` and `observed`) completed by a trained model."""
    method = _method(num_samples, num_imputations, chunk)
    evaluate = lambda batch, key: trained.call(method, batch, key)
    return impute(evaluate, arrays, batch_size, jax.random.key(EVALUATION_SEED))


@lru_cache
def _method(num_samples: int, num_imputations: int, chunk: int) -> Callable[..., Imputed]:
    """The same function for the same numbers, so that it compiles once."""
    return partial(
        imputations, num_samples=num_samples, num_imputations=num_imputations, chunk=chunk
    )


def imputation_mse(num_samples: int = 10_000, chunk: int = 100, batch_size: int = 100) -> Measure:
    """Mean squared error of single imputation over the missing entries of the split.

    The arrays hold `x`, `observed` and `complete` (see `data.remove_entries`).
    """

    def measure(trained, arrays):
        single = imputed(
            trained, arrays, num_samples=num_samples, chunk=chunk, batch_size=batch_size
        ).single
        return imputation_error(single, arrays["complete"], arrays["observed"])

    return measure


def imputation_mse_of(method: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Measure:
    """The same of a baseline `(x, observed) -> completed x` that knows the split only."""

    def measure(trained, arrays):
        completed = method(arrays["x"], arrays["observed"])
        return imputation_error(completed, arrays["complete"], arrays["observed"])

    return measure
