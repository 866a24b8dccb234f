"""Samples chosen by a critic: calibration to a density ratio, rejection, and Metropolis-Hastings.

A critic that was trained to tell data from samples of q knows log p / q up to a monotone map, which
calibration finds on data and samples that training did not see. Everything here takes arrays and
callables.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import DataError, require, require_sizes
from dgmjax.inference.hamiltonian import Info
from dgmjax.inference.kernels import Kernel
from dgmjax.inference.rejection import Rejected, rejection_sample
from dgmjax.types import Array, ArrayLike, Key, PyTree

LogRatio = Callable[[Array], Array]


def calibrate(
    on_data: ArrayLike,
    on_samples: ArrayLike,
    method: Literal["logistic", "isotonic"] = "logistic",
) -> LogRatio:
    """An increasing map of a critic's value v to log p(data) / q(samples), in nats.

    It is log P(data | v) / P(sample | v) of a classifier fitted to the values, less
    log N_data / N_samples.

    Args:
      on_data: `[N]`, values on data that the critic was not trained on.
      on_samples: `[M]`, values on samples.
      method: "logistic" fits a v + b by maximum likelihood (Platt scaling); "isotonic" any
        increasing function, linear between the values and constant outside, whose probabilities
        stay half an observation away from 0 and 1.

    Returns:
      a callable that is a pytree: it goes into compiled functions as an argument.

    Raises:
      DataError: fewer than two values of a kind, NaN; "logistic" of values that a threshold
        separates, whose slope would be infinite, or of a critic that prefers samples.

    Sources: Niculescu-Mizil & Caruana, "Predicting Good Probabilities With Supervised Learning",
    2005, sections 2 and 3, https://doi.org/10.1145/1102351.1102430; Turner, Hung, Frank, Saatci &
    Yosinski, "Metropolis-Hastings Generative Adversarial Networks", 2019, section 3.3,
    https://arxiv.org/abs/1811.11357.

    >>> ratio = calibrate([-1.0, 1.0, 2.0, 3.0], [-2.0, -1.0, 0.0, 2.0], "isotonic")
    >>> [round(float(r), 2) for r in ratio(jnp.array([-2.0, 0.0, 3.0]))]
    [-2.71, -0.69, 2.71]
    """
    known = method in ("logistic", "isotonic")
    require(known, "method", "must be 'logistic' or 'isotonic'", repr(method))
    data, samples = _values("on_data", on_data), _values("on_samples", on_samples)
    v = np.concatenate([data, samples])
    is_data = np.repeat([1.0, 0.0], [len(data), len(samples)])
    prior = float(np.log(len(data) / len(samples)))
    if method == "isotonic":
        return _isotonic(v, is_data, prior)
    apart = data.min() >= samples.max() or data.max() <= samples.min()
    remedy = "Take more values, or calibrate with 'isotonic'."
    require(not apart, "on_data", "must overlap `on_samples`", "no overlap", remedy, DataError)
    slope, intercept = _logistic(v, is_data)
    rule = "must rise above `on_samples`, as the values of a critic do"
    remedy = "Train the critic, or calibrate with 'isotonic'."
    require(slope >= 0.0, "on_data", rule, f"a slope of {slope:g}", remedy, DataError)
    return jax.tree_util.Partial(_linear, jnp.float32(slope), jnp.float32(intercept - prior))


def _values(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, np.float64)
    enough = array.ndim == 1 and len(array) >= 2
    require(enough, name, "must be [N] with N at least 2", array.shape, "", DataError)
    require(
        bool(np.isfinite(array).all()), name, "must be finite", "NaN or infinity", "", DataError
    )
    return array


def _linear(slope: Array, intercept: Array, v: Array) -> Array:
    return slope * v + intercept


def _logistic(v: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of y on v, by damped Newton steps."""
    middle, spread = v.mean(), v.std() or 1.0
    x = np.stack([(v - middle) / spread, np.ones(len(v))], 1)
    loss = lambda w: np.logaddexp(0.0, -(2.0 * y - 1.0) * (x @ w)).sum()
    w = np.zeros(2)
    for _ in range(100):
        p = 0.5 * (1.0 + np.tanh(0.5 * (x @ w)))
        gradient = x.T @ (p - y)
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-12:
            step = 0.5 * step
        w = w - step
        if np.abs(step).max() < 1e-10:
            break
    return w[0] / spread, w[1] - w[0] * middle / spread


def _isotonic(v: np.ndarray, y: np.ndarray, prior: float) -> LogRatio:
    from scipy.optimize import isotonic_regression

    knots, where, weights = np.unique(v, return_inverse=True, return_counts=True)
    means = np.bincount(where, y) / weights
    margin = 0.5 / len(v)
    p = np.clip(isotonic_regression(means, weights=weights).x, margin, 1.0 - margin)
    # Within a block of equal values only its ends matter.
    inner = np.zeros(len(p), bool)
    inner[1:-1] = (p[1:-1] == p[:-2]) & (p[1:-1] == p[2:])
    kept = np.stack([knots, np.log(p) - np.log1p(-p) - prior])[:, ~inner]
    return jax.tree_util.Partial(_interpolated, *jnp.asarray(kept, jnp.float32))


def _interpolated(knots: Array, heights: Array, v: Array) -> Array:
    return jnp.interp(v, knots, heights)


class Threshold(NamedTuple):
    """What a rejection needs to know of the ratios of samples.

    Attributes:
      log_bound: log M, the largest log p / q.
      shift: gamma, in nats: above 0 fewer samples are accepted, below 0 more.
    """

    log_bound: Array
    shift: Array


def threshold_of(log_ratios: ArrayLike, percentile: float | None = None) -> Threshold:
    """The bound, and the shift, of log-ratios of samples `[N]`.

    Args:
      percentile: of samples that are accepted with a probability below one half, such as 80 where
        the exact rejection (None: a shift of 0) would take too long.
    """
    ratios = _values("log_ratios", log_ratios)
    log_bound = ratios.max()
    if percentile is None:
        return Threshold(jnp.float32(log_bound), jnp.float32(0.0))
    inside = 0.0 <= percentile <= 100.0
    require(inside, "percentile", "must be in [0, 100]", percentile)
    below = np.minimum(ratios - log_bound, -1e-6)
    shift = np.percentile(below - np.log(-np.expm1(below)), percentile)
    return Threshold(jnp.float32(log_bound), jnp.float32(shift))


def log_acceptance(log_ratio: Array, threshold: Threshold) -> Array:
    """log a of samples with these ratios: a = sigmoid(logit(r) - shift), r = p / (q M).

    Without a shift a = r, and accepted samples follow p: 1 / M of all are accepted.

    Source: Azadi, Olsson, Darrell, Goodfellow & Odena, "Discriminator Rejection Sampling", 2019,
    Eq. 8, https://arxiv.org/abs/1810.06758. Their epsilon is not needed here.

    >>> threshold = Threshold(jnp.log(4.0), jnp.array(0.0))
    >>> jnp.exp(log_acceptance(jnp.log(jnp.array([1.0, 4.0])), threshold)).tolist()
    [0.25, 1.0]
    """
    r = jnp.minimum(log_ratio - threshold.log_bound, 0.0)
    # a = r e^-g / (1 - r + r e^-g)
    rest = jnp.log(-jnp.expm1(jnp.where(r < 0.0, r, -1.0)))
    shifted = r - threshold.shift
    return jnp.where(r < 0.0, shifted - jnp.logaddexp(rest, shifted), 0.0)


def discriminator_rejection(
    key: Key,
    propose: Callable[[Key, int], PyTree],
    log_ratio: Callable[[PyTree], Array],
    num_samples: int,
    threshold: Threshold,
    max_tries: int = 10_000,
) -> Rejected:
    """Samples of q that a calibrated critic accepts, see `log_acceptance`.

    Args:
      propose: a key and a count to samples of q `[count, ...]`.
      log_ratio: samples to log p / q, `[count]`: a calibration of a critic's values.
      threshold: see `threshold_of`; ratios above its bound count as the bound.
    """
    accept = lambda x: log_acceptance(_ratios(log_ratio, x), threshold)
    return rejection_sample(key, propose, accept, num_samples, max_tries)


def _ratios(log_ratio: Callable[[PyTree], Array], x: PyTree) -> Array:
    """log p / q of samples, `[count]`: those of a critic that returns `[count, 1]` would mix."""
    ratios, count = log_ratio(x), jax.tree.leaves(x)[0].shape[0]
    rule = f"must return one number for each sample, [{count}]"
    require(jnp.shape(ratios) == (count,), "log_ratio", rule, f"shape {jnp.shape(ratios)}")
    return ratios


class Proposed(NamedTuple):
    """Chains at rest: positions `[N, ...]`, and log p / q there, `[N]`."""

    position: PyTree
    log_ratio: Array


def independence(
    propose: Callable[[Key, int], PyTree], log_ratio: Callable[[PyTree], Array]
) -> Kernel:
    """Metropolis-Hastings whose proposals are samples of q, whatever the position.

    A proposal x' is accepted with min(1, (p(x') / q(x')) / (p(x) / q(x))): p is invariant. The
    kernel is one of `run`; positions have one axis of chains, `[N, ...]`. One that is proposed at a
    ratio that is not finite is refused and counted in `Info.divergent`.

    Source: Turner, Hung, Frank, Saatci & Yosinski, "Metropolis-Hastings Generative Adversarial
    Networks", 2019, Eq. 5, https://arxiv.org/abs/1811.11357.
    """

    def init(position: PyTree) -> Proposed:
        return Proposed(position, _ratios(log_ratio, position))

    def step(key: Key, state: Proposed) -> tuple[Proposed, Info]:
        propose_key, accept_key = jax.random.split(key)
        num = len(state.log_ratio)
        proposal = init(propose(propose_key, num))
        finite = proposal.log_ratio < jnp.inf
        gain = jnp.where(finite, proposal.log_ratio - state.log_ratio, -jnp.inf)
        # From a place that q never reaches any proposal is better.
        gain = jnp.where(finite & (state.log_ratio == -jnp.inf), 0.0, gain)
        accepted = jnp.log(jax.random.uniform(accept_key, (num,))) < gain
        keep = lambda new, old: jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
        info = Info(jnp.exp(jnp.minimum(gain, 0.0)), accepted, ~finite)
        return jax.tree.map(keep, proposal, state), info

    return Kernel(init, step)


class Walked(NamedTuple):
    """Ends of chains.

    Attributes:
      value: `[N, ...]` each leaf.
      accepted: `[N]`, the share of proposals that each chain took.
    """

    value: PyTree
    accepted: Array


def metropolis_hastings_gan(
    key: Key,
    propose: Callable[[Key, int], PyTree],
    log_ratio: Callable[[PyTree], Array],
    num_samples: int,
    num_steps: int = 640,
    start: PyTree | None = None,
) -> Walked:
    """The ends of `num_samples` independent chains of `independence`.

    Args:
      num_steps: proposals of each chain; 640 as in the paper's experiments on images.
      start: `[num_samples, ...]` each leaf: data, to start near p; samples of q if None. A chain
        that never moves returns its start, which `accepted` tells.
    """
    require_sizes(num_samples=num_samples, num_steps=num_steps)
    start_key, key = jax.random.split(key)
    kernel = independence(propose, log_ratio)
    state = kernel.init(propose(start_key, num_samples) if start is None else start)

    def body(step, carry):
        state, accepted = carry
        state, info = kernel.step(jax.random.fold_in(key, step), state)
        return state, accepted + info.accepted

    none = jnp.zeros((num_samples,), jnp.float32)
    state, accepted = jax.lax.fori_loop(0, num_steps, body, (state, none))
    return Walked(state.position, accepted / num_steps)
