"""Restricted Boltzmann machine."""

import math

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.distributions.families import Bernoulli
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.inference.annealing import Path
from dgmjax.inference.gibbs import Drawn, block_gibbs
from dgmjax.inference.hamiltonian import Info
from dgmjax.inference.kernels import Kernel
from dgmjax.inference.partition import AnchoredPath
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key

ENUMERATED = 20
"""Units of the smaller side, of whose states an exact partition function is the sum."""

_AT_ONCE = 10


class RBM(nn.Module):
    """p(x, h) = exp(x^T W h + b^T x + c^T h) / Z over binary x and h.

    Given x the hidden units are independent, and given h the visible ones, so that h can be summed
    out: p(x) = exp(-F(x)) / Z with the free energy F(x) = -b^T x - sum_j softplus((W^T x + c)_j).

    Trained by `objectives.contrastive_divergence`. Where either side has at most 20 units Z is a
    sum over its states, and `log_prob` exact; otherwise `inference.log_partition` estimates log Z
    along `annealing`.

    Attributes:
      event_shape: of x.
      hidden: units of h.
      num_chains: persistent chains, which are kept in the mutable collection "state" and move in
        training; 0 for none.
      sampling_steps: Gibbs sweeps of `sample`.

    Source: Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", 2002,
    section 4, https://doi.org/10.1162/089976602760128018.
    """

    event_shape: tuple[int, ...]
    hidden: int
    num_chains: int = 0
    sampling_steps: int = 1000

    @property
    def family(self) -> Bernoulli:
        """The family of a site of x."""
        return Bernoulli()

    @property
    def visible(self) -> int:
        """Units of x."""
        return math.prod(as_sizes("event_shape", self.event_shape))

    def setup(self):
        require_sizes(hidden=self.hidden, sampling_steps=self.sampling_steps)
        require(self.num_chains >= 0, "num_chains", "must be at least 0", self.num_chains)
        # Small weights: units start nearly independent, and chains mix in one sweep.
        small = nn.initializers.normal(0.01)
        self.weights = self.param("weights", small, (self.visible, self.hidden))
        self.visible_bias = self.param("visible_bias", nn.initializers.zeros, (self.visible,))
        self.hidden_bias = self.param("hidden_bias", nn.initializers.zeros, (self.hidden,))
        if self.num_chains:
            shape = (self.num_chains, *self.event_shape)
            # Bits are integers also because averages over the parts of a batch leave integers
            # alone.
            fresh = lambda: jax.random.bernoulli(self.make_rng("params"), 0.5, shape).astype(int)
            self.kept = self.variable("state", "chains", fresh)

    def field(self, x: Array) -> Array:
        """W^T x + c: the logits of h given x, `[..., hidden]`."""
        return self._flat(x) @ self.weights + self.hidden_bias

    def hidden_given(self, x: Array, b: Array | float = 1.0) -> distrax.Distribution:
        """p(h | x), over `[hidden]`; at b of the path of `annealing`."""
        return bits(b * self.field(x))

    def visible_given(
        self, h: Array, b: Array | float = 1.0, logits: Array | float = 0.0
    ) -> distrax.Distribution:
        """p(x | h), over `event_shape`; at b of the path from pixels of these `logits`."""
        flat = (1.0 - b) * logits + b * (h @ self.weights.T + self.visible_bias)
        return bits(flat.reshape(*h.shape[:-1], *self.event_shape), len(self.event_shape))

    def energy(self, x: Array) -> Array:
        """F(x), of which exp(-F) is proportional to p(x), `[...]` in nats."""
        return -self._flat(x) @ self.visible_bias - jax.nn.softplus(self.field(x)).sum(-1)

    def kernel(self, b: Array | float = 1.0, logits: Array | float = 0.0) -> Kernel:
        """Gibbs sweeps over the blocks `hidden` and `visible`."""
        return block_gibbs(
            {
                "hidden": lambda blocks: self.hidden_given(blocks["visible"], b),
                "visible": lambda blocks: self.visible_given(blocks["hidden"], b, logits),
            }
        )

    def start(self, x: Array) -> Drawn:
        """The state of a kernel at x; sweeps begin with h, whose value is not read."""
        batch = x.shape[: x.ndim - len(self.event_shape)]
        return Drawn({"hidden": jnp.zeros((*batch, self.hidden)), "visible": x})

    def transition(self, key: Key, x: Array) -> Array:
        """A sweep: h given x, x given h. Leaves p(x) invariant."""
        return self.kernel().step(key, self.start(x))[0].position["visible"]

    def chains(self) -> Array:
        """The persistent chains, `[num_chains, *event]`."""
        rule = "must be at least 1 for persistent chains"
        require(self.num_chains >= 1, "num_chains", rule, self.num_chains)
        return self.kept.value.astype(self.weights.dtype)

    def keep(self, x: Array) -> None:
        """Puts the chains at x, in training."""
        if not self.is_initializing() and self.is_mutable_collection("state"):
            self.kept.value = x.astype(self.kept.value.dtype)

    def log_partition(self) -> Array:
        """log Z, exact, in nats.

        Raises:
          DgmjaxError: both sides have more than 20 units.
        """
        sides = (self.visible, self.hidden)
        rule = f"must have at most {ENUMERATED} visible or {ENUMERATED} hidden units for an exact Z"
        remedy = "Estimate it: `inference.log_partition(model.annealing(), ...)`."
        require(min(sides) <= ENUMERATED, "model", rule, sides, remedy)
        weights, inner, outer = self.weights, self.visible_bias, self.hidden_bias
        if self.visible < self.hidden:
            weights, inner, outer = weights.T, outer, inner
        return log_sum_of_states(weights, inner, outer)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) = -F(x) - log Z, exact: see `log_partition` for when it exists."""
        del context
        return -self.energy(x) - self.log_partition()

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """x after `sampling_steps` sweeps from fair coins: approximate where chains mix slowly."""
        del context
        start_key, key = jax.random.split(key)
        shape = (*sample_shape, *self.event_shape)
        x = jax.random.bernoulli(start_key, 0.5, shape).astype(self.weights.dtype)
        sweep = lambda index, x: self.transition(jax.random.fold_in(key, index), x)
        return jax.lax.fori_loop(0, self.sampling_steps, sweep, x)

    def annealing(self, rates: Array | np.ndarray | None = None) -> AnchoredPath:
        """f_b(x) = exp(x^T ((1 - b) a + b b_x)) prod_j (1 + exp(b (W^T x + c)_j)).

        At b = 0 pixels are independent of logits a, and Z_0 = 2^hidden prod_i (1 + exp(a_i)).

        Args:
          rates: sigmoid(a), of the shape of x: the means of the data, which are held off 0 and 1;
            1/2 if None.

        Source: Salakhutdinov & Murray, "On the Quantitative Analysis of Deep Belief Networks",
        2008, Eq. 16 to 19, https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/.
        """
        rates = jnp.full(self.event_shape, 0.5) if rates is None else jnp.asarray(rates)
        shape = tuple(self.event_shape)
        require(rates.shape == shape, "rates", f"must have the shape {shape} of x", rates.shape)
        rates = jnp.clip(rates.reshape(-1).astype(self.weights.dtype), 0.01, 0.99)
        logits = jnp.log(rates) - jnp.log1p(-rates)

        def start(key: Key, chains: int) -> Array:
            return bits(logits).sample(seed=key, sample_shape=(chains,)).reshape(chains, *shape)

        def increment(state: Drawn, before: Array, after: Array) -> Array:
            x = state.position["visible"]
            field, bias = self.field(x), self._flat(x) @ (self.visible_bias - logits)
            # Unit by unit, so that large sums are not subtracted from each other.
            gained = jax.nn.softplus(after * field) - jax.nn.softplus(before * field)
            return (after - before) * bias + gained.sum(-1)

        def step(key: Key, state: Drawn, b: Array, given: None) -> tuple[Drawn, Info]:
            return self.kernel(b, logits).step(key, state)

        zero = self.hidden * math.log(2.0) + jax.nn.softplus(logits).sum()
        return AnchoredPath(Path(self.start, increment, step), start, zero)

    def _flat(self, x: Array) -> Array:
        batch = require_event(x, self.event_shape)
        return x.reshape(*batch, self.visible).astype(self.weights.dtype)


def bits(logits: Array, event_ndims: int = 1) -> distrax.Distribution:
    """Independent Bernoulli units, drawn as floating-point numbers."""
    return distrax.Independent(distrax.Bernoulli(logits, dtype=logits.dtype), event_ndims)


def log_sum_of_states(weights: Array, inner: Array, outer: Array) -> Array:
    """log sum_s exp(s^T outer) prod_i (1 + exp((W s + inner)_i)) over all binary s.

    The states of the first units at once, and those of the rest one after another.

    Args:
      weights: `[inner, outer]`.
    """
    split = min(len(outer), _AT_ONCE)
    binary = lambda codes, count: ((codes[:, None] >> jnp.arange(count)) & 1).astype(weights.dtype)
    first = binary(jnp.arange(2**split), split)
    field, linear = first @ weights[:, :split].T + inner, first @ outer[:split]

    @jax.checkpoint
    def of_rest(code):
        rest = binary(code[None], len(outer) - split)[0]
        shifted = jax.nn.softplus(field + weights[:, split:] @ rest).sum(-1)
        return jax.nn.logsumexp(linear + shifted) + rest @ outer[split:]

    return jax.nn.logsumexp(jax.lax.map(of_rest, jnp.arange(2 ** (len(outer) - split))))
