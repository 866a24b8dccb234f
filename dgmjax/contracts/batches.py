"""The model of a batch: conditional, class-conditional, of transformed data, or as it is."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from dgmjax.contracts.joints import log_joint
from dgmjax.contracts.questions import is_conditional, reads_classes, reads_mask
from dgmjax.errors import DataError, require
from dgmjax.types import Array, Batch, PyTree


def context_of(model: Any, label: int, num: int) -> Array:
    """What `sample(key, (), context)` of a model reads for `num` samples of a class.

    Raises:
      DgmjaxError: a model without classes, or a class that there is not.
    """
    count = getattr(model, "num_classes", None) or 0
    without = "must be left out for a model without classes"
    rule = f"must be in 0 .. {count - 1}" if count else without
    require(0 <= label < count, "label", rule, label)
    labels = jnp.full(num, label)
    if reads_classes(model):
        return model.of_classes(labels).context
    made = getattr(model, "context", None)
    return made(labels) if callable(made) else labels


def implicit(model: Any, batch: Batch) -> Any:
    """The implicit model of a batch: that of its classes, where the model is conditional.

    Raises:
      DataError: see `check_batch`; or the batch has no `label`, which the model reads.
    """
    check_batch(batch)
    if not reads_classes(model):
        return model
    remedy = "Use a labelled data set, or a model without `num_classes`."
    require("label" in batch, "batch", "must hold `label`", sorted(batch), remedy, DataError)
    return model.of_classes(batch["label"])


def check_batch(batch: Batch) -> None:
    """Raises `DataError` unless a batch holds examples `x`, and a `mask` for each of them."""
    kind = type(batch).__name__
    require(isinstance(batch, Mapping), "batch", "must be a dict of arrays", kind, "", DataError)
    require("x" in batch, "batch", "must hold `x`", sorted(batch), "", DataError)
    shape = jnp.shape(batch["x"])
    some = bool(shape) and shape[0] >= 1
    require(some, "x", "must hold examples", f"shape {shape}", "", DataError)
    mask = jnp.shape(batch["mask"]) if "mask" in batch else shape[:1]
    rule = f"must have a number for each of the {shape[0]} examples of `x`"
    require(mask == shape[:1], "mask", rule, f"shape {mask}", "", DataError)


def original_units(batch: Batch) -> Array | float:
    """log |det| of the transforms that made `x`: added to log p(x), it gives that of raw data."""
    return batch.get("log_det", 0.0)


def counted(batch: Batch) -> Batch:
    """The batch for a model that `given` made: its log-determinant is in the likelihood already."""
    return {name: array for name, array in batch.items() if name != "log_det"}


def given(model: Any, batch: Batch) -> Any:
    """The latent-variable model of a batch, whose likelihood is one of the raw data.

    A conditional model provides it (`ConditionalModel`). If the batch was transformed, likelihood
    and joint density include the log-determinant of the transform.

    Raises:
      DgmjaxError: the model has no posterior.
      DataError: see `check_batch`.
    """
    check_batch(batch)
    found = model.given(batch) if is_conditional(model) else model
    rule = "must be a latent-variable model, with `prior()`, `posterior(x)` and `likelihood(z)`"
    require(hasattr(found, "posterior"), "model", rule, type(model).__name__)
    return in_original_units(found, batch)


def in_original_units(model: Any, batch: Batch) -> Any:
    """The model with a likelihood of the raw data; the model itself where nothing was transformed.

    A model with several likelihoods decides by a method `in_original_units(log_det)` which of them
    was transformed.
    """
    if "log_det" not in batch:
        return model
    own = getattr(model, "in_original_units", None)
    return InOriginalUnits(model, batch["log_det"]) if own is None else own(batch["log_det"])


class InOriginalUnits:
    """A latent-variable model of transformed data: log p(raw x | z) = log p(x | z) + log_det.

    Args:
      model: of the transformed data; all other attributes are passed on.
      log_det: `[B]`, of the transform.
    """

    def __init__(self, model: Any, log_det: Array):
        self.model, self.log_det = model, log_det

    def likelihood(self, z: PyTree) -> "LikelihoodInOriginalUnits":
        """p(raw x | z)."""
        return LikelihoodInOriginalUnits(self.model.likelihood(z), self.log_det)

    def log_joint(self, x: Array, z: PyTree) -> Array:
        """log p(raw x, z) in nats."""
        return log_joint(self.model, x, z) + self.log_det

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "model" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.model, name)


class LikelihoodInOriginalUnits:
    """A likelihood whose `log_prob` adds a log-determinant `[B]`; the rest is the inner one's."""

    def __init__(self, likelihood: Any, log_det: Array):
        self.inner, self.log_det = likelihood, log_det

    def log_prob(self, value: Array) -> Array:
        """log p(raw x | z) in nats, for the transformed x."""
        return self.inner.log_prob(value) + self.log_det

    def sample_and_log_prob(self, **options: Any) -> tuple[Array, Array]:
        """Samples of the transformed data, and log p(raw x | z) of each, in nats."""
        x, log_prob = self.inner.sample_and_log_prob(**options)
        return x, log_prob + self.log_det

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "inner" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)


def log_density(model: Any, batch: Batch, **options: Any) -> Array:
    """log p(raw x) of a density model, `[B]`, in nats, given the batch's `context` if it has one.

    Args:
      options: further arguments of the model's `log_prob`.
    """
    context = (batch["context"],) if "context" in batch else ()
    if "mask" in batch and reads_mask(model):
        options["mask"] = batch["mask"]
    return model.log_prob(batch["x"], *context, **options) + original_units(batch)
