"""Trained model with its data, for figures, estimators and users."""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

from dgmjax.contracts import context_of, offers
from dgmjax.data.transforms import apply_once
from dgmjax.devices import processes
from dgmjax.errors import RunError, require
from dgmjax.evaluation.averages import per_example
from dgmjax.lab.experiment import Experiment
from dgmjax.runs.folder import RunFolder
from dgmjax.training.learner import Learner, State
from dgmjax.types import Objective

EVALUATION_SEED = 20160101
"""Seed of the one fixed draw of binarisation or noise that every evaluation uses."""


def transformed(experiment: Experiment, split: str) -> dict[str, np.ndarray]:
    """The arrays of a split as the model sees them, with one fixed draw of any noise."""
    transform = experiment.evaluation_transform or experiment.transform
    return apply_once(transform, experiment.dataset.splits[split], EVALUATION_SEED)


class Trained:
    """A model with its parameters and its data.

    Attributes:
      experiment: that was run.
      learner: of the experiment.
      state: the parameters (the best by validation, if there was one).
      folder: the run folder, or None.
      seed: of the run.
      step: training step of the parameters.
    """

    def __init__(
        self,
        experiment: Experiment,
        learner: Learner,
        state: State,
        *,
        seed: int = 0,
        step: int = 0,
        seconds: float = 0.0,
        folder: RunFolder | None = None,
    ):
        self.experiment, self.learner, self.state = experiment, learner, state
        self.seed, self.step, self.seconds, self.folder = seed, step, seconds, folder
        self._arrays: dict[str, dict[str, np.ndarray]] = {}

    @cached_property
    def model(self) -> Any:
        """The bound module: `trained.model.log_prob(x)`, `trained.model.sample(key, (64,))`."""
        return self.learner.bind(self.state)

    def arrays(self, split: str) -> dict[str, np.ndarray]:
        """The transformed arrays of a split, with one fixed draw of any noise."""
        if split not in self._arrays:
            self._arrays[split] = transformed(self.experiment, split)
        return self._arrays[split]

    def call(self, method: Callable | str, *arguments: Any) -> Any:
        """`method` of the module (or a function of the bound model), compiled."""
        return self.learner.call(self.learner.variables(self.state), method, *arguments)

    def per_example(
        self, objective: Objective, arrays: Mapping[str, np.ndarray], batch_size: int
    ) -> dict[str, np.ndarray]:
        """Loss and metrics of `objective` for every example of the arrays."""
        learner, key = self.learner, jax.random.key(EVALUATION_SEED)
        variables = learner.variables(self.state)
        mine = per_example(
            lambda b, k: learner.call(variables, objective, b, k),
            arrays,
            batch_size,
            key,
            part=processes.part(),
        )
        # Each process has zeros where it computed nothing, so that sums are the whole, bit for bit.
        return processes.total(mine)

    def sample(
        self, num: int, seed: int = 0, temperature: float = 1.0, label: int | None = None
    ) -> np.ndarray:
        """`num` samples, in the units of the raw data where the transform can be undone.

        Args:
          temperature: of models whose `sample` takes one: flows and autoregressive models.
          label: their class, of models with classes; all classes if None.
        """
        rule, name = "must have `sample`", type(self.experiment.module).__name__
        require(
            offers(self.experiment.module, "sample"), "the trained model", rule, name, "", RunError
        )
        key = jax.random.key(seed)
        if temperature == 1.0 and label is None:
            x = self.call(_sampler(num), key)
        else:
            x = self.call(_chosen_sampler(num, temperature, label), key)
        transform = self.experiment.evaluation_transform or self.experiment.transform
        return np.asarray(transform.inverse(x))


@lru_cache
def _sampler(num: int) -> Callable:
    """The same function for the same number, so that it compiles once."""
    return lambda model, key: model.sample(key, (num,))


@lru_cache
def _chosen_sampler(num: int, temperature: float, label: int | None) -> Callable:
    def sample(model: Any, key: Any) -> Any:
        given = () if label is None else (context_of(model, label, num),)
        shape = (num,) if label is None else ()
        if temperature == 1.0:
            return model.sample(key, shape, *given)
        takes = inspect.signature(model.sample).parameters
        variadic = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        require(
            "temperature" in takes or variadic,
            "temperature",
            f"must be 1 for {type(model).__name__}, which has none",
            temperature,
            "Flows and autoregressive models have one.",
        )
        return model.sample(key, shape, *given, temperature=temperature)

    return sample
