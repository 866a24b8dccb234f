"""One distribution for every autoregressive network: p(x) = prod_t p(x_t | x_<t)."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.base import as_float
from dgmjax.bijectors.carry import scan, varying
from dgmjax.distributions.base import (
    Distribution,
    as_data,
    as_key,
    as_shape,
    check_temperature,
    is_one,
    sum_event,
)
from dgmjax.distributions.completion import Forced, forced_sites
from dgmjax.distributions.families import drawn, num_levels, site_noise
from dgmjax.errors import DataError, require
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key, PyTree

Noise = Callable[[Array], PyTree]
"""`site -> noise` that the draw of that site needs."""
Place = Callable[[Array, Array, PyTree], Array]
"""`(site, params[..., num_params], noise) -> values[..., *site_shape]` of that site."""

NOISE = 2**20
"""Numbers that a sampler keeps of the noise of the next sites."""

Method = Literal["incremental", "naive", "jacobi"]


class Autoregressive(Distribution):
    """log p(x) = sum_t log family(params_t(x_<t)).log_prob(x_t).

    Sites are numbered in raster order; a site is a scalar, or a vector of channels where the
    family's `event_ndims` is 1. `log_prob` costs one parallel pass of the network. Sampling has
    three methods that give the same sample for the same key, because site t always draws with
    `fold_in(key, t)`:

    - "incremental": the network's `step` in one `lax.scan`, about one pass in all;
    - "naive": a full pass for each site (the reference);
    - "jacobi": full passes on the whole guess until it no longer changes, at most D of them
      (Song, Meng, Liao & Ermon, "Accelerating Feedforward Computation via Parallel Nonlinear
      Equation Solving", 2021, https://arxiv.org/abs/2002.03629). Each pass settles at least
      one more site exactly.

    A `temperature` below 1 sharpens the conditionals of a sampler (logits are divided by it,
    scales multiplied), and sites may be forced to observed values; `log_prob` is that of the
    distribution itself.

    Args:
      network: object of the autoregressive-network protocol (`dgmjax.nn.autoregressive.binding`): a
        pytree with `__call__(x, context)`, `init_carry(batch_shape, context)` and
        `step(carry, previous, index)`.
      family: turns `params[..., num_params]` into the distribution of a site.
      event_shape: shape of x.
      context: the condition, `[*batch, features]`, or None.
      ordering: permutation of the sites; the network sees them in this order.
      method: how to sample, see above.
      flatten: the network reads and returns the sites as one axis, `[..., D]`, whatever the
        event shape.
    """

    def __init__(
        self,
        network,
        family,
        event_shape: tuple[int, ...],
        *,
        context: Array | None = None,
        ordering: Array | np.ndarray | None = None,
        method: Method = "incremental",
        flatten: bool = False,
    ):
        super().__init__()
        require(
            method in ("incremental", "naive", "jacobi"),
            "method",
            "must be 'incremental', 'naive' or 'jacobi'",
            repr(method),
        )
        self.network, self.family, self.context = network, family, context
        self._event_shape, self.method, self.ordering = tuple(event_shape), method, ordering
        self.flatten = flatten
        self._check_ordering()

    def _check_ordering(self) -> None:
        if self.ordering is None or isinstance(self.ordering, jax.core.Tracer):
            return
        ordering = np.asarray(self.ordering)
        require(
            ordering.shape == (self.num_sites,)
            and bool((np.sort(ordering) == np.arange(self.num_sites)).all()),
            "ordering",
            f"must be a permutation of the {self.num_sites} sites, 0 .. {self.num_sites - 1}",
            f"shape {ordering.shape}, {np.unique(ordering).size} different numbers",
        )

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return () if self.context is None else self.context.shape[:-1]

    @property
    def _site_shape(self) -> tuple[int, ...]:
        return self._event_shape[len(self._event_shape) - self.family.event_ndims :]

    @property
    def num_sites(self) -> int:
        """D, the number of sites."""
        sites = self._event_shape[: len(self._event_shape) - self.family.event_ndims]
        return int(np.prod(sites, dtype=int))

    def _sites(self, x: Array) -> Array:
        """`[..., D, *site]`."""
        batch = x.shape[: x.ndim - len(self._event_shape)]
        return x.reshape(*batch, self.num_sites, *self._site_shape)

    def _event(self, sites: Array) -> Array:
        batch = sites.shape[: sites.ndim - 1 - self.family.event_ndims]
        return sites.reshape(*batch, *self._event_shape)

    def _reordered(self, x: Array, ordering) -> Array:
        if ordering is None:
            return x
        return self._event(jnp.take(self._sites(x), ordering, axis=-1 - self.family.event_ndims))

    def params(self, x: Array) -> Array:
        """Parameters of every site in the network's order, `[..., D, num_params]`."""
        params = as_float(self.network(self._sites(x) if self.flatten else x, self.context))
        sites = 1 if self.flatten else len(self._event_shape) - self.family.event_ndims
        batch = params.shape[: params.ndim - 1 - sites]
        return params.reshape(*batch, self.num_sites, self.family.num_params)

    def log_prob(self, value: Array) -> Array:
        value = as_data(value)
        batch = require_event(value, self._event_shape, "value")
        if self.batch_shape and batch != self.batch_shape:  # several contexts for one event
            batch = jnp.broadcast_shapes(batch, self.batch_shape)
            value = jnp.broadcast_to(value, (*batch, *self._event_shape))
        value = self._reordered(value, self.ordering)
        per_site = self.family(self.params(value)).log_prob(self._sites(value))
        return sum_event(per_site, 1)

    def sample(
        self,
        *,
        seed,
        sample_shape=(),
        temperature: Array | float = 1.0,
        observed: Any = None,
        mask: Any = None,
    ) -> Array:
        """Samples of shape `sample_shape + batch_shape + event_shape`.

        Args:
          seed: key or integer.
          temperature: of the conditionals, above 0; 1 for the distribution itself.
          observed, mask: sites that are forced, see `complete`.

        Raises:
          DataError: `observed` and `mask` that do not fit the event, or values that the family
            does not cover (which only shows outside of `jit`).
        """
        check_temperature(temperature)
        require(
            mask is None or observed is not None, "observed", "must be given with a mask", "none"
        )
        forced = None
        if observed is not None:
            forced = forced_sites(observed, mask, self._event_shape, self.family.event_ndims)
            self._check_observed(forced)
        return self._draw(as_key(seed), as_shape(sample_shape), temperature, forced)

    def complete(
        self,
        key: Key,
        observed: Any,
        mask: Any = None,
        sample_shape: tuple[int, ...] = (),
        temperature: Array | float = 1.0,
    ) -> Array:
        """Samples in which the forced sites keep their observed values.

        Every other site is drawn from p(x_t | all sites before it), forced or drawn. If the
        observed sites come first in the ordering (a prefix, the upper rows of an image), that is
        p(x | observed); sites observed later do not change those before them.

        Args:
          key: of the draw; a site that is not forced has the same noise for every method.
          observed: `[*batch, *event_shape]`; without a mask, the first n entries of the first
            axis, `[*batch, n, *event_shape[1:]]`.
          mask: booleans `[*batch, *sites]`, true where a site is forced; None for a prefix.

        Returns:
          `[*sample_shape, *batch, *event_shape]`, where the batch is that of the context and of
          `observed`, broadcast.
        """
        require(observed is not None, "observed", "must be given to complete an event", "none")
        return self.sample(
            seed=key,
            sample_shape=sample_shape,
            temperature=temperature,
            observed=observed,
            mask=mask,
        )

    def _check_observed(self, forced: Forced) -> None:
        levels = num_levels(self.family)
        if levels is None or any(isinstance(leaf, jax.core.Tracer) for leaf in forced):
            return
        given = np.asarray(forced.values)[np.asarray(forced.mask)]
        sound = ((given == np.round(given)) & (given >= 0) & (given < levels)).all()
        rule = f"must hold the integers 0 .. {levels - 1} of {self.family} where it is given"
        among = sorted({*given.ravel().tolist()})[:5]
        require(bool(sound), "observed", rule, f"values such as {among}", "", DataError)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        return self._draw(key, sample_shape, 1.0, None)

    def _draw(
        self,
        key: Key,
        sample_shape: tuple[int, ...],
        temperature: Array | float,
        forced: Forced | None,
    ) -> Array:
        batch = (*sample_shape, *self.batch_shape)
        if forced is not None:
            pairs = zip(self.batch_shape[::-1], forced.batch_shape[::-1])
            require(
                all(a == b or 1 in (a, b) for a, b in pairs),
                "observed",
                f"must have batch axes that broadcast with the context's, {self.batch_shape}",
                forced.batch_shape,
                error=DataError,
            )
            batch = (*sample_shape, *jnp.broadcast_shapes(self.batch_shape, forced.batch_shape))
            if self.ordering is not None:
                forced = Forced(
                    jnp.take(forced.values, self.ordering, -1 - self.family.event_ndims),
                    jnp.take(forced.mask, self.ordering, -1),
                )

        def noise(site: Array) -> PyTree:
            return site_noise(self.family, jax.random.fold_in(key, site), batch)

        x = self._sampler()(noise, partial(self._placed, temperature, forced), batch)
        return self._reordered(x, None if self.ordering is None else jnp.argsort(self.ordering))

    def _placed(
        self,
        temperature: Array | float,
        forced: Forced | None,
        site: Array,
        params: Array,
        noise: PyTree,
    ) -> Array:
        """The value of a site given its parameters `[..., num_params]` and its noise."""
        conditional = (
            self.family(params) if is_one(temperature) else self.family(params, temperature)
        )
        value = drawn(self.family, conditional, noise).astype(float)  # that of `jnp.zeros`
        if forced is None:
            return value
        ndims = self.family.event_ndims
        given = jnp.take(forced.mask, site, -1)
        given = given.reshape(*given.shape, *[1] * ndims)
        return jnp.where(given, jnp.take(forced.values, site, -1 - ndims), value)

    def fill(self, choose: Callable[[Array, Array], Array], batch_shape: tuple[int, ...]) -> Array:
        """An event whose sites are chosen one after the other, `[*batch_shape, *event_shape]`.

        Sampling is one choice; the most probable value, or that of an interval, is another.

        Args:
          choose: `(site, params) -> value[*batch_shape, *site]`: the place of the site in raster
            order and the parameters `[*batch_shape, num_params]` of p(x_site | sites before it).
        """
        places = None if self.ordering is None else jnp.asarray(self.ordering)

        def place(site: Array, params: Array, noise: PyTree) -> Array:
            where = site if places is None else places[site]
            return choose(where, params).astype(float)

        x = self._sampler()(lambda site: jnp.zeros(()), place, tuple(batch_shape))
        return self._reordered(x, None if self.ordering is None else jnp.argsort(self.ordering))

    def _sampler(self) -> Callable[[Noise, Place, tuple[int, ...]], Array]:
        samplers = {
            "incremental": self._draw_incremental,
            "naive": self._draw_naive,
            "jacobi": self._draw_jacobi,
        }
        return samplers[self.method]

    def _draw_incremental(self, noise: Noise, place: Place, batch: tuple[int, ...]) -> Array:
        def body(state, site_and_noise):
            carry, previous = state
            site, own = site_and_noise
            carry, params = self.network.step(carry, previous, site)
            value = place(site, as_float(params), own)
            return (carry, value), value

        def block(state, sites):
            return scan(body, state, (sites, jax.vmap(noise)(sites)))

        carry = self.network.init_carry(batch, self.context)
        first = jnp.zeros((*batch, *self._site_shape))
        size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(noise, 0)))
        # Noise for many sites is drawn at once, which is faster than site by site, but not for all:
        # a long sequence would hold more noise than values.
        together = _divisor(self.num_sites, NOISE // max(size, 1))
        blocks = jnp.arange(self.num_sites).reshape(-1, together)
        _, sites = scan(block, (carry, first), blocks)
        sites = sites.reshape(self.num_sites, *sites.shape[2:])
        return self._event(jnp.moveaxis(sites, 0, len(batch)))

    def _draw_naive(self, noise: Noise, place: Place, batch: tuple[int, ...]) -> Array:
        def body(site, x):
            # Sites from here on are still zero, and not read.
            value = place(site, self.params(x)[..., site, :], noise(site))
            index = (slice(None),) * len(batch) + (site,)
            return self._event(self._sites(x).at[index].set(value))

        start = varying(jnp.zeros((*batch, *self._event_shape)), lambda x: body(0, x))
        return jax.lax.fori_loop(0, self.num_sites, body, start)

    def _draw_jacobi(self, noise: Noise, place: Place, batch: tuple[int, ...]) -> Array:
        numbers = jnp.arange(self.num_sites)
        noises = jax.vmap(noise)(numbers)

        def unsettled(state):
            iteration, _, changed = state
            return changed & (iteration < self.num_sites)

        def body(state):
            iteration, x, _ = state
            # The noise of a site is fixed, so its value is a function of the sites before it. After
            # k passes the first k sites are final, and where nothing changes all are.
            params = jnp.moveaxis(self.params(x), -2, 0)
            sites = jax.vmap(place)(numbers, params, noises)
            new = self._event(jnp.moveaxis(sites, 0, len(batch)))
            return iteration + 1, new, jnp.any(new != x)

        x = jnp.zeros((*batch, *self._event_shape))
        start = varying((jnp.array(0), x, jnp.array(True)), body)
        return jax.lax.while_loop(unsettled, body, start)[1]


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`; 1 if there is none.

    >>> _divisor(784, 500), _divisor(7, 5), _divisor(6, 0)
    (392, 1, 1)
    """
    return next((n for n in range(min(number, most), 1, -1) if number % n == 0), 1)
