"""Discrete processes: values that are replaced by noise over time, site by site."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require, require_sizes
from dgmjax.noising.gaussian import (
    aligned,
    as_times,
    check_time_shape,
    check_times,
    quarter_cosine,
)
from dgmjax.noising.times import spread_times
from dgmjax.types import Array, Key

Replacement = Literal["absorbing", "uniform"]

KEPT: dict[str, Callable[[Array], Array]] = {
    "linear": lambda t: 1.0 - t,
    "cosine": quarter_cosine,
}
"""The share of values that are still those of the data at time t, by name: from 1 to 0."""

_CHECKED = 65
"""Times at which a share is checked to fall."""

_LEAST = 1e-6
"""A share that stands for 0 where it is divided by."""


@dataclass(frozen=True)
class DiscreteProcess:
    """q(x_t | x_0) = kept(t) [x_t = x_0] + (1 - kept(t)) pi(x_t), for each site by itself.

    Time runs from the data (0) to noise (1). A value is replaced once or more by a draw of pi:
    a mask that no data hold and that stays ("absorbing"), or any value ("uniform"). States are
    0 .. levels - 1, and `levels` for the mask.

    Attributes:
      levels: K, values of the data.
      replacement: what pi is.
      kept: the share that is kept at time t, differentiable and falling from 1 to 0: a name in
        `KEPT`, or a hashable function.

    Raises:
      DgmjaxError: `kept` does not fall from 1 to 0; times that are not in [0, 1].

    Sources: Austin, Johnson, Ho, Tarlow & van den Berg, "Structured Denoising Diffusion Models in
    Discrete State-Spaces", 2021, https://arxiv.org/abs/2107.03006; continuous time: Sahoo et al.,
    "Simple and Effective Masked Diffusion Language Models", 2024,
    https://arxiv.org/abs/2406.07524.

    >>> process = DiscreteProcess(2)
    >>> process.marginal(jnp.array([0, 1]), jnp.array(0.25)).distribution.probs.tolist()
    [[0.75, 0.0, 0.25], [0.0, 0.75, 0.25]]
    """

    levels: int
    replacement: Replacement = "absorbing"
    kept: str | Callable[[Array], Array] = "linear"

    def __post_init__(self) -> None:
        require_sizes(levels=self.levels)
        kinds = get_args(Replacement)
        require(
            self.replacement in kinds, "replacement", f"must be in {kinds}", repr(self.replacement)
        )
        known = callable(self.kept) or self.kept in KEPT
        require(known, "kept", f"must be a function or in {sorted(KEPT)}", repr(self.kept))
        with jax.ensure_compile_time_eval():
            values = np.asarray(self.share(jnp.linspace(0.0, 1.0, _CHECKED)))
        ends = abs(values[0] - 1.0) < 1e-5 and abs(values[-1]) < 1e-5
        falls = bool(ends and (np.diff(values) < 0).all())
        rule = "must fall from 1 at time 0 to 0 at time 1"
        require(falls, "kept", rule, values[:: _CHECKED // 4].tolist())

    @property
    def absorbs(self) -> bool:
        """Whether noise is a mask."""
        return self.replacement == "absorbing"

    @property
    def num_states(self) -> int:
        """Values of x_t: those of the data, and the mask where there is one."""
        return self.levels + self.absorbs

    @property
    def pi(self) -> np.ndarray:
        """The distribution of noise, `[states]`."""
        if self.absorbs:
            return np.eye(self.num_states, dtype=np.float32)[self.levels]
        return np.full(self.levels, 1.0 / self.levels, np.float32)

    def share(self, t: Array) -> Array:
        """kept(t), without a check of the times."""
        kept = KEPT[self.kept] if isinstance(self.kept, str) else self.kept
        return kept(t)

    def share_and_rate(self, t: Array) -> tuple[Array, Array]:
        """kept(t) and -kept'(t)."""
        t = as_times(t)
        share, slope = jax.jvp(self.share, (t,), (jnp.ones_like(t),))
        return share, -slope

    def time_of(self, share: Array) -> Array:
        """The time at which a share in [0, 1] is kept, by bisection."""

        def body(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            early = self.share(middle) > share
            return jnp.where(early, middle, low), jnp.where(early, high, middle)

        ends = jnp.zeros_like(share), jnp.ones_like(share)
        low, high = jax.lax.fori_loop(0, 26, body, ends)
        return (low + high) / 2

    def as_probabilities(self, x0: Array) -> Array:
        """`[..., states]` of values `x0[...]`, as one-hot vectors."""
        return jax.nn.one_hot(x0.astype(jnp.int32), self.num_states)

    def padded(self, p0: Array) -> Array:
        """Probabilities of data `[..., levels]` as those of states: 0 for the mask."""
        return jnp.pad(p0, [(0, 0)] * (p0.ndim - 1) + [(0, self.num_states - self.levels)])

    def probabilities(self, p0: Array, t: Array) -> Array:
        """q(x_t) `[*batch, *event, states]` where x_0 has probabilities of that shape."""
        return self._mixed(p0, self.share(as_times(t)))

    def _mixed(self, p0: Array, share: Array) -> Array:
        share = aligned(share, p0)
        return share * p0 + (1.0 - share) * self.pi

    def marginal(self, x0: Array, t: Array) -> distrax.Distribution:
        """q(x_t | x_0) of whole numbers `x0[*batch, *event]` at `t[*batch]`."""
        check_times(t)
        check_time_shape(t, x0)
        if not isinstance(x0, jax.core.Tracer):
            wrong = np.asarray(x0)[~np.isin(x0, np.arange(self.levels))]
            rule = f"must be whole numbers in 0 .. {self.levels - 1}"
            require(wrong.size == 0, "x0", rule, wrong.ravel()[:3].tolist())
        return _independent(self.probabilities(self.as_probabilities(x0), t), t)

    def posterior(self, x_t: Array, p0: Array, s: Array, t: Array) -> distrax.Distribution:
        """q(x_s | x_t, x_0) at s < t, of one-hot x_0; of other p(x_0), the reverse step of D3PM.

        Proportional to q(x_t | x_s) q(x_s), with q(x_s) from `p0[*batch, *event, states]`.
        """
        for name, times in (("s", s), ("t", t)):
            check_times(times)
            check_time_shape(times, x_t, name)
        self._check_probabilities(p0, x_t)
        if not isinstance(s, jax.core.Tracer) and not isinstance(t, jax.core.Tracer):
            backwards = bool((np.asarray(s) <= np.asarray(t)).all())
            require(backwards, "s", "must be at most `t`: time runs from data to noise", (s, t))
        early = self.probabilities(p0, s)
        share = aligned(self.share(as_times(t)) / self.share(as_times(s)), p0)
        own = self.as_probabilities(x_t)
        # q(x_t | x_s) as a function of x_s: it stayed what it is, or was replaced by x_t.
        step = share * own + (1.0 - share) * (own @ self.pi)[..., None]
        joint = step * early
        total = joint.sum(-1, keepdims=True)
        # A state that cannot be (of data, when all is masked) stays what it is.
        return _independent(jnp.where(total > 0.0, joint / _no_zero(total), own), t)

    def divergence_rate(self, x0: Array, x_t: Array, p0: Array, t: Array) -> Array:
        """d/dt KL(q(x_{t - dt} | x_t, x_0) | p(x_{t - dt} | x_t)) of each site, `[*batch, *event]`.

        Its integral over time, in expectation over x_t, is -log p(x_0) at most in nats. Jumps back
        from x_t to y have rates r_y = -kept' / kept pi(x_t) q_t(y) / q_t(x_t), with q_t from x_0
        and from the predicted probabilities `p0[..., states]`; the rate is that of two Poisson
        processes, sum_y r_y (log r_y / r'_y) - r_y + r'_y.

        Sources: Campbell et al., "A Continuous Time Framework for Discrete Denoising Models", 2022,
        https://arxiv.org/abs/2205.14987; Lou, Meng & Ermon, "Discrete Diffusion Modeling by
        Estimating the Ratios of the Data Distribution", 2024, https://arxiv.org/abs/2310.16834.
        """
        check_time_shape(t, x_t)
        self._check_probabilities(p0, x_t)
        share, slope = self.share_and_rate(t)
        # At t = 1 nothing is kept, and what is divided by the share vanishes as fast as it does.
        share = jnp.maximum(share, _LEAST)
        own = self.as_probabilities(x_t)

        def ratios(p0: Array) -> Array:
            at = self._mixed(p0, share)
            here = (own * at).sum(-1, keepdims=True)
            # Where x_t is not noise nothing jumps, and the ratio, which may be 0 / 0, is not read.
            return jnp.where(own @ self.pi > 0.0, 1.0, 0.0)[..., None] * at / _no_zero(here)

        true, model = ratios(self.as_probabilities(x0)), ratios(p0)
        possible = (true > 0.0) & (own == 0.0)
        # Of nearly equal rates, as they are near t = 1, the logarithm of the ratio is taken by
        # their difference: what remains of r log(r / r') - r + r' is of second order.
        safe, known = _no_zero(model), jnp.where(possible, true, 1.0)
        excess = (known - safe) / safe
        close = jnp.abs(excess) < 0.5
        log_ratio = jnp.where(
            close, jnp.log1p(jnp.where(close, excess, 0.0)), jnp.log(known) - jnp.log(safe)
        )
        near = known * log_ratio - (known - safe)
        never = possible & (model == 0.0)  # a jump that the model holds impossible
        terms = jnp.where(possible, jnp.where(never, jnp.inf, near), model - true)
        rate = aligned(slope / share, x_t) * (own @ self.pi)
        return rate * ((1.0 - own) * terms).sum(-1)

    def _check_probabilities(self, p0: Array, x_t: Array) -> None:
        shape = (*x_t.shape, self.num_states)
        rule = f"must have the shape {shape}: that of x_t, and an axis of states"
        require(p0.shape == shape, "p0", rule, p0.shape, "`padded` adds the mask's probability, 0.")

    def hide(self, key: Key, x0: Array, event_ndims: int) -> tuple[Array, Array, Array]:
        """x_t with k of D sites masked, k uniform on 1 .. D; its time; and the weight D / k.

        With absorbing noise, E[D / k sum_masked -log p(x_i | x_t)] is the bound in continuous time
        of a network that reads the time, and the mean over the orders of the sites of -log p(x)
        for one that does not. Its variance is lower than at a uniform time, where the weight is
        1 / t. The k of a batch are spread evenly (each by itself is uniform).

        Sources: Hoogeboom et al., "Autoregressive Diffusion Models", 2022, Eq. 5,
        https://arxiv.org/abs/2110.02037; Kingma et al., "Variational Diffusion Models", 2021,
        appendix I.1 (evenly spread times), https://arxiv.org/abs/2107.00630.
        """
        require(self.absorbs, "replacement", 'must be "absorbing"', repr(self.replacement))
        batch = x0.shape[: x0.ndim - event_ndims]
        sites = math.prod(x0.shape[x0.ndim - event_ndims :])
        order_key, count_key = jax.random.split(key)
        # A site is masked when 1 - kept(t) exceeds its uniform number; k are at the time of the
        # k-th smallest.
        levels = jax.random.uniform(order_key, (*batch, sites))
        count = jnp.floor(sites * spread_times(count_key, batch)).astype(jnp.int32)
        last = jnp.take_along_axis(jnp.sort(levels, -1), count[..., None], -1)
        hidden = (levels <= last).reshape(x0.shape)
        x_t = jnp.where(hidden, self.levels, x0.astype(jnp.int32))
        return x_t, self.time_of(1.0 - last[..., 0]), sites / (count + 1.0)


def _no_zero(x: Array) -> Array:
    return jnp.where(x > 0.0, x, 1.0)


def _independent(probs: Array, t: Array) -> distrax.Distribution:
    return distrax.Independent(distrax.Categorical(probs=probs), probs.ndim - 1 - jnp.ndim(t))
