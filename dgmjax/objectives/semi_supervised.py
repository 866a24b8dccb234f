"""Objectives of few labels: bounds that sum over classes, and mixtures of both likelihoods."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import bounds_classes, scores_classes
from dgmjax.errors import DataError, require
from dgmjax.masks import weighted_mean
from dgmjax.types import Array, Batch, Key, Metrics


def semi_supervised(
    model: Any,
    batch: Batch,
    key: Key,
    *,
    classification_weight: float = 0.1,
    labelled_rows: int = 0,
) -> tuple[Array, Metrics]:
    """Minus the bound of rows with and without a label, and the loss of the classifier.

    A row with the label y costs -L(x, y) - w log q(y | x), one without (label -1)
    -sum_y q(y | x) (L(x, y) - log q(y | x)): the class is summed over, not sampled. The weight of
    the classifier is w = `classification_weight` / (share of the batch's rows that have a label),
    so that the mean over the batch is that of the bounds plus `classification_weight` times the
    mean of -log q(y | x) over the labelled rows.

    In the source alpha = 0.1 N multiplies that same mean beside a sum of the bounds over N rows,
    all of the training set, labelled or not; divided by N it is this objective with 0.1. Public
    programs take other N, up to 0.1 times the ratio of all rows to the labelled ones.

    Args:
      model: has `class_bounds(x, key)`, see `models.SemiSupervisedVAE`.
      classification_weight: at least 0.
      labelled_rows: how many rows, the first ones, surely have a label, as in batches by quota
        (`data.Batches`): their bounds need one class instead of all.

    Returns:
      loss `[B]`; metrics `[B]`: `bound`, of the rows as above, and `log_q`, log q(y | x) of rows
      with a label, 0 of others.

    Source: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative
    Models", 2014, Eq. 6 to 9, https://arxiv.org/abs/1406.5298.
    """
    sound = 0.0 <= classification_weight < math.inf
    rule = "must be a number of at least 0"
    require(sound, "classification_weight", rule, classification_weight)
    rule = "must bound log p(x, y) of every class (`class_bounds`)"
    remedy = "Use `models.SemiSupervisedVAE`."
    require(bounds_classes(model), "model", rule, type(model).__name__, remedy)
    labels, x = _labels(batch), batch["x"]
    rows = len(labels)
    fits = 0 <= labelled_rows <= rows
    require(fits, "labelled_rows", f"must be in 0 .. {rows}, the rows", labelled_rows)
    label_key, class_key = (key, key) if labelled_rows in (0, rows) else jax.random.split(key)
    parts = []
    if labelled_rows:
        of_labels = model.label_bounds(x[:labelled_rows], labels[:labelled_rows], label_key)
        parts.append(tuple(of_labels))
    if labelled_rows < rows:
        parts.append(_of_all_classes(model, x[labelled_rows:], labels[labelled_rows:], class_key))
    found, log_q = (jnp.concatenate(part) for part in zip(*parts))
    labelled = labels >= 0
    share = weighted_mean(labelled.astype(found.dtype), batch.get("mask"))
    # A batch without a label has no loss of the classifier either.
    weight = classification_weight / jnp.maximum(share, 1e-6)
    return -found - weight * log_q, {"bound": found, "log_q": log_q}


def _of_all_classes(model: Any, x: Array, labels: Array, key: Key) -> tuple[Array, Array]:
    """The bounds of rows with and without a label, and log q of the label or 0, `[B]` each."""
    bound, log_q = model.class_bounds(x, key)
    row = jax.nn.one_hot(labels, bound.shape[-1])  # zeros where the label is -1
    of_label, of_all = (row * bound).sum(-1), (jnp.exp(log_q) * (bound - log_q)).sum(-1)
    return jnp.where(labels >= 0, of_label, of_all), (row * log_q).sum(-1)


def multi_conditional(
    model: Any,
    batch: Batch,
    key: Key | None = None,
    *,
    discriminative: float = 1.0,
    generative: float = 1.0,
) -> tuple[Array, Metrics]:
    """-(a log p(y | x) + b log p(x)) of a class-conditional density, in nats per example.

    a = b = 1 is the joint likelihood, b = 0 the classifier; between them generative training
    regularises the classifier. A row without a label (-1) has the term of b alone.

    Args:
      model: has `log_joint(x)`, log p(x, y) of every class `[B, C]` (`models.ClassConditional`).
      discriminative: a, at least 0.
      generative: b, at least 0.

    Source: McCallum, Pal, Druck & Wang, "Multi-Conditional Learning: Generative/Discriminative
    Training for Clustering and Classification", 2006,
    https://mlanthology.org/aaai/2006/mccallum2006aaai-multi.
    """
    del key
    for name, weight in (("discriminative", discriminative), ("generative", generative)):
        sound = 0.0 <= weight < math.inf
        require(sound, name, "must be a number of at least 0", weight)
    rule = "must give log p(x, y) of every class (`log_joint`)"
    remedy = "Use `models.ClassConditional`."
    require(scores_classes(model), "model", rule, type(model).__name__, remedy)
    labels = _labels(batch)
    joint = model.log_joint(batch["x"])
    log_x = jax.nn.logsumexp(joint, axis=-1)
    row = jax.nn.one_hot(labels, joint.shape[-1])
    log_y = jnp.where(labels >= 0, (row * joint).sum(-1) - log_x, 0.0)
    return -discriminative * log_y - generative * log_x, {"log_y": log_y, "log_x": log_x}


def _labels(batch: Batch) -> Array:
    rule = "must hold `label`, -1 for rows without one"
    require("label" in batch, "batch", rule, sorted(batch), "", DataError)
    return jnp.asarray(batch["label"], jnp.int32)
