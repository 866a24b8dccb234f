"""Any autoregressive network and any family of conditionals as a density model."""

import math
from collections import Counter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.bijectors.carry import cond, scan
from dgmjax.contracts import reorders_sites, starts_at_marginals
from dgmjax.distributions.autoregressive import Autoregressive, Method
from dgmjax.distributions.base import as_shape
from dgmjax.distributions.families import Bernoulli, Family
from dgmjax.errors import require, require_sizes
from dgmjax.models.base import DensityModel
from dgmjax.nn.autoregressive.binding import bind_network
from dgmjax.types import Array, Key


def as_ordering(ordering: Any) -> Any:
    """A permutation as the hashable tuple that a module can hold; names as they are."""
    if isinstance(ordering, str) or np.ndim(ordering) != 1:
        return ordering
    return tuple(np.asarray(ordering).tolist())


def _shown(ordering: Any) -> str:
    if not isinstance(ordering, tuple):
        return repr(ordering)
    first = ", ".join(map(str, ordering[:8])) + (", ..." if len(ordering) > 8 else "")
    repeated = [n for n, times in Counter(ordering).items() if times > 1]
    return f"{len(ordering)} numbers, {first}" + (f", with {repeated[0]} twice" if repeated else "")


class AutoregressiveModel(DensityModel):
    """p(x | c) = prod_t p(x_t | x_<t, c): one network gives every conditional its parameters.

    `log_prob` costs one parallel pass; sampling D incremental steps that together cost about one
    (see `distributions.Autoregressive` for the other methods, temperature and completion).

    With `num_orders` > 1 the model is order-agnostic: order m has a permutation of the sites of its
    own (and, in a masked MLP, its own random connectivity). Training draws one order per step
    (`objectives.sampled_ordering`); `log_prob` is that of the ensemble, log (1/M) sum_m p_m(x),
    which is a density again. An order is a re-indexing of the parameters: the network always runs
    in natural order, over kernels whose rows and columns are gathered.

    Besides the protocol (`dgmjax.nn.autoregressive.binding`) a network may offer

    - `start_at_marginals(family, x[N, *event])`: sets its output bias such that the conditionals
      start at the marginals of the data (a pixel whose inputs never vary, at the border of an
      image, learns its rate from the bias alone, which would take thousands of steps);
    - `permuted_sizes`, `(D, *units)`, and `reindexed(params, permutations)`: what orderings need.

    Attributes:
      event_shape: shape of x; sites are its elements in raster order, or its vectors of channels
        where the family's `event_ndims` is 1.
      network: a module of the autoregressive-network protocol.
      family: distribution of a site given its parameters.
      context_features: length of the context vector, 0 for none.
      sampling: method of sampling, "incremental", "naive" or "jacobi".
      flatten: the network reads and returns the sites as one axis, `[..., D]`.
      num_orders: orderings in the ensemble.
      ordering: "natural", "random", or a permutation of the sites, for order 0; further orders are
        always random.
      order_seed: seed of the random orderings and connectivities.

    Sources: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution
    Estimation", 2015, section 4 (masks), https://arxiv.org/abs/1502.03509; Uria, Murray &
    Larochelle, "A Deep and Tractable Density Estimator", 2014, section 4 (ensembles),
    https://arxiv.org/abs/1310.1757.
    """

    event_shape: tuple[int, ...]
    network: nn.Module
    family: Family = Bernoulli()
    context_features: int = 0
    sampling: Method = "incremental"
    flatten: bool = False
    num_orders: int = 1
    ordering: str | tuple[int, ...] = "natural"
    order_seed: int = 0

    def setup(self):
        require_sizes(event_shape=tuple(self.event_shape), num_orders=self.num_orders)
        none_or_more = self.context_features >= 0
        require(none_or_more, "context_features", "must be at least 0", self.context_features)
        known = vars(self.network).get("event_shape")  # `getattr` would create its parameters
        require(
            known is None or tuple(known) == tuple(self.event_shape),
            "event_shape",
            f"must be that of the network, {known}",
            self.event_shape,
        )
        sites = math.prod(self.event_shape[: len(self.event_shape) - self.family.event_ndims])
        if self.ordering not in ("natural", "random"):
            require(
                isinstance(self.ordering, tuple) and sorted(self.ordering) == list(range(sites)),
                "ordering",
                f"must be 'natural', 'random' or a permutation of the {sites} sites, "
                f"0 .. {sites - 1}",
                _shown(self.ordering),
            )
        require(
            not self.flatten or self.family.event_ndims == 0,
            "family",
            f"must be of single numbers, the sites of a {type(self.network).__name__}",
            self.family,
            "Networks of convolutions serve sites of several channels.",
        )
        require(
            not self._reorders or reorders_sites(self.network),
            "network",
            "must be a MaskedMLP or NADE where sites are reordered",
            type(self.network).__name__,
            "Other networks read the sites in their natural order.",
        )

    @property
    def _reorders(self) -> bool:
        return self.num_orders > 1 or self.ordering != "natural"

    def __call__(self, context: Array | None = None, order: Array | int = 0) -> Autoregressive:
        """The distribution of order `order` (of the ensemble, see `log_prob`)."""
        context = self._checked(context)
        # A traced order has no value to check yet.
        if not isinstance(order, jax.core.Tracer):
            whole = np.ndim(order) == 0 and np.asarray(order).dtype.kind in "iu"
            within = whole and bool(0 <= order < self.num_orders)
            require(within, "order", f"must be one of 0 .. {self.num_orders - 1}", order)
        if self.is_initializing() and not self.has_variable("params", "network"):
            self._initialise(None, context)
        network = bind_network(self.network)
        ordering = None
        if self._reorders:
            # An order permutes the parameters and leaves the network's code alone: one compiled
            # program serves every order, which may be traced.
            permutations = [jnp.asarray(table)[order] for table in self._tables()]
            ordering = permutations[0]
            params = network.module.reindexed(network.variables["params"], permutations)
            network = type(network)(network.module, {**network.variables, "params": params})
        return Autoregressive(
            network,
            self.family,
            self.event_shape,
            context=context,
            ordering=ordering,
            method=self.sampling,
            flatten=self.flatten,
        )

    def _tables(self) -> list[np.ndarray]:
        """Of each layer, input first: `[num_orders, units]` permutations."""
        # From the seed alone, so that checkpoints need not hold the orders.
        generator = np.random.default_rng(self.order_seed)
        tables = []
        for layer, units in enumerate(self.network.permuted_sizes):
            rows = [generator.permutation(units) for _ in range(self.num_orders)]
            if layer == 0 and self.ordering != "random":
                natural = isinstance(self.ordering, str)
                rows[0] = np.arange(units) if natural else np.asarray(self.ordering)
            tables.append(np.stack(rows).astype(np.int32))
        return tables

    def _initialise(self, x: Array | None, context: Array | None) -> None:
        """Creates the parameters; given data, the output starts at their marginals."""
        shape = (math.prod(self.event_shape),) if self.flatten else self.event_shape
        self.network(jnp.zeros(shape), None if context is None else jnp.zeros(context.shape[-1:]))
        fits = x is not None and x.size and x.shape[-len(self.event_shape) :] == self.event_shape
        if x is not None and fits and starts_at_marginals(self.network):
            self.network.start_at_marginals(self.family, x.reshape(-1, *shape))

    def log_prob(
        self, x: Array, context: Array | None = None, order: Array | int | None = None
    ) -> Array:
        """log p(x) in nats; over several orders log (1/M) sum_m p_m(x), one pass each.

        With `order`, that of one order. Initialised through this method, the output starts at the
        marginals of the batch where the network offers that.
        """
        x, context = jnp.asarray(x), self._checked(context)
        if context is not None:
            self._check_batches(x.shape, context.shape)
        if self.is_initializing() and not self.has_variable("params", "network"):
            self._initialise(x, context)
        if order is not None or self.num_orders == 1:
            return self(context, 0 if order is None else order).log_prob(x)
        # One order after the other: M passes in the memory of one.
        each = jax.lax.map(
            lambda order: self(context, order).log_prob(x), jnp.arange(self.num_orders)
        )
        return jax.nn.logsumexp(each, axis=0) - jnp.log(self.num_orders)

    def _checked(self, context: Any) -> Array | None:
        given = (0,) if context is None else jnp.shape(context)[-1:]
        require(
            given == (self.context_features,),
            "context",
            f"must have {self.context_features} features (`context_features`)",
            "none" if context is None else f"shape {jnp.shape(context)}",
        )
        return None if context is None else jnp.asarray(context)

    def _check_batches(self, x: tuple[int, ...], context: tuple[int, ...]) -> None:
        batch = x[: max(len(x) - len(self.event_shape), 0)]
        equal = all(1 in (m, n) or m == n for m, n in zip(batch[::-1], context[-2::-1]))
        require(equal, "context", f"must be for the examples of `x`, {batch}", f"shape {context}")

    def _any_order(self, key: Key, shape: tuple[int, ...] = ()) -> tuple[Key, Array | int]:
        if self.num_orders == 1:
            return key, 0
        order_key, key = jax.random.split(key)
        return key, jax.random.randint(order_key, shape, 0, self.num_orders)

    def sample(
        self,
        key: Key,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        temperature: Array | float = 1.0,
    ) -> Array:
        """Samples of x; with several orders, each of an order that is drawn uniformly for it.

        This takes one pass for every order drawn, each over all samples. Samples of one order,
        `self(context, order).sample(..)`, take a single pass.
        """
        batch = () if context is None else jnp.shape(context)[:-1]
        rows = (*as_shape(sample_shape), *batch)
        if self.is_initializing():
            self(context)

        def draw(order: Array | int) -> Array:
            one = self(context, order)
            return one.sample(seed=key, sample_shape=sample_shape, temperature=temperature)

        key, orders = self._any_order(key, rows)
        if jnp.ndim(orders) == 0:
            return draw(orders)
        event = (1,) * len(self.event_shape)

        # Every order draws all rows from the same key, and a row keeps those of its own order: no
        # draw is used twice, shapes stay fixed, and orders that nobody drew are skipped.
        def add(x: Array, order: Array) -> tuple[Array, None]:
            here = jnp.equal(orders, order)
            chosen = lambda x: jnp.where(here.reshape(*here.shape, *event), draw(order), x)
            return cond(here.any(), chosen, lambda x: x, x), None

        empty = jax.eval_shape(lambda: draw(0))
        start = jnp.zeros(empty.shape, empty.dtype)
        return scan(add, start, jnp.arange(self.num_orders))[0]

    def complete(
        self,
        key: Key,
        observed: Array,
        mask: Any = None,
        sample_shape: tuple[int, ...] = (),
        context: Array | None = None,
        temperature: Array | float = 1.0,
    ) -> Array:
        """Samples in which the sites of `mask` keep their values in `observed`.

        See `distributions.Autoregressive.complete`; of a model with several orders one,
        drawn uniformly, is used.
        """
        key, which = self._any_order(key)
        return self(context, which).complete(key, observed, mask, sample_shape, temperature)
