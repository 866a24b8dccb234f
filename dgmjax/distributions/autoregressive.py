"""One distribution for every autoregressive network: p(x) = prod_t p(x_t | x_<t)."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.base import Distribution, sum_event
from dgmjax.errors import require
from dgmjax.types import Array, Key

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
      ("Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving", Song,
      Meng, Liao & Ermon, 2021). Each pass settles at least one more site exactly.

    Args:
      network: object of the autoregressive-network protocol (`dgmjax.nn.autoregressive`): a
        pytree with `__call__(x, context)`, `init_carry(batch_shape, context)` and
        `step(carry, previous, index)`.
      family: turns `params[..., num_params]` into the distribution of a site.
      event_shape: shape of x.
      context: what one conditions on, `[*batch, features]`, or None.
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
        params = self.network(self._sites(x) if self.flatten else x, self.context)
        sites = 1 if self.flatten else len(self._event_shape) - self.family.event_ndims
        batch = params.shape[: params.ndim - 1 - sites]
        return params.reshape(*batch, self.num_sites, self.family.num_params)

    def log_prob(self, value: Array) -> Array:
        require(
            tuple(value.shape[value.ndim - len(self._event_shape) :]) == self._event_shape,
            "value",
            f"must end in the event shape {self._event_shape}",
            f"shape {tuple(value.shape)}",
        )
        value = self._reordered(value, self.ordering)
        per_site = self.family(self.params(value)).log_prob(self._sites(value))
        return sum_event(per_site, 1)

    def _draw_site(self, key: Key, site: Array, params: Array) -> Array:
        """Site `site` given its parameters `[..., num_params]`, always from the same noise."""
        return self.family(params).sample(seed=jax.random.fold_in(key, site)).astype(jnp.float32)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Array:
        batch = (*sample_shape, *self.batch_shape)
        sampler = {
            "incremental": self._draw_incremental,
            "naive": self._draw_naive,
            "jacobi": self._draw_jacobi,
        }[self.method]
        x = sampler(key, batch)
        return self._reordered(x, None if self.ordering is None else jnp.argsort(self.ordering))

    def _draw_incremental(self, key: Key, batch: tuple[int, ...]) -> Array:
        def body(state, site):
            carry, previous = state
            carry, params = self.network.step(carry, previous, site)
            value = self._draw_site(key, site, params)
            return (carry, value), value

        carry = self.network.init_carry(batch, self.context)
        first = jnp.zeros((*batch, *self._site_shape))
        _, sites = jax.lax.scan(body, (carry, first), jnp.arange(self.num_sites))
        return self._event(jnp.moveaxis(sites, 0, len(batch)))

    def _all_sites(self, key: Key, x: Array) -> Array:
        """Every site drawn given the others as they stand in `x`."""
        params = jnp.moveaxis(self.params(x), -2, 0)
        draw = lambda site, p: self._draw_site(key, site, p)
        sites = jax.vmap(draw)(jnp.arange(self.num_sites), params)
        return self._event(jnp.moveaxis(sites, 0, x.ndim - len(self._event_shape)))

    def _draw_naive(self, key: Key, batch: tuple[int, ...]) -> Array:
        def body(site, x):
            params = self.params(x)[..., site, :]
            index = (slice(None),) * len(batch) + (site,)
            return self._event(self._sites(x).at[index].set(self._draw_site(key, site, params)))

        return jax.lax.fori_loop(0, self.num_sites, body, jnp.zeros((*batch, *self._event_shape)))

    def _draw_jacobi(self, key: Key, batch: tuple[int, ...]) -> Array:
        def unsettled(state):
            iteration, _, changed = state
            return changed & (iteration < self.num_sites)

        def body(state):
            iteration, x, _ = state
            new = self._all_sites(key, x)
            return iteration + 1, new, jnp.any(new != x)

        x = jnp.zeros((*batch, *self._event_shape))
        return jax.lax.while_loop(unsettled, body, (0, x, jnp.array(True)))[1]
