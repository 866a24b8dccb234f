"""Parts of experiments on models with a time axis: options, estimators and figures."""

from functools import lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from optax.assignment import hungarian_algorithm

from dgmjax import evaluation, lab, plotting
from dgmjax.contracts import original_units
from dgmjax.inference import Sampler, Solver
from dgmjax.lab.trained import Trained
from dgmjax.noising.couplings import squared_distances

ProcessName = Literal[
    "straight",
    "trigonometric",
    "variance_preserving",
    "sub_variance_preserving",
    "variance_exploding",
]
CouplingName = Literal["independent", "assignment", "sinkhorn"]
MethodName = Literal["euler", "midpoint", "heun", "rk4"]

COMPARED = 1000
"""Points of each set between which transport is exact."""


def likelihood_by(solver: Solver) -> lab.Estimator:
    """The test negative log-likelihood by another solver than the model's."""

    def nll(model, batch, key):
        log_prob, _ = model.log_prob_and_error(batch["x"], key, solver=solver)
        return -(log_prob + original_units(batch)), {}

    how = f"ODE, exact trace, {solver.num_calls} network calls ({solver.method})"
    return lab.Estimator("nll_nats", how, lab.averaged(nll, 1000))


def transport_cost(name: str, num_steps: int) -> lab.Estimator:
    """Exact transport cost between samples of few steps and as many test points."""
    sampler = Sampler(name, num_steps)  # type: ignore[arg-type]

    def measure(trained: Trained, arrays) -> evaluation.Measurement:
        points = arrays["x"][:COMPARED]
        drawn = trained.call(_drawn(sampler, len(points)), jax.random.key(1))
        cost = squared_distances(drawn, jnp.asarray(points))
        rows, columns = jax.jit(hungarian_algorithm)(cost)
        return evaluation.average(np.asarray(cost[rows, columns]))

    how = f"mean squared distance under the best assignment, {COMPARED} samples, {name}"
    how += f", {sampler.num_calls} network calls"
    return lab.Estimator("transport_cost", how, measure, unit="squared distance")


@lru_cache
def _drawn(sampler: Sampler, num: int):
    """The same function for the same arguments, so that it compiles once."""
    return lambda model, key: model.sample(key, (num,), sampler=sampler)


def trajectories(trained: Trained, num: int = 300, steps: int = 40):
    """The paths of samples along the ODE, from the source (grey) to the data."""
    paths = np.asarray(trained.call(_paths(num, steps), jax.random.key(1)))
    return plotting.paths(paths, f"Paths: {trained.experiment.model}")


@lru_cache
def _paths(num: int, steps: int):
    def paths(model, key):
        sampler, (first, last) = Sampler("heun", steps), model.ends
        x = model.base_at_end().sample(seed=key, sample_shape=(num,))
        times = sampler.times(model.path, (first, last))

        def step(x, ends):
            t, s = ends
            slope = model.predict(x, t, kind="velocity")
            other = model.predict(x + (s - t) * slope, s, kind="velocity")
            new = x + (s - t) * (slope + other) / 2
            return new, new

        _, later = jax.lax.scan(step, x, (times[:-1], times[1:]))
        return jnp.concatenate([x[None], later])

    return paths
