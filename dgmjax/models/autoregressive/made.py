"""MADE: a masked autoencoder as an autoregressive model, with several orderings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.autoregressive import Autoregressive, Method
from dgmjax.distributions.families import Bernoulli, Family
from dgmjax.errors import require
from dgmjax.models.base import DensityModel, num_dims
from dgmjax.nn.autoregressive import bind_network
from dgmjax.nn.masked_mlp import MaskedMLP
from dgmjax.types import Activation, Array


class MADE(DensityModel):
    """p(x) = prod_t p(x_o(t) | x_o(<t)) with one masked MLP for all conditionals.

    With `num_masks` > 1 the model is order-agnostic: mask m has an ordering o of its own and its
    own random connectivity. Training draws one mask a step (`objectives.sampled_ordering`);
    `log_prob` is that of the ensemble, log (1/M) sum_m p_m(x), which is a density again.

    A mask is a re-indexing of the parameters: the network always runs in natural order with
    sorted degrees, and mask m gathers the rows and columns of the kernels accordingly.

    Attributes:
      event_shape: shape of x; sites are its elements in raster order.
      hidden: units of each hidden layer.
      family: distribution of a site given its parameters.
      num_masks: orderings in the ensemble.
      ordering: "natural" or "random" for mask 0; further masks are always random.
      direct, residual, activation: see `nn.MaskedMLP`.
      mask_seed: seed of the random orderings and connectivities.

    Source: Germain, Gregor, Murray & Larochelle, "MADE", 2015, equations 8-13 and section 4.
    """

    event_shape: tuple[int, ...]
    hidden: tuple[int, ...] = (500,)
    family: Family = Bernoulli()
    num_masks: int = 1
    ordering: str = "natural"
    direct: bool = False
    residual: bool = False
    activation: Activation = nn.relu
    context_features: int = 0
    mask_seed: int = 0
    sampling: Method = "incremental"

    def setup(self):
        require(self.num_masks >= 1, "num_masks", "must be at least 1", self.num_masks)
        require(
            self.ordering in ("natural", "random"),
            "ordering",
            "must be 'natural' or 'random'",
            repr(self.ordering),
        )
        self.network = MaskedMLP(
            features=num_dims(self.event_shape),
            hidden=self.hidden,
            num_params=self.family.num_params,
            activation=self.activation,
            direct=self.direct,
            residual=self.residual,
            context_features=self.context_features,
        )

    def __call__(self, context: Array | None = None, mask: Array | int = 0):
        """The distribution of mask `mask` (of the ensemble, see `log_prob`)."""
        if self.is_initializing() and not self.has_variable("params", "network"):
            self._initialise(None, context)
        network = bind_network(self.network)
        ordering = None
        if self.num_masks > 1 or self.ordering == "random":
            tables = self._tables()
            ordering = jnp.asarray(tables[0])[mask]
            permutations = [jnp.asarray(table)[mask] for table in tables]
            params = reindex(network.variables["params"], permutations, num_dims(self.event_shape))
            network = type(network)(network.module, {**network.variables, "params": params})
        return Autoregressive(
            network,
            self.family,
            self.event_shape,
            context=context,
            ordering=ordering,
            method=self.sampling,
            flatten=True,
        )

    def _tables(self) -> list[np.ndarray]:
        """Of each layer, input first: `[num_masks, units]` permutations."""
        features = num_dims(self.event_shape)
        generator = np.random.default_rng(self.mask_seed)
        tables = []
        for layer, units in enumerate((features, *self.hidden)):
            rows = [generator.permutation(units) for _ in range(self.num_masks)]
            if layer == 0 and self.ordering == "natural":
                rows[0] = np.arange(units)
            tables.append(np.stack(rows).astype(np.int32))
        return tables

    def _initialise(self, x: Array | None, context: Array | None) -> None:
        """Creates the parameters; given data, the output bias starts at their marginals."""
        features = num_dims(self.event_shape)
        zeros = None if context is None else jnp.zeros(self.context_features)
        self.network(jnp.zeros(features), zeros)
        if x is not None and x.size and x.shape[-len(self.event_shape) :] == self.event_shape:
            bias = self.family.marginal(x.reshape(-1, features)).ravel()
            self.network.put_variable("params", "out_bias", bias)

    def log_prob(
        self, x: Array, context: Array | None = None, mask: Array | int | None = None
    ) -> Array:
        """log p(x) in nats; over several masks log (1/M) sum_m p_m(x), one pass each.

        With `mask`, that of one mask. Initialised through this method, the output bias starts at
        the marginals of the batch: a pixel whose inputs never vary (the border of an image)
        learns its rate from the bias alone, which would take thousands of steps.
        """
        if self.is_initializing():
            self._initialise(x, context)
        if mask is not None or self.num_masks == 1:
            return self(context, 0 if mask is None else mask).log_prob(x)
        each = jax.lax.map(lambda mask: self(context, mask).log_prob(x), jnp.arange(self.num_masks))
        return jax.nn.logsumexp(each, axis=0) - jnp.log(self.num_masks)

    def sample(self, key, sample_shape=(), context=None) -> Array:
        """Samples of a mask drawn uniformly (one for the whole call)."""
        mask_key, key = jax.random.split(key)
        mask = jax.random.randint(mask_key, (), 0, self.num_masks)
        return self(context, mask).sample(seed=key, sample_shape=sample_shape)


def reindex(params, permutations: list[Array], features: int):
    """Kernels as the natural-order network of one mask reads them.

    `permutations[0]` orders the sites, `permutations[l]` the units of hidden layer l.
    """
    order, last = permutations[0], permutations[-1]
    new = dict(params)
    for i in range(len(permutations) - 1):
        rows, columns = permutations[i], permutations[i + 1]
        new[f"kernel_{i}"] = params[f"kernel_{i}"][rows][:, columns]
        new[f"bias_{i}"] = params[f"bias_{i}"][columns]

    def sites(array: Array) -> Array:
        by_site = array.reshape(*array.shape[:-1], features, -1)
        return jnp.take(by_site, order, axis=-2).reshape(array.shape)

    new["out_kernel"] = sites(params["out_kernel"][last])
    new["out_bias"] = sites(params["out_bias"])
    if "direct_kernel" in params:
        new["direct_kernel"] = sites(params["direct_kernel"][order])
    if "context_kernel" in params:
        new["context_kernel"] = params["context_kernel"][:, permutations[1]]
        new["context_out"] = sites(params["context_out"])
    return new
