"""Losses of models that sample in one or few network calls: consistency and mean flows."""

from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import check_batch
from dgmjax.errors import require, require_sizes
from dgmjax.inference.denoising import Sampler
from dgmjax.noising.gaussian import aligned
from dgmjax.noising.times import even_times
from dgmjax.objectives.diffusion.denoising import (
    TimesName,
    classes,
    flow_matching,
    noise_of_base,
)
from dgmjax.types import Array, Batch, Key, Metrics


def consistency(
    model, batch: Batch, key: Key, *, teacher: Any = None, num_steps: int = 32
) -> tuple[Array, Metrics]:
    """|f(x_t, t) - f(x_s, s)|, smoothed, at neighbours t > s of one path; f(x_s, s) is held fixed.

    f is the data prediction. Where f is x at the data, it is then the end of the path from any
    point of it: one call samples. x_s is where the teacher's ODE leads from x_t, or without a
    teacher the point of the same noise and data.

    Args:
      model: a denoiser whose data prediction is x at the start, such as one of velocities on the
        straight process.
      batch: `x`, and the classes where the model has them.
      teacher: with `predict(x, t, context, kind)`; None to train from data alone.
      num_steps: of the grid of times; more for smaller bias and slower training.

    Returns:
      loss `[B]`: sqrt(|difference|^2 + c^2) - c with c = 0.03 sqrt(D); metric `difference` `[B]`.

    Sources: Song, Dhariwal, Chen & Sutskever, "Consistency Models", 2023, Eq. 7 and 10,
    https://arxiv.org/abs/2303.01469; Song & Dhariwal, "Improved Techniques for Training Consistency
    Models", 2024, section 3.3 (the smoothed norm), https://arxiv.org/abs/2310.14189.
    """
    check_batch(batch)
    require_sizes(num_steps=num_steps)
    x0, context = as_float(batch["x"]), classes(model, batch)
    index_key, noise_key = jax.random.split(key)
    first, last = model.ends
    index = jnp.floor(even_times(index_key, x0.shape[:1]) * num_steps)
    s, t = (first + (last - first) * (index + one) / num_steps for one in (0.0, 1.0))
    noise = noise_of_base(model, noise_key, x0)
    x_t = model.path.interpolate(x0, noise, t)
    if teacher is None:
        x_s = model.path.interpolate(x0, noise, s)
    else:
        x_s = _heun(teacher, x_t, t, s, context)
    target = jax.lax.stop_gradient(model.predict(x_s, s, context, kind="data"))
    found = model.predict(x_t, t, context, kind="data")
    square = _sum((found - target) ** 2)
    smooth = 0.03 * x0[0].size ** 0.5
    return jnp.sqrt(square + smooth**2) - smooth, {"difference": jnp.sqrt(square)}


def _heun(teacher: Any, x: Array, t: Array, s: Array, context: Array | None) -> Array:
    step = aligned(s - t, x)
    slope = teacher.predict(x, t, context, kind="velocity")
    other = teacher.predict(x + step * slope, s, context, kind="velocity")
    return jax.lax.stop_gradient(x + step * (slope + other) / 2)


def mean_flow(
    model,
    batch: Batch,
    key: Key,
    *,
    teacher: Any = None,
    equal: float = 0.5,
    power: float = 1.0,
) -> tuple[Array, Metrics]:
    """|u(x_t, r, t) - (v - (t - r) du/dt)|^2, weighted, with the target held fixed.

    u is the average velocity from r to t, and du/dt = v du/dx + du/dt along the path: the identity
    that the average of v satisfies. Where r = t it is flow matching.

    Args:
      model: `models.MeanFlow`.
      batch: `x`, and the classes where the model has them.
      teacher: whose velocity is v; eps - x, on the straight process, if None.
      equal: share of the examples for which r = t.
      power: p of the weight (|error|^2 + 1e-3)^-p, held fixed; 0 for none.

    Returns:
      loss `[B]`; metric `squared_error` `[B]`, per dimension.

    Source: Geng, Deng, Bai, Kolter & He, "Mean Flows for One-step Generative Modeling", 2025,
    algorithm 1, https://arxiv.org/abs/2505.13447.
    """
    check_batch(batch)
    require(0.0 <= equal <= 1.0, "equal", "must be a share in [0, 1]", equal)
    x0, context = as_float(batch["x"]), classes(model, batch)
    first_key, second_key, equal_key, noise_key = jax.random.split(key, 4)
    first, second = (even_times(k, x0.shape[:1]) for k in (first_key, second_key))
    # Both are spread in the order of the rows: their differences would be one number in a batch.
    pair = first, jax.random.permutation(jax.random.fold_in(second_key, 1), second)
    t, r = jnp.maximum(*pair), jnp.minimum(*pair)
    r = jnp.where(jax.random.bernoulli(equal_key, equal, r.shape), t, r)
    t, r = t.astype(x0.dtype), r.astype(x0.dtype)
    noise = jax.random.normal(noise_key, x0.shape, x0.dtype)
    x = model.path.interpolate(x0, noise, t)
    v = noise - x0
    if teacher is not None:
        v = jax.lax.stop_gradient(teacher.predict(x, t, context, kind="velocity"))
    average = lambda x, r, t: model.average_velocity(x, r, t, context)
    u, change = jax.jvp(average, (x, r, t), (v, jnp.zeros_like(r), jnp.ones_like(t)))
    target = jax.lax.stop_gradient(v - aligned(t - r, x) * change)
    error = _sum((u - target) ** 2)
    weight = jax.lax.stop_gradient((error + 1e-3) ** -power)
    return weight * error, {"squared_error": error / x0[0].size}


def teacher_pairs(
    teacher: Any,
    key: Key,
    num: int,
    context: Array | None = None,
    sampler: Sampler | None = None,
) -> tuple[Array, Array]:
    """Draws of the teacher's base, and where its ODE leads from there: data and noise `[num, ...]`.

    Args:
      teacher: a denoiser: `to_data(key, x, context)`, `base_at_end()`, `path` and `ends`.
      num: of pairs.
      context: classes `[num]`, where the teacher has them.
      sampler: of the teacher; its own if None.
    """
    noise_key, teacher_key = jax.random.split(key)
    x_1 = teacher.base_at_end().sample(seed=noise_key, sample_shape=(num,))
    data = teacher.to_data(teacher_key, x_1, context, sampler=sampler)
    data = jax.lax.stop_gradient(data)
    # The eps whose path leads from the data to x_1, where a process keeps some signal, too.
    signal, scale = teacher.path.coefficients(jnp.asarray(teacher.ends[1]))
    return data, (x_1 - signal * data) / scale


def reflow(
    model,
    batch: Batch,
    key: Key,
    *,
    teacher: Any = None,
    sampler: Sampler | None = None,
    times: TimesName = "uniform",
) -> tuple[Array, Metrics]:
    """Flow matching of pairs that the teacher's ODE makes: its base, and where it leads from there.

    The paths of such pairs do not cross, so that those of the student are nearly straight, and few
    steps follow them. With `times="end"` the student learns the whole step from the noise to the
    data alone, for one call.

    Args:
      model: a denoiser on the process and of the base of the teacher.
      batch: pairs `x` and `noise` made before (`teacher_pairs`); or the number of pairs to make,
        and the classes where the model has them.
      teacher: a denoiser, see `teacher_pairs`, where the batch has no `noise`.
      sampler: of the teacher; its own if None.
      times: see `denoising`.

    Returns:
      loss `[B]`; metric `squared_error` `[B]`.

    Sources: Liu, Gong & Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with
    Rectified Flow", 2023, section 2, https://arxiv.org/abs/2209.03003; the whole step: Luhman &
    Luhman, "Knowledge Distillation in Iterative Generative Models for Improved Sampling Speed",
    2021, https://arxiv.org/abs/2101.02388.
    """
    check_batch(batch)
    if "noise" in batch:
        data, noise = as_float(batch["x"]), batch["noise"]
        rule = f"must have the shape of `x`, {data.shape}"
        require(noise.shape == data.shape, "noise", rule, noise.shape)
    else:
        require(teacher is not None, "teacher", "must be given where a batch has no `noise`", None)
        pair_key, key = jax.random.split(key)
        num = batch["x"].shape[0]
        data, noise = teacher_pairs(teacher, pair_key, num, classes(model, batch), sampler)
    pairs = {**batch, "x": data}
    return flow_matching(model, pairs, key, times=times, coupling=lambda *_: noise)


def _sum(values: Array) -> Array:
    return values.reshape(len(values), -1).sum(1)
