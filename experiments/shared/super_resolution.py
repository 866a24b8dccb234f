"""Parts of experiments on super-resolution: losses, estimators and pictures of what is restored."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import evaluation, lab
from dgmjax.applications import block_average, low_resolution_shape
from dgmjax.contracts import is_initialising, original_units
from dgmjax.data import audio
from dgmjax.types import Array

REMARK = "a measure that favours blur"


@dataclass(frozen=True)
class BlockCounts:
    """y = the number of ones in each block of factor^2 pixels of binary images."""

    event_shape: tuple[int, ...]
    factor: int

    def __call__(self, x: Array) -> Array:
        operator = block_average(self.event_shape, self.factor)
        shape = low_resolution_shape(operator)
        counts = jnp.round(operator(jnp.asarray(x, jnp.float32)) * self.factor**2)
        return counts.reshape(*counts.shape[:-1], *shape)

    def spread(self, y: Array) -> Array:
        """Each block's share of ones at its pixels."""
        wide = jnp.repeat(jnp.repeat(y, self.factor, -3), self.factor, -2)
        return wide / self.factor**2


@dataclass(frozen=True)
class HalfRate:
    """y = mu-law codes of the means of pairs of samples, themselves mu-law codes `[..., T]`."""

    event_shape: tuple[int, ...]

    def __call__(self, x: Array) -> Array:
        sound = jnp.asarray(audio.MuLaw().inverse(x), jnp.float32)
        means = block_average(self.event_shape, 2)(sound)
        return audio.MuLaw()({"x": jnp.round(means)}, jax.random.key(0))["x"]

    def spread(self, y: Array) -> Array:
        """Each mean at both of its samples, as codes."""
        return jnp.repeat(y, 2, -1)


def both_terms(model, batch, key=None):
    """-log p(x) = -log p(y) - log p(x | y), and both terms as metrics, in nats per example.

    Of padded sequences (`length[B]`) only the steps that there are count: those of y that hold any
    of them, and those of x.
    """
    x = batch["x"]
    if is_initialising(model):
        coarse, fine = model.log_probs(x)
    elif "length" in batch:
        y = model.reduce(x)
        factor = x.shape[-1] // y.shape[-1]
        coarse = _until(model.coarse(), y, -(-batch["length"] // factor))
        fine = _until(model(y), x, batch["length"])
    else:
        coarse, fine = model.log_probs(x)
    fine = fine + original_units(batch)
    loss = -(coarse + fine)
    return loss, {"coarse_nats": -coarse, "fine_nats": -fine}


def _until(distribution, x: Array, length: Array) -> Array:
    """sum_{t < length} log p(x_t | x_<t)."""
    each = distribution.family(distribution.params(x)).log_prob(x)
    return jnp.where(jnp.arange(x.shape[-1]) < length[:, None], each, 0.0).sum(-1)


@lru_cache(8)
def restored(trained, num: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test examples `[N, *event]`, their y, and samples `[each, N, *event]` given y."""
    x = trained.arrays("test")["x"][:num]
    y, drawn = trained.call(_drawn(each), x, jax.random.key(1))
    return np.asarray(x), np.asarray(y), np.asarray(drawn)


@lru_cache
def _drawn(each: int):
    def drawn(model, x, key):
        y = model.reduce(x)
        # One sample of every example after another: all at once need the memory of their caches.
        one = lambda key: model.sample(key, (), y)
        return y, jax.lax.map(one, jax.random.split(key, each))

    return drawn


def signal_to_noise(num: int, each: int, decode, peak: bool) -> tuple[lab.Estimator, ...]:
    """Decibels of one sample, of the mean of several, and of the low resolution itself.

    Args:
      decode: from values of the model to those that are compared.
      peak: relative to the largest value, 1 (PSNR), or to the signal's own power (SNR).
    """

    def measure(which: str, trained, _):
        x, y, drawn = restored(trained, num, each)
        truth = np.asarray(decode(x), np.float64)
        made: dict[str, Any] = {
            "one sample": lambda: decode(drawn[0]),
            "mean of samples": lambda: np.asarray(decode(drawn), np.float64).mean(0),
            "low resolution": lambda: decode(
                np.asarray(trained.experiment.module.reduce.spread(jnp.asarray(y)))
            ),
        }
        error = ((np.asarray(made[which](), np.float64) - truth) ** 2).mean()
        power = 1.0 if peak else (truth**2).mean()
        return evaluation.Measurement(float(10 * np.log10(power / max(error, 1e-12))), None, num)

    names = {
        "one sample": "one sample",
        "mean of samples": f"mean of {each} samples",
        "low resolution": "low resolution",
    }
    return tuple(
        lab.Estimator(
            "psnr_db" if peak else "snr_db",
            f"{name}, {num} test examples, {REMARK}",
            partial(measure, which),
            unit="dB",
        )
        for which, name in names.items()
    )


def fine_nats(batch_size: int, how: str = "") -> tuple[lab.Estimator, ...]:
    """Exact nats of x given y, of y, and of both."""
    rows = {"fine_nats": "of x given y", "coarse_nats": "of y", "loss": "of x: the sum of both"}
    return tuple(
        lab.Estimator(
            "nll_nats" if metric == "loss" else f"{metric.partition('_')[0]}_nll_nats",
            f"exact, {text}{how}",
            lab.averaged(both_terms, batch_size, metric=metric),
        )
        for metric, text in rows.items()
    )
