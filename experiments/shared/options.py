"""Option groups: arguments that many experiments have, each with the experiment's own defaults."""

from dataclasses import dataclass
from typing import Literal

import optax

from dgmjax import data, runs, training
from dgmjax.errors import require, require_sizes


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Options of the optimiser and of the data.

    Attributes:
      learning_rate: peak of the schedule
      schedule: "cosine", "constant", "flat_cosine" (constant, then falling), or "burda" (eight
        stages of falling rates)
      ema_decay: decay of the averaged parameters that are evaluated; none are averaged if left out
      batch_size: examples per step
      tiny: shrink the experiment to seconds, on small built-in data
      data_dir: folder of data sets
    """

    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant", "flat_cosine", "burda"] = "cosine"
    ema_decay: float | None = None
    batch_size: int = 100
    tiny: bool = False
    data_dir: str | None = None

    def adam(self, steps: int, **options) -> optax.GradientTransformation:
        """Adam with this rate and schedule; `options` are those of `training.adam`."""
        return training.adam(self.learning_rate, steps, schedule=self.schedule, **options)


@dataclass(frozen=True, kw_only=True)
class Epochs(Shared):
    """`Shared`, with a length in passes over the training data.

    Attributes:
      epochs: passes over the training data
    """

    epochs: int = 100

    def steps(self, dataset: data.Dataset) -> int:
        """Training steps of all epochs."""
        return epochs_to_steps(dataset, self.epochs, self.batch_size)


@dataclass(frozen=True, kw_only=True)
class OwnImages(Shared):
    """`Shared`, for images of any source.

    Attributes:
      dataset: images in place of the experiment's: a path (.npz, .npy, IDX, or a folder of
        pictures) or the name of a data set
      size: side to which the pictures of a folder are cropped and resized
      grey: turn the coloured pictures of a folder grey
    """

    dataset: str | None = None
    size: int | None = None
    grey: bool = False


@dataclass(frozen=True, kw_only=True)
class Images(Epochs, OwnImages):
    """`Epochs`, for images of any source."""


@dataclass(frozen=True, kw_only=True)
class BoundedImages(Images):
    """`Images`, for models whose test log-likelihood is reported as the bound L_K.

    Attributes:
      evaluation_samples: K of the bound that is reported, L_K; published numbers are L_5000
    """

    evaluation_samples: int = 5000

    @property
    def bound_samples(self) -> int:
        """K of the reported bound; 50 in miniature."""
        require_sizes(evaluation_samples=self.evaluation_samples)
        return 50 if self.tiny else self.evaluation_samples

    def beside(self, published: runs.Published | None) -> runs.Published | None:
        """`published`, an L_5000, if that is what is reported."""
        return published if self.evaluation_samples == 5000 else None


def epochs_to_steps(dataset: data.Dataset, epochs: int, batch_size: int) -> int:
    """The steps of `epochs` passes over the training split, without an incomplete last batch."""
    require_sizes(epochs=epochs, batch_size=batch_size)
    num = len(dataset.splits["train"]["x"])
    rule = f"must be at most {num}, the examples of the training split"
    require(batch_size <= num, "batch_size", rule, batch_size)
    return epochs * (num // batch_size)
