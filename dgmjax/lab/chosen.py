"""Samples that a run's critic chooses: `dgmjax evaluate RUN --chosen-by rejection`."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import is_judged, makes_pairs, reads_classes
from dgmjax.errors import DgmjaxError, require
from dgmjax.evaluation.averages import Measurement
from dgmjax.inference.critics import (
    calibrate,
    discriminator_rejection,
    metropolis_hastings_gan,
    threshold_of,
)
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.trained import EVALUATION_SEED, Trained

Way = Literal["rejection", "metropolis"]
PERCENTILE, MAX_TRIES, CHAIN, MOST = 80.0, 1000, 100, 5000
HOW = {
    "rejection": "samples that the critic accepts, shifted to the "
    f"{PERCENTILE:.0f}th percentile of their logits",
    "metropolis": f"ends of chains of {CHAIN} samples that the critic accepts or refuses",
}


def chosen_samples(way: Way) -> Supplement:
    """The experiment's own estimators again, of samples chosen by the critic.

    The critic is calibrated by isotonic regression on as many samples as there are held-out data,
    at most 5,000 of either: those of the validation split or, where there is none, of the test
    split, which the records then say.

    Args:
      way: "rejection" is `inference.discriminator_rejection`, "metropolis"
        `inference.metropolis_hastings_gan`.
    """
    require(way in HOW, "way", f"must be one of {sorted(HOW)}", repr(way))

    @lru_cache(maxsize=1)
    def of(trained: Trained) -> "Chosen":
        return Chosen(trained, way)

    def again(measure: Callable, trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return measure(of(trained), arrays)

    def estimators(trained: Trained) -> tuple[Estimator, ...]:
        chosen, model = of(trained), trained.experiment.model
        how = f"{HOW[way]}, calibrated on {chosen.num_held_out} of the {chosen.split} split"
        own = [one for one in trained.experiment.estimators if one.model is None]
        name = f"{model}, chosen by {way}"
        return (
            *(
                Estimator(
                    one.metric,
                    f"{one.estimator}; {how}",
                    partial(again, one.measure),
                    one.unit,
                    one.split,
                    model=name,
                )
                for one in own
            ),
            Estimator(
                "acceptance_rate",
                how,
                lambda trained, _: of(trained).rate(),
                unit="fraction",
                model=name,
            ),
        )

    return Supplement(estimators)


class Chosen(Trained):
    """A trained model whose samples the critic chooses.

    Raises:
      DgmjaxError: a model without a critic of single samples.
    """

    def __init__(self, trained: Trained, way: Way):
        self.__dict__.update(trained.__dict__)
        self.way = way
        model = trained.model
        fits = is_judged(model) and not makes_pairs(model) and not reads_classes(model)
        rule = "must have a critic with one value for a sample"
        require(fits, "run", rule, type(model).__name__)
        splits = trained.experiment.dataset.splits
        self.split = "validation" if "validation" in splits else "test"
        data = self.arrays(self.split)["x"][:MOST]
        self.num_held_out = num = len(data)
        samples = self.call(_drawn(num), jax.random.key(EVALUATION_SEED))
        try:
            on_data, on_samples = (np.asarray(self.call("logit", x)) for x in (data, samples))
        except DgmjaxError as problem:  # a critic of features
            raise DgmjaxError(f"`run` {rule}; {problem}") from None
        self.ratio = calibrate(on_data, on_samples, "isotonic")
        self.threshold = threshold_of(np.asarray(self.ratio(jnp.asarray(on_samples))), PERCENTILE)

    def sample(
        self, num: int, seed: int = 0, temperature: float = 1.0, label: int | None = None
    ) -> np.ndarray:
        """`num` samples, in the units of the raw data where the transform can be undone."""
        require(temperature == 1.0, "temperature", "must be 1 for chosen samples", temperature)
        require(label is None, "label", "must be left out for chosen samples", label)
        x, _ = self._chosen(num, seed)
        transform = self.experiment.evaluation_transform or self.experiment.transform
        return np.asarray(transform.inverse(x))

    def rate(self, num: int = 1000) -> Measurement:
        """The share of proposals that are accepted."""
        _, accepted = self._chosen(num, EVALUATION_SEED)
        return Measurement(float(accepted), None, num)

    def _chosen(self, num: int, seed: int) -> Any:
        method = {"rejection": _accepted, "metropolis": _walked}[self.way](num)
        return self.call(method, jax.random.key(seed), self.ratio, self.threshold)


@lru_cache
def _drawn(num: int) -> Callable:
    """The same function for the same number, so that it compiles once."""
    return lambda model, key: model.sample(key, (num,))


@lru_cache
def _accepted(num: int) -> Callable:
    def accepted(model, key, ratio, threshold):
        found = discriminator_rejection(
            key, *_of(model, ratio), num, threshold, max_tries=MAX_TRIES
        )
        return found.value, found.found.sum() / found.tries.sum()

    return accepted


@lru_cache
def _walked(num: int) -> Callable:
    def walked(model, key, ratio, threshold):
        found = metropolis_hastings_gan(key, *_of(model, ratio), num, CHAIN)
        return found.value, found.accepted.mean()

    return walked


def _of(model, ratio) -> tuple[Callable, Callable]:
    """Samples of the model, and their log-ratios."""
    return (lambda key, count: model.sample(key, (count,))), (lambda x: ratio(model.logit(x)))
