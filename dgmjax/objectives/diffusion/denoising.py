"""Regression on noisy data: DDPM, flow matching and score matching as rows of one loss."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import check_batch, original_units
from dgmjax.errors import DataError, require, require_sizes
from dgmjax.noising.conversions import Kind, Parts, from_parts
from dgmjax.noising.couplings import Coupling, coupling_of
from dgmjax.noising.gaussian import GaussianProcess
from dgmjax.noising.times import even_times
from dgmjax.types import Array, Batch, Key, Metrics

TimesName = Literal["uniform", "log_snr", "logit_normal", "edm", "end"]
Draw = Callable[[GaussianProcess, Array, tuple[float, float]], Array]


def _uniform(process: GaussianProcess, u: Array, ends: tuple[float, float]) -> Array:
    return ends[0] + (ends[1] - ends[0]) * u


def _uniform_log_snr(process: GaussianProcess, u: Array, ends: tuple[float, float]) -> Array:
    high, low = (process.log_snr(end) for end in process.bounded_span)
    return process.time_of(high + (low - high) * u)


def _logit_normal(process: GaussianProcess, u: Array, ends: tuple[float, float]) -> Array:
    return _uniform(process, jax.nn.sigmoid(_normal(u)), ends)


def _edm(process: GaussianProcess, u: Array, ends: tuple[float, float]) -> Array:
    # log s ~ N(-1.2, 1.2^2) for the scale s = noise / signal; log_snr = -2 log s.
    return process.time_of(-2.0 * (-1.2 + 1.2 * _normal(u)))


def _normal(u: Array) -> Array:
    return jax.scipy.special.ndtri(jnp.clip(u, 1e-6, 1.0 - 1e-6))


TIMES: dict[str, Draw] = {
    "uniform": _uniform,
    "log_snr": _uniform_log_snr,
    "logit_normal": _logit_normal,
    "edm": _edm,
    "end": lambda path, u, ends: jnp.full_like(u, ends[1]),
}
"""How times are drawn, from uniform numbers; "end" is where samples begin, at all times.

Sources: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis",
2024, section 3.1 (logit-normal), https://arxiv.org/abs/2403.03206; Karras, Aittala, Aila & Laine,
"Elucidating the Design Space of Diffusion-Based Generative Models", 2022, Table 1 (EDM),
https://arxiv.org/abs/2206.00364.
"""

WeightName = Literal["uniform", "variance", "likelihood", "min_snr", "edm"]
WEIGHTS: dict[str, Callable[[Any, Array], Array]] = {
    "uniform": lambda model, t: jnp.ones_like(t),
    "variance": lambda model, t: model.path.coefficients(t)[1] ** 2,
    "likelihood": lambda model, t: -0.5 * model.path.log_snr_and_rate(t)[1],
    "min_snr": lambda model, t: jnp.minimum(5.0 * jnp.exp(-model.path.log_snr(t)), 1.0),
    "edm": lambda model, t: model.preconditioning.weight(jnp.exp(-model.path.log_snr(t) / 2)),
}
"""Weights of the squared error at a time: of the score by the variance of the noise (the error of
the noise), of the noise as in the likelihood, of the noise with that of the data bounded, of the
data as the preconditioned network sees it.

Sources: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole, "Score-Based Generative Modeling
through Stochastic Differential Equations", 2021, Eq. 7, https://arxiv.org/abs/2011.13456; Song,
Durkan, Murray & Ermon, "Maximum Likelihood Training of Score-Based Diffusion Models", 2021,
https://arxiv.org/abs/2101.09258; Hang et al., "Efficient Diffusion Training via Min-SNR Weighting
Strategy", 2023, https://arxiv.org/abs/2303.09556.
"""


def denoising(
    model,
    batch: Batch,
    key: Key,
    *,
    of: Kind | None = None,
    weight: WeightName = "uniform",
    times: TimesName = "uniform",
    coupling: Coupling | str = "independent",
) -> tuple[Array, Metrics]:
    """w(t) |target - prediction(x_t, t)|^2 / D at one time t for each example.

    x_t = signal(t) x + noise(t) eps, with draws of the model's base at the end where no signal is
    left, and the target is what x and eps make of `of`: eps itself, x, the velocity signal' x +
    noise' eps, or the score -eps / noise. Its minimum over all functions is the expectation of the
    target given x_t, for every weight.

    Args:
      model: a denoiser: `predict(x, t, context, kind)`, `path`, `ends`, `base_at_end()`.
      batch: `x`, and `label` (or `context`) where the model has classes.
      of: what is compared; the model's own prediction if None.
      weight: a name in `WEIGHTS`.
      times: a name in `TIMES`.
      coupling: of the examples with the noise of the batch; a name in `noising.COUPLINGS`, or a
        function.

    Returns:
      loss `[B]`; metric `squared_error` `[B]`, without the weight.
    """
    check_batch(batch)
    for name, value, rows in (("weight", weight, WEIGHTS), ("times", times, TIMES)):
        require(value in rows, name, f"must be one of {sorted(rows)}", repr(value))
    x0 = as_float(batch["x"])
    time_key, noise_key, pair_key = jax.random.split(key, 3)
    t = TIMES[times](model.path, even_times(time_key, x0.shape[:1]), model.ends).astype(x0.dtype)
    pairing = coupling_of(coupling) if isinstance(coupling, str) else coupling
    noise = pairing(pair_key, x0, noise_of_base(model, noise_key, x0))
    kind = model.predicts if of is None else of
    at = model.path.at(t).like(x0)
    target = from_parts(kind, Parts(x0, noise), at)
    x = at.signal * x0 + at.noise * noise
    found = model.predict(x, t, classes(model, batch), kind=kind)
    error = ((found - target) ** 2).reshape(len(x0), -1).mean(1)
    return WEIGHTS[weight](model, t) * error, {"squared_error": error}


def noise_of_base(model: Any, key: Key, x0: Array) -> Array:
    """eps for each example: draws of the model's base, N(0, I) where it has none of its own.

    The base is the distribution at the end, where eps counts `noise` times: paths lead to where
    samples begin.
    """
    if model.base is None:
        return jax.random.normal(key, x0.shape, x0.dtype)
    drawn = model.base_at_end().sample(seed=key, sample_shape=x0.shape[:1])
    scale = model.path.coefficients(jnp.asarray(model.ends[1], jnp.result_type(float)))[1]
    return drawn / scale.astype(drawn.dtype)


def classes(model: Any, batch: Batch) -> Array | None:
    """The context of a batch: its `context`, or its `label` where the model has classes.

    Raises:
      DataError: the batch has neither, and the model has classes.
    """
    if not model.num_classes:
        return None
    if "context" in batch:
        return batch["context"]
    rule, remedy = "must hold `label`, or `context`", "Or use a model without `num_classes`."
    require("label" in batch, "batch", rule, sorted(batch), remedy, DataError)
    return batch["label"]


ddpm = partial(denoising, of="noise")
"""The simple loss |eps - eps^(x_t, t)|^2 of DDPM.

Source: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, Eq. 14,
https://arxiv.org/abs/2006.11239.
"""

flow_matching = partial(denoising, of="velocity")
"""Conditional flow matching, |signal' x + noise' eps - v(x_t, t)|^2, with any coupling.

Sources: Lipman, Chen, Ben-Hamu, Nickel & Le, "Flow Matching for Generative Modeling", 2023, Eq. 9,
https://arxiv.org/abs/2210.02747; Tong et al., "Improving and Generalizing Flow-Based Generative
Models with Minibatch Optimal Transport", 2024, https://arxiv.org/abs/2302.00482.
"""


def diffusion_bound(
    model, batch: Batch, key: Key, *, num_samples: int = 1, **options: Any
) -> tuple[Array, Metrics]:
    """prior + diffusion + reconstruction >= -log p(x), in nats of the raw data; see the model.

    Args:
      model: with `bound_terms(x, key, context, **options)`, such as `models.Denoiser` and
        `models.DiffusedLevels`.
      num_samples: draws that are averaged.
      options: of `bound_terms`, such as `num_steps`.

    Returns:
      loss `[B]`; metrics `prior`, `diffusion`, `reconstruction` (that of the raw data) and
      `diffusion_square`, `[B]`.
    """
    check_batch(batch)
    require_sizes(num_samples=num_samples)
    draw = lambda key: model.bound_terms(batch["x"], key, classes(model, batch), **options)
    if num_samples == 1:
        prior, diffusion, reconstruction = draw(key)
        square = diffusion**2
    else:
        drawn = jax.lax.map(draw, jax.random.split(key, num_samples))
        prior, diffusion, reconstruction = jax.tree.map(lambda a: a.mean(0), tuple(drawn))
        square = (drawn.diffusion**2).mean(0)
    reconstruction = reconstruction - original_units(batch)
    metrics = {"prior": prior, "diffusion": diffusion, "reconstruction": reconstruction}
    return sum(metrics.values()), {**metrics, "diffusion_square": square}


def diffusion_bound_variance(
    model, batch: Batch, key: Key, **options: Any
) -> tuple[Array, Metrics]:
    """The squared diffusion term, per squared dimension: what the interior of a schedule minimises.

    The bound of continuous time does not depend on the schedule between its ends, so that its mean
    square differs from its variance by a constant. For a player of those parameters alone.

    Source: Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, appendix I.2,
    https://arxiv.org/abs/2107.00630.
    """
    _, metrics = diffusion_bound(model, batch, key, **options)
    dims = batch["x"][0].size
    return metrics["diffusion_square"] / dims**2, {}
