"""Lasso: restoration by sparsity alone, the baseline of every generative prior."""

import math
import warnings

import jax.numpy as jnp
import numpy as np

from dgmjax.applications.sensing.bases import Basis, synthesis
from dgmjax.applications.sensing.operators import Operator
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array


def lasso(
    operator: Operator,
    y: Array,
    basis: Basis = "pixel",
    *,
    weight: float = 1e-3,
    num_steps: int = 1000,
) -> np.ndarray:
    """x = B c with c = argmin |y - A B c|^2 / (2 m) + weight |c|_1, by scikit-learn.

    Args:
      y: `[..., m]`.
      basis: B, see `synthesis`.
      weight: the `alpha` of scikit-learn.
      num_steps: sweeps of coordinate descent, at most.

    Returns:
      x `[..., *event]`.

    Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996,
    https://doi.org/10.1111/j.2517-6161.1996.tb02080.x.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Lasso

    operator.check(y)
    require_sizes(num_steps=num_steps)
    require(0.0 < weight < math.inf, "weight", "must be a positive number", weight)
    shape, dims = operator.event_shape, math.prod(operator.event_shape)
    made = synthesis(basis, shape)
    columns = np.asarray(operator(made(jnp.eye(dims).reshape(dims, *shape))).T, np.float64)
    rows = np.asarray(y, np.float64).reshape(-1, operator.size)
    if not len(rows):
        return np.zeros((*y.shape[:-1], *shape), np.float32)
    fitted = Lasso(weight, fit_intercept=False, max_iter=num_steps, tol=1e-4)
    with warnings.catch_warnings():  # what is not converged after `num_steps` counts as it is
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = fitted.fit(columns, rows.T).coef_.reshape(*y.shape[:-1], *shape)
    return np.asarray(made(jnp.asarray(found, jnp.float32)))
