"""Distillation: a student that draws in one pass, trained on the density of any teacher."""

from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import draws_conditionals, is_autoregressive
from dgmjax.errors import DataError, require, require_sizes
from dgmjax.types import Array, Batch, Key, Metrics

FRAME, HOP = 256, 128
"""A window of `power_loss` and the distance to the next, in samples."""


def distillation(
    model,
    batch: Batch,
    key: Key,
    *,
    teacher: Any,
    num_samples: int = 4,
    contrast: float = 0.0,
    power: float = 0.0,
) -> tuple[Array, Metrics]:
    """KL(student || teacher) at samples of the student, in nats, and two terms of Parallel WaveNet.

    For an autoregressive teacher and a student whose conditionals p(x_t | z_<t) are known
    (`distributions.ParallelAutoregressive`), with x from the student and one pass of each network,

    KL = E sum_t [-E_{x_t ~ p_S(. | z_<t)} log p_T(x_t | x_<t)] - E sum_t H(p_S(x_t | z_<t)):

    the cross-entropy takes `num_samples` values of each site, the entropy is exact. For others it
    is log p_S(x) - log p_T(x), as `reverse_kl`. With classes,

    loss = KL_y - contrast KL_y' + power d(x, x_batch),

    KL_y' for the teacher given another class y', and d the distance of power spectra. Both add what
    the KL lacks: it does not mind a student that says too little.

    Args:
      model: the student, `model(context)` a distribution that can be differentiated through its
        samples.
      batch: gives the number of samples, and `label[B]` or `context` where both are conditional;
        `length[B]` where sites after it do not count (the teacher has never seen them).
      teacher: `models.Teacher`, or any other model of that form.
      num_samples: of each site.
      contrast: gamma, weight of the KL to the teacher of another class.
      power: weight of `power_loss` between the student's samples and `x` of the batch.

    Returns:
      loss `[B]`; metrics `kl`, and where they apply `entropy`, `contrast` (KL_y'), `power`.

    Source: van den Oord et al., "Parallel WaveNet: Fast High-Fidelity Speech Synthesis", 2018,
    section 4, https://arxiv.org/abs/1711.10433.
    """
    require_sizes(num_samples=num_samples)
    for name, weight in {"contrast": contrast, "power": power}.items():
        require(weight >= 0.0, name, "must be at least 0", weight)
    label_key, key = jax.random.split(key)
    contexts = [_context(one, batch) for one in (model, teacher)]
    student, expert = model(contexts[0]), teacher(contexts[1])
    require(
        tuple(student.event_shape) == tuple(expert.event_shape),
        "teacher",
        f"must be over the events of the student, {tuple(student.event_shape)}",
        tuple(expert.event_shape),
    )
    shape = () if contexts[0] is not None else batch["x"].shape[:1]
    counted = _counted(batch, student.event_shape)
    if not (draws_conditionals(student) and is_autoregressive(expert)):
        known = "must be 0 where the conditionals of student and teacher are not known"
        require(not contrast, "contrast", known, contrast)
        whole = "must not hold `length` where the conditionals of student and teacher are not known"
        require(counted is None, "batch", whole, sorted(batch), error=DataError)
        x, log_student = student.sample_and_log_prob(seed=key, sample_shape=shape)
        kl = log_student - expert.log_prob(x)
        metrics = {"kl": kl}
    else:
        x, conditional = student.draw_and_conditionals(key, shape)
        values = conditional.sample(seed=jax.random.fold_in(key, 1), sample_shape=num_samples)
        entropy = _summed(conditional.entropy(), counted)

        def divergence(distribution: Any) -> Array:
            sites = distribution.family(distribution.params(x))
            return _summed(-sites.log_prob(values).mean(0), counted) - entropy

        kl = divergence(expert)
        metrics = {"kl": kl, "entropy": entropy}
    loss = kl
    if contrast:
        other = _other_class(label_key, teacher, batch)
        metrics["contrast"] = divergence(teacher(teacher.context(other)))
        loss = loss - contrast * metrics["contrast"]
    if power:
        metrics["power"] = power_loss(x, batch["x"])
        loss = loss + power * metrics["power"]
    return loss, metrics


def power_loss(x: Array, y: Array) -> Array:
    """Mean squared difference of the log powers of two sounds over frames and frequencies, `[B]`.

    Powers are those of windows of 256 samples, 128 apart, relative to the range of y; the phase,
    which a likelihood judges, does not matter.
    """
    require(x.shape == y.shape, "x", f"must have the shape of the batch, {y.shape}", x.shape)
    size = min(FRAME, x.shape[-1])
    starts = jnp.arange(0, x.shape[-1] - size + 1, min(HOP, size))
    window = jnp.hanning(size)

    def powers(sound: Array) -> Array:
        frames = sound[..., starts[:, None] + jnp.arange(size)]
        spectrum = jnp.fft.rfft((frames - sound.mean(-1)[..., None, None]) * window)
        return spectrum.real**2 + spectrum.imag**2

    real = powers(jnp.asarray(y, x.dtype))
    # A floor at one part in 10^4 of the mean: silence has no logarithm.
    floor = 1e-4 * real.mean() + 1e-12
    return ((jnp.log(powers(x) + floor) - jnp.log(real + floor)) ** 2).mean((-2, -1))


def _context(model: Any, batch: Batch) -> Array | None:
    if "label" in batch:
        return model.context(batch["label"])
    return batch.get("context")


def _other_class(key: Key, teacher: Any, batch: Batch) -> Array:
    rule = "must hold `label` for a contrast of classes"
    require("label" in batch, "batch", rule, sorted(batch), error=DataError)
    classes = teacher.module.num_classes
    shift = jax.random.randint(key, batch["label"].shape, 1, classes)
    return (batch["label"] + shift) % classes


def _counted(batch: Batch, event_shape: tuple[int, ...]) -> Array | None:
    if "length" not in batch:
        return None
    return jnp.arange(event_shape[-1]) < batch["length"][:, None]


def _summed(values: Array, counted: Array | None) -> Array:
    values = values if counted is None else jnp.where(counted, values, 0.0)
    return values.reshape(len(values), -1).sum(-1)
