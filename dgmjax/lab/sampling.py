"""Quality of the samples of a trained model: `dgmjax evaluate RUN --samples`."""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dgmjax.data.transforms import Transform
from dgmjax.errors import require
from dgmjax.evaluation.averages import Measurement
from dgmjax.evaluation.samples.classes import class_score, mode_count, mode_kl
from dgmjax.evaluation.samples.feature_net import FeatureNet, Features, load_feature_net
from dgmjax.evaluation.samples.frechet import frechet_distance
from dgmjax.evaluation.samples.inception import Inception, load_inception
from dgmjax.evaluation.samples.kernel import kernel_distance
from dgmjax.evaluation.samples.neighbours import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    memorised_share,
    nearest,
    nearest_neighbour_accuracy,
    precision_recall,
)
from dgmjax.evaluation.samples.similarity import diversity
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.trained import EVALUATION_SEED, Trained
from dgmjax.plotting.neighbours import nearest_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 500
"""Samples drawn by one compiled call."""

FEW = 5000
"""Images of each set in the metrics that compare every image with every other."""

OVERSHOOT = 0.25
"""Samples are clipped to the range of the data where they leave it by less than this share of it.

Root mean square over all values: the noise of a normal observation is below it, and images in
[-1, 1] (of a `tanh`) in place of [0, 1] are far above.
"""

SMALLEST = 11
"""Sides of images whose similarity is measured."""

CLASSES = 10
NETS = {"fashion_mnist": "fashion_mnist"}
"""The feature net of a data set; all others are read by that of MNIST."""
OF_CLASSES = ("mnist", "binarized_mnist", "fashion_mnist")
"""Data sets that have the classes of their net."""


class Comparison:
    """Samples of a model beside the test images of its data, with the features of both.

    Both are in the units of the raw data as the model sees them (binarised where it is trained on
    binarised images), with the range of the data mapped to [0, 1]. Samples are compared with as
    many images, the first of the test split, or with all of them where there are fewer.
    Samples of a density over all real numbers leave the range a little; they are clipped to it, and
    `clipping` says so.

    Raises:
      DataError: images that the feature nets do not read, or samples outside of the data's range.
    """

    def __init__(
        self, trained: Trained, num_samples: int, net: FeatureNet | Inception | None = None
    ):
        self.trained, self.num = trained, num_samples
        self.net = load_feature_net(NETS.get(self._name, "mnist")) if net is None else net
        self.test_images = self.images("test")
        self.num_real = min(num_samples, len(self.test_images))

    @property
    def _name(self) -> str:
        return self.trained.experiment.dataset.name

    @property
    def has_classes(self) -> bool:
        """Whether the classes of the net are those of the data."""
        return self._name in OF_CLASSES and isinstance(self.net, FeatureNet)

    def sizes(self, most: int | None = None) -> str:
        """How many images are compared, for records: at most `most` of each set."""
        num, real = (min(n, most or n) for n in (self.num, self.num_real))
        return f"{num} generated against {real} test images"

    def images(self, split: str) -> np.ndarray:
        """The images of a split in [0, 1], as the model sees them."""
        experiment = self.trained.experiment
        transform: Transform = experiment.evaluation_transform or experiment.transform
        x: Any = self.trained.arrays(split)["x"]
        unit = self._unit(transform.inverse(x))
        # What rounding puts beside an end belongs to it; anything further is another range.
        ends = np.clip(unit, 0.0, 1.0)
        return self.net.as_images(split, np.where(np.abs(unit - ends) < 1e-5, ends, unit))

    def _unit(self, x: Any) -> np.ndarray:
        """With the range of the data mapped to [0, 1]."""
        experiment = self.trained.experiment
        binary = experiment.binarisation is not None
        low, high = (0.0, 1.0) if binary else experiment.dataset.info["value_range"]
        return (np.asarray(x, np.float32) - low) / (high - low)

    def _clipped(self, x: Any) -> tuple[np.ndarray, float]:
        """Samples in [0, 1], and the share of their values that were not."""
        unit = self._unit(x)
        ends = np.clip(unit, 0.0, 1.0)
        outside = np.abs(unit - ends)
        near = np.sqrt(np.square(outside).mean()) < OVERSHOOT  # false for NaN
        return self.net.as_images("samples", ends if near else unit), (outside > 1e-5).mean()

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, float]:
        size = min(BATCH, self.num)
        drawn = [
            self.trained.sample(size, seed=EVALUATION_SEED + i) for i in range(-(-self.num // size))
        ]
        return self._clipped(np.concatenate(drawn)[: self.num])

    @property
    def samples(self) -> np.ndarray:
        """Samples `[num, 28, 28, 1]` in [0, 1]; draws of x, not means."""
        return self._drawn[0]

    @property
    def clipping(self) -> str:
        """How many values of the samples lie outside of the data's range, for records."""
        share = self._drawn[1]
        return f", {share:.1%} of the values clipped to the range of the data" if share else ""

    def drawn(self, draw: Callable[[int, int], Any]) -> np.ndarray:
        """Samples by another sampler than the model's own, `[num, 28, 28, 1]` in [0, 1].

        Args:
          draw: `(number, seed)` to samples in the units that the model sees.
        """
        transform = (
            self.trained.experiment.evaluation_transform or self.trained.experiment.transform
        )
        size = min(BATCH, self.num)
        parts = [draw(size, EVALUATION_SEED + i) for i in range(-(-self.num // size))]
        raw = [np.asarray(transform.inverse(x)) for x in parts]
        return self._clipped(np.concatenate(raw)[: self.num])[0]

    @cached_property
    def generated(self) -> Features:
        """Features of the samples."""
        return self.net(self.samples)

    @cached_property
    def test(self) -> Features:
        """Features of all test images."""
        return self.net(self.test_images)

    @property
    def real(self) -> np.ndarray:
        """Features of the test images that are compared with the samples."""
        return self.test.vectors[: self.num_real]

    @cached_property
    def train(self) -> Features:
        """Features of all training images."""
        return self.net(self.images("train"))

    @cached_property
    def support(self) -> PrecisionRecall:
        """Precision and recall."""
        return precision_recall(self.real, self.generated.vectors)

    @cached_property
    def neighbourhoods(self) -> DensityCoverage:
        """Density and coverage."""
        return density_coverage(self.real, self.generated.vectors)

    def two_samples(self) -> Measurement:
        """The nearest-neighbour test on as many images of both."""
        num = min(self.num_real, FEW)
        return nearest_neighbour_accuracy(self.real[:num], self.generated.vectors[:num])

    def memorised(self) -> Measurement:
        """The share of samples nearer to a training image than 99% of the test images are."""
        generated, held_out = self.generated.vectors[:FEW], self.real[:FEW]
        return memorised_share(generated, self.train.vectors, held_out)

    def floor(self, metric: Callable[..., Measurement]) -> Measurement:
        """A distance of as many training images: what a perfect model reaches."""
        return metric(self.real, self.train.vectors[: self.num_real])

    def mode_kl(self) -> Measurement:
        """Reverse KL of the predicted classes."""
        predicted, real = (part.log_probs.argmax(1) for part in (self.generated, self.test))
        return mode_kl(predicted, real, CLASSES)

    def nearest_training_images(self, num: int = 12, k: int = 6) -> "Figure":
        """Samples beside the training images nearest to them, pixel by pixel."""
        images, few = self.images("train"), self.samples[:num]
        indices, _ = nearest(few.reshape(len(few), -1), images.reshape(len(images), -1), k)
        name = f"Samples and training images: {self.trained.experiment.model}"
        return nearest_images(few, images[indices], name)


@lru_cache(maxsize=1)
def _comparison(trained: Trained, num_samples: int, net: Inception | None = None) -> Comparison:
    """One comparison for all estimators, which share samples and features."""
    return Comparison(trained, num_samples, net)


Measure = Callable[[Comparison], Measurement]


class _Row(NamedTuple):
    """A metric of features: how it is measured, its unit, and on which images."""

    measure: Measure
    how: str
    unit: str
    sizes: Callable[[Comparison], str] = Comparison.sizes


def _few(comparison: Comparison) -> str:
    return comparison.sizes(FEW)


def _equal(comparison: Comparison) -> str:
    return "{0} generated against {0} test images".format(min(comparison.num_real, FEW))


def _alone(comparison: Comparison) -> str:
    return f"{comparison.num} generated images"


def _all_test(comparison: Comparison) -> str:
    return f"{comparison.num} generated against all {len(comparison.test_images)} test images"


_OF_FEATURES = {
    "fid": _Row(
        lambda c: frechet_distance(c.real, c.generated.vectors),
        "Frechet distance",
        "squared distance",
    ),
    "kid": _Row(
        lambda c: kernel_distance(c.real, c.generated.vectors), "cubic kernel", "squared MMD"
    ),
    "precision": _Row(lambda c: c.support.precision, "k = 3", "share"),
    "recall": _Row(lambda c: c.support.recall, "k = 3", "share"),
    "density": _Row(lambda c: c.neighbourhoods.density, "k = 5", "balls / k"),
    "coverage": _Row(lambda c: c.neighbourhoods.coverage, "k = 5", "share"),
    "neighbour_accuracy": _Row(
        Comparison.two_samples, "1 nearest neighbour, leave-one-out", "share", _equal
    ),
    "memorised_share": _Row(
        Comparison.memorised, "nearer to training images than 99% of test images", "share", _few
    ),
}
_OF_CLASSES = {
    "class_score": _Row(
        lambda c: class_score(c.generated.log_probs), "exp of information", "classes", _alone
    ),
    "modes": _Row(
        lambda c: mode_count(c.generated.log_probs.argmax(1), CLASSES),
        "predicted classes",
        "count",
        _alone,
    ),
    "mode_kl": _Row(Comparison.mode_kl, "reverse KL of predicted classes", "nats", _all_test),
}


def sample_quality(
    num_samples: int = 10_000, inception_weights: str | Path | None = None
) -> Supplement:
    """Metrics of samples of any model of 28x28 images, whatever its family.

    Distances, precision and recall, a two-sample test, a check for memorised images, and on
    data sets whose classes the feature net knows the score and the modes. Beside the distances
    stand those of as many training images, which a model that draws from the distribution of the
    data would reach.

    Args:
      num_samples: generated images. Distances compare at equal numbers only.
      inception_weights: a file for `evaluation.samples.load_inception`, whose features are compared
        in place of those of our nets: of images of any size, grey or coloured.
    """
    rule = "must be at least 100, which the metrics of samples need"
    require(num_samples >= 100, "num_samples", rule, num_samples)

    inception = None if inception_weights is None else load_inception(inception_weights)
    compare = partial(_comparison, num_samples=num_samples, net=inception)

    def estimators(trained: Trained) -> tuple[Estimator, ...]:
        found = compare(trained)
        name, net = found.net.metric, found.net.description + found.clipping
        rows = {**_OF_FEATURES, **(_OF_CLASSES if found.has_classes else {})}
        of_model = [
            _estimator(name(kind), f"{how}, {sizes(found)}, {net}", unit, measure, compare)
            for kind, (measure, how, unit, sizes) in rows.items()
        ]
        floors = [
            _estimator(
                name(kind),
                f"{rows[kind].how}, as many training as test images ({found.num_real}), "
                + found.net.description,
                rows[kind].unit,
                partial(Comparison.floor, metric=metric),
                compare,
                "training images",
            )
            for kind, metric in (("fid", frechet_distance), ("kid", kernel_distance))
        ]
        large = min(found.test_images.shape[1:3]) >= SMALLEST
        similarity = [
            _estimator("ms_ssim", f"pairs of {whose}", "similarity", of, compare, model)
            for whose, of, model in (
                (f"{num_samples} samples", lambda c: diversity(c.samples), None),
                (
                    f"{found.num_real} test images",
                    lambda c: diversity(c.test_images[: c.num_real]),
                    "test images",
                ),
            )
        ]
        return (*of_model, *floors, *(similarity if large else ()))

    def figure(trained: Trained) -> "Figure":
        return compare(trained).nearest_training_images()

    return Supplement(estimators, {"nearest_training_images": figure})


def _estimator(
    metric: str,
    how: str,
    unit: str,
    measure: Measure,
    compare: Callable[[Trained], Comparison],
    model: str | None = None,
) -> Estimator:
    def measured(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return measure(compare(trained))

    return Estimator(metric, how, measured, unit, model=model)
