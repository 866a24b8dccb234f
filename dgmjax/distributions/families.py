"""Families: unconstrained parameters `[..., num_params]` in, a distribution out.

A family is a frozen, hashable dataclass with two members, so that it can be a static field of a
network: `num_params` (unconstrained numbers per site) and `__call__(params)`, which also takes the
temperature of a sampler: logits are divided by it, scales multiplied. It also states the shape of
one site of the data (`event_ndims`, `site_shape`) and the values that it covers (`values`,
checked where data enter). Parameters of lower precision are promoted to float32.

A family may also split a draw into noise that does not depend on the parameters and the value that
it becomes (`SplitsDraws`): samplers then draw the noise of many sites at once, which on a CPU takes
a fraction of the time of drawing it site by site.

>>> import jax.numpy as jnp
>>> MixtureOfNormals(3)(jnp.zeros((5, 9))).batch_shape
(5,)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.bernoulli import Bernoulli as BernoulliDistribution, softplus
from dgmjax.distributions.categorical import Categorical as CategoricalDistribution
from dgmjax.distributions.logistic_mixture import (
    DiscretisedLogisticMixture as LogisticMixtureDistribution,
)
from dgmjax.distributions.one_hot import OneHotCategorical as OneHotCategoricalDistribution
from dgmjax.distributions.poisson import Poisson as PoissonDistribution
from dgmjax.distributions.student_t import StudentT as StudentTDistribution
from dgmjax.errors import require
from dgmjax.types import Array, Key, PyTree

Values = Literal["binary", "levels", "real", "count"]


class Family(Protocol):
    """The protocol of families. Parameters are not checked to be finite."""

    @property
    def num_params(self) -> int:
        """Number of unconstrained parameters of a site."""
        ...

    @property
    def event_ndims(self) -> int:
        """Trailing axes of the data that one site covers: 0, or 1 for a vector of channels."""
        ...

    @property
    def site_shape(self) -> tuple[int, ...]:
        """Shape of one site of the data: () or `(channels,)`."""
        ...

    @property
    def values(self) -> Values:
        """The values of the data; "levels" means the integers 0 .. levels - 1."""
        ...

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> distrax.Distribution:
        """The distribution whose batch shape is `params.shape[:-1]`.

        Below a `temperature` of 1 it is sharper: logits are divided by it, and scales multiplied.
        """
        ...

    def marginal(self, x: Array) -> Array:
        """Parameters `[*sites, num_params]` that fit `x[N, *sites]`, sites independent.

        Networks start from them: where a site's inputs are constant (the border of an image),
        only a bias can learn its rate, and a bias moves slowly.
        """
        ...


@runtime_checkable
class SplitsDraws(Protocol):
    """A family whose draws are a function of their parameters and of noise."""

    def noise(self, key: Key, shape: tuple[int, ...]) -> PyTree:
        """The noise of a batch of draws, which does not depend on the parameters."""
        ...

    def from_noise(self, conditional: Any, noise: PyTree) -> Array:
        """A draw from `conditional`, the result of the family's `__call__`."""
        ...


def site_noise(family: Any, key: Key, shape: tuple[int, ...]) -> PyTree:
    """The noise of a batch of draws; the key itself for a family that does not split them."""
    return family.noise(key, shape) if isinstance(family, SplitsDraws) else key


def drawn(family: Any, conditional: Any, noise: PyTree) -> Array:
    """The draw of a conditional that `site_noise` becomes.

    >>> family, key = Bernoulli(), jax.random.key(0)
    >>> drawn(family, family(jnp.full((4, 1), 50.0)), site_noise(family, key, (4,))).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if isinstance(family, SplitsDraws):
        return family.from_noise(conditional, noise)
    return conditional.sample(seed=noise)


@dataclass(frozen=True)
class Bernoulli:
    """{0, 1} with one logit per site."""

    num_params: int = 1
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "binary"

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> BernoulliDistribution:
        return BernoulliDistribution(as_float(params)[..., 0] / temperature)

    def noise(self, key: Key, shape: tuple[int, ...]) -> Array:
        return jax.random.uniform(key, shape)

    def from_noise(self, conditional: BernoulliDistribution, noise: Array) -> Array:
        return (noise < conditional.probs).astype(jnp.float32)

    def marginal(self, x: Array) -> Array:
        ones = x.sum(0)
        return (jnp.log(ones + 0.5) - jnp.log(x.shape[0] - ones + 0.5))[..., None]


@dataclass(frozen=True)
class Categorical:
    """The integers 0 .. levels - 1 with one logit each.

    Data may be of any dtype that holds the integers exactly.
    """

    levels: int
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "levels"

    def __post_init__(self):
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)

    @property
    def num_params(self) -> int:
        return self.levels

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> CategoricalDistribution:
        return CategoricalDistribution(as_float(params) / temperature)

    def noise(self, key: Key, shape: tuple[int, ...]) -> Array:
        return jax.random.gumbel(key, (*shape, self.levels))

    def from_noise(self, conditional: CategoricalDistribution, noise: Array) -> Array:
        return jnp.argmax(conditional.logits + noise, -1)

    def marginal(self, x: Array) -> Array:
        counts = (x[..., None] == jnp.arange(self.levels)).sum(0)
        return jnp.log((counts + 1.0 / self.levels) / (x.shape[0] + 1.0))


@dataclass(frozen=True)
class OneHotCategorical:
    """One-hot vectors of length `levels`, one per site, with one logit per entry.

    The categories of `Categorical` as a network reads them: for latent variables.
    """

    levels: int
    event_ndims: int = 1
    values: Values = "binary"

    def __post_init__(self):
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)

    @property
    def num_params(self) -> int:
        return self.levels

    @property
    def site_shape(self) -> tuple[int, ...]:
        return (self.levels,)

    def __call__(
        self, params: Array, temperature: Array | float = 1.0
    ) -> OneHotCategoricalDistribution:
        return OneHotCategoricalDistribution(as_float(params) / temperature)

    def marginal(self, x: Array) -> Array:
        return jnp.log((x.sum(0) + 1.0 / self.levels) / (x.shape[0] + 1.0))


def num_levels(family: Any) -> int | None:
    """Number of integers that a site may take; None if unbounded or real.

    >>> num_levels(Bernoulli()), num_levels(Categorical(17)), num_levels(Normal())
    (2, 17, None)
    """
    return 2 if family.values == "binary" else getattr(family, "levels", None)


def bounded(raw: Array, bound: float) -> Array:
    """`raw` near zero, smoothly bounded by +-`bound`: bound tanh(raw / bound)."""
    return bound * jnp.tanh(raw / bound)


@dataclass(frozen=True)
class Normal:
    """Normal(loc, exp(s)) with (loc, s) unconstrained and s smoothly bounded by +-log_scale_bound.

    With `scale`, a fixed standard deviation, there is one parameter per site: the mean.
    """

    scale: float | None = None
    log_scale_bound: float = 10.0
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "real"

    def __post_init__(self):
        require(self.scale is None or self.scale > 0, "scale", "must be positive", self.scale)

    @property
    def num_params(self) -> int:
        return 2 if self.scale is None else 1

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> distrax.Normal:
        params = as_float(params)
        loc = params[..., 0]
        if self.scale is not None:
            return distrax.Normal(loc, jnp.full_like(loc, self.scale) * temperature)
        scale = jnp.exp(bounded(params[..., 1], self.log_scale_bound))
        return distrax.Normal(loc, scale * temperature)

    def noise(self, key: Key, shape: tuple[int, ...]) -> Array:
        return jax.random.normal(key, shape)

    def from_noise(self, conditional: distrax.Normal, noise: Array) -> Array:
        return conditional.loc + conditional.scale * noise

    def marginal(self, x: Array) -> Array:
        if self.scale is not None:
            return x.mean(0)[..., None]
        return _moments(x)


@dataclass(frozen=True)
class StudentT:
    """StudentT(df, loc, scale) with df = least_df + softplus(raw): above 1, so that a mean exists.

    A variance exists where `least_df` is at least 2.
    """

    least_df: float = 1.0
    log_scale_bound: float = 10.0
    num_params: int = 3
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "real"

    def __post_init__(self):
        require(self.least_df >= 1, "least_df", "must be at least 1", self.least_df)

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> StudentTDistribution:
        params = as_float(params)
        loc, raw_scale, raw_df = (params[..., i] for i in range(3))
        scale = jnp.exp(bounded(raw_scale, self.log_scale_bound))
        # For a very negative raw value the sum would round to least_df itself.
        above = jnp.nextafter(
            jnp.asarray(self.least_df, loc.dtype), jnp.asarray(jnp.inf, loc.dtype)
        )
        df = jnp.maximum(self.least_df + softplus(raw_df), above)
        return StudentTDistribution(df, loc, scale * temperature)

    def marginal(self, x: Array) -> Array:
        moments = _moments(x)
        return jnp.concatenate([moments, jnp.full_like(moments[..., :1], 3.0)], -1)


@dataclass(frozen=True)
class Poisson:
    """Counts 0, 1, 2, ... with one parameter per site: log(rate), smoothly bounded.

    The mean fixes the spread, so that there is no sharper Poisson of the same mean: a
    `temperature` other than 1 is refused.
    """

    log_rate_bound: float = 16.0
    num_params: int = 1
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "count"

    def __post_init__(self):
        positive = self.log_rate_bound > 0
        require(positive, "log_rate_bound", "must be positive", self.log_rate_bound)

    def __call__(self, params: Array, temperature: Array | float = 1.0) -> PoissonDistribution:
        require(
            isinstance(temperature, int | float) and temperature == 1,
            "temperature",
            "must be 1 for counts, whose mean fixes their spread",
            temperature,
        )
        return PoissonDistribution(bounded(as_float(params)[..., 0], self.log_rate_bound))

    def marginal(self, x: Array) -> Array:
        bound = self.log_rate_bound
        log_rate = jnp.log(x.sum(0) + 0.5) - jnp.log(x.shape[0])
        return bound * jnp.arctanh(jnp.clip(log_rate / bound, -0.99, 0.99))[..., None]


@dataclass(frozen=True)
class MixtureOfNormals:
    """sum_k softmax(logits)_k Normal(loc_k, exp(s_k)); the components start spread over [-1, 1].

    The spread breaks the symmetry of equal components, which no gradient would.
    """

    num_components: int
    log_scale_bound: float = 10.0
    event_ndims: int = 0
    site_shape: tuple[int, ...] = ()
    values: Values = "real"

    def __post_init__(self):
        require(self.num_components >= 1, "num_components", "must be >= 1", self.num_components)

    @property
    def num_params(self) -> int:
        return 3 * self.num_components

    def __call__(
        self, params: Array, temperature: Array | float = 1.0
    ) -> distrax.MixtureSameFamily:
        logits, loc, raw_scale = jnp.split(as_float(params), 3, axis=-1)
        loc = loc + _spread(self.num_components)
        scale = jnp.exp(bounded(raw_scale, self.log_scale_bound))
        return distrax.MixtureSameFamily(
            distrax.Categorical(logits=logits / temperature),
            distrax.Normal(loc, scale * temperature),
        )

    def marginal(self, x: Array) -> Array:
        loc, log_scale = jnp.split(_moments(x), 2, axis=-1)
        spread = (jnp.exp(log_scale) - 1.0) * _spread(self.num_components)
        shape = (*x.shape[1:], self.num_components)
        parts = [jnp.zeros(shape), loc + spread, jnp.broadcast_to(log_scale, shape)]
        return jnp.concatenate(parts, -1)


@dataclass(frozen=True)
class DiscretisedLogisticMixture:
    """Mixture of discretised logistics over 0 .. levels - 1.

    `channels=None` makes a scalar site; an integer makes a vector of channels whose locations
    depend linearly on the channels before.

    With `companding` mu the location is `expanded` from the network's output, and networks read
    `compressed` values: of 16-bit sound, which crowds around 0, steps of the optimiser that are
    small to an output are then small to its quietest passages, too.

    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized
    Logistic Mixture Likelihood and Other Modifications", 2017, Eq. 1 to 3,
    https://arxiv.org/abs/1701.05517.
    """

    num_components: int
    levels: int = 256
    channels: int | None = None
    log_scale_bound: float = 9.0
    companding: float = 0.0
    values: Values = "levels"

    def __post_init__(self):
        positive = 0.0 <= self.companding < math.inf
        require(positive, "companding", "must be finite and not negative", self.companding)
        require(self.num_components >= 1, "num_components", "must be >= 1", self.num_components)
        require(self.levels >= 2, "levels", "must be at least 2", self.levels)
        require(self.channels is None or self.channels >= 1, "channels", "must be at least 1", 0)

    @property
    def event_ndims(self) -> int:
        return len(self.site_shape)

    @property
    def site_shape(self) -> tuple[int, ...]:
        return () if self.channels is None else (self.channels,)

    @property
    def _sizes(self) -> tuple[int, ...]:
        channels, k = self.channels or 1, self.num_components
        return k, k * channels, k * channels, k * (channels * (channels - 1) // 2)

    @property
    def num_params(self) -> int:
        return sum(self._sizes)

    def __call__(
        self, params: Array, temperature: Array | float = 1.0
    ) -> LogisticMixtureDistribution:
        parts = jnp.split(as_float(params), np.cumsum(self._sizes)[:-1], axis=-1)
        k = self.num_components
        by_component = lambda part: part.reshape(*part.shape[:-1], k, part.shape[-1] // k)
        loc, raw_scale, coefficients = (by_component(part) for part in parts[1:])
        loc = expanded(loc + _spread(self.num_components)[:, None], self.companding)
        log_scale = bounded(raw_scale, self.log_scale_bound)
        return LogisticMixtureDistribution(
            parts[0] / temperature,
            loc,
            log_scale + jnp.log(temperature),
            jnp.tanh(coefficients) if (self.channels or 1) > 1 else None,
            levels=self.levels,
            scalar=self.channels is None,
        )

    def marginal(self, x: Array) -> Array:
        """Zero: the components start spread over the range."""
        sites = x.shape[1 : x.ndim - self.event_ndims]
        return jnp.zeros((*sites, self.num_params))


def compressed(x: Array, mu: float) -> Array:
    """sign(x) log(1 + mu |x|) / log(1 + mu): [-1, 1] to itself; x where mu is 0.

    Source: ITU-T, "G.711: Pulse Code Modulation (PCM) of Voice Frequencies", 1988,
    https://www.itu.int/rec/T-REC-G.711 (mu-law with mu = 255).
    """
    return _odd(lambda x: jnp.log1p(mu * x) / math.log1p(mu), x) if mu else x


def expanded(y: Array, mu: float) -> Array:
    """The inverse of `compressed`, sign(y) ((1 + mu)^|y| - 1) / mu.

    >>> y = jnp.array([-1.0, -0.2, 0.0, 0.7])
    >>> bool(jnp.allclose(compressed(expanded(y, 255.0), 255.0), y, atol=1e-6))
    True
    """
    return _odd(lambda y: jnp.expm1(y * math.log1p(mu)) / mu, y) if mu else y


def _odd(function: Callable[[Array], Array], x: Array) -> Array:
    """sign(x) function(|x|), whose slope at 0 is that of the function and not 0."""
    above = x >= 0
    return jnp.where(
        above, function(jnp.where(above, x, 0.0)), -function(jnp.where(above, 0.0, -x))
    )


def _moments(x: Array) -> Array:
    """Mean and log standard deviation over the N rows, `[..., 2]`.

    A deviation is at least that of all entries divided by sqrt(N): a site that is constant in a few
    rows (a border pixel) must not make other values nearly impossible.
    """
    least = x.std() / math.sqrt(len(x))
    return jnp.stack([x.mean(0), jnp.log(jnp.maximum(x.std(0), least) + 1e-3)], -1)


def _spread(num_components: int) -> np.ndarray:
    """Evenly spaced locations in [-1, 1] (0 for one component)."""
    if num_components == 1:
        return np.zeros(1, np.float32)
    return np.linspace(-1.0, 1.0, num_components, dtype=np.float32)
