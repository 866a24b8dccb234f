"""Energy-based models of real data: a network, and chains of Langevin dynamics."""

import math
from collections.abc import Callable

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.bits import bits_of, floats_of
from dgmjax.distributions.base import sum_event
from dgmjax.errors import as_sizes, require, require_sizes
from dgmjax.inference.annealing import Path, hamiltonian_path
from dgmjax.inference.kernels import Kernel, mala
from dgmjax.inference.partition import AnchoredPath
from dgmjax.shapes import require_event
from dgmjax.types import Array, Key

REACH = 6.0
"""Half of a side of the grid for the exact normaliser, in scales of the base."""

RESOLVED = 0.1
"""Nats by which a grid and its every second point may differ.

The error of the rectangle rule falls as the exponential of the square of the number of points: at
this difference that of the whole grid is below 0.001 for a normal density.
"""


class EnergyModel(nn.Module):
    """p(x) = exp(-E(x)) / Z,  E(x) = network(x) + |x|^2 / (2 scale^2).

    The square makes Z finite for bounded networks, and N(0, scale^2 I), the base, the start of
    chains and of annealing. `objectives.contrastive_divergence` trains by persistent chains,
    score matching by `score`, and `objectives.noise_contrastive_estimation` by `log_unnormalised`,
    with a parameter for log Z.

    In one or two dimensions `log_partition` is a sum over a grid, and `log_prob` exact, or nan
    where the density is too narrow for the grid; otherwise `inference.log_partition` of
    `model.annealing()` estimates log Z.

    Attributes:
      event_shape: of x.
      network: `x[..., *event]` -> `[..., 1]`.
      scale: of the base, larger than the data.
      num_chains: persistent chains, kept in the mutable collection "state"; 0 for none.
      step_size: of the Metropolis-adjusted Langevin transitions.
      sampling_steps: transitions of `sample`.
      points: of a side of the grid of `log_partition`, an odd number.

    Sources: LeCun, Chopra, Hadsell, Ranzato & Huang, "A Tutorial on Energy-Based Learning", 2006,
    https://yann.lecun.com/exdb/publis/pdf/lecun-06.pdf; Nijkamp, Hill, Han, Zhu & Wu, "On the
    Anatomy of MCMC-Based Maximum Likelihood Learning of Energy-Based Models", 2020,
    https://arxiv.org/abs/1903.12370.
    """

    event_shape: tuple[int, ...]
    network: nn.Module
    scale: float = 2.0
    num_chains: int = 0
    step_size: float = 0.1
    sampling_steps: int = 500
    points: int = 201

    def setup(self):
        as_sizes("event_shape", self.event_shape)
        require_sizes(sampling_steps=self.sampling_steps)
        require(self.scale > 0, "scale", "must be positive", self.scale)
        require(self.num_chains >= 0, "num_chains", "must be at least 0", self.num_chains)
        odd = self.points >= 5 and self.points % 2 == 1
        require(odd, "points", "must be an odd number of at least 5", self.points)
        self.log_normaliser = self.param("log_normaliser", nn.initializers.zeros, ())
        if self.num_chains:
            shape = (self.num_chains, *self.event_shape)
            fresh = lambda: self.scale * jax.random.normal(self.make_rng("params"), shape)
            # As integers of the same bits: means over the shards of a batch leave integers alone,
            # and the mean of two chains is a sample of nothing.
            self.kept = self.variable("state", "chains", lambda: bits_of(fresh()))

    @property
    def ndims(self) -> int:
        """Rank of x."""
        return len(self.event_shape)

    def base(self) -> distrax.Distribution:
        """N(0, scale^2 I)."""
        loc = jnp.zeros(self.event_shape)
        return distrax.Independent(distrax.Normal(loc, jnp.full_like(loc, self.scale)), self.ndims)

    def energy(self, x: Array) -> Array:
        """E(x) of `x[..., *event]`, `[...]` in nats."""
        x = as_float(x)
        require_event(x, self.event_shape)
        square = sum_event(x**2, self.ndims) / (2 * self.scale**2)
        return as_float(self.network(x))[..., 0] + square

    def score(self, x: Array) -> Array:
        """-dE/dx, the gradient of log p, of the shape of x."""
        value, pull_back = jax.vjp(self.energy, as_float(x))
        return -pull_back(jnp.ones_like(value))[0]

    def log_unnormalised(self, x: Array) -> Array:
        """-E(x) - c, with the parameter c in place of log Z."""
        return -self.energy(x) - self.log_normaliser

    def kernel(self) -> Kernel:
        """Metropolis-adjusted Langevin dynamics."""
        return mala(lambda x: -self.energy(x), self.step_size)

    def transition(self, key: Key, x: Array) -> Array:
        """A Langevin step. Leaves p(x) invariant."""
        kernel = self.kernel()
        return kernel.step(key, kernel.init(x))[0].position

    def chains(self) -> Array:
        """The persistent chains, `[num_chains, *event]`."""
        rule = "must be at least 1 for persistent chains"
        require(self.num_chains >= 1, "num_chains", rule, self.num_chains)
        return floats_of(self.kept.value)

    def keep(self, x: Array) -> None:
        """Puts the chains at x, in training."""
        if not self.is_initializing() and self.is_mutable_collection("state"):
            self.kept.value = bits_of(x)

    def log_partition(self) -> Array:
        """log Z in nats, by the rectangle rule over a grid of `points` on [-6 scale, 6 scale].

        It is nan where every second point of the grid gives another value, by more than 0.1, since
        the density is narrower than the grid is fine, or where more than a thousandth of the mass
        is at the edge of the grid. Then give more `points`, or a `scale` nearer to the data.

        Raises:
          DgmjaxError: more than two dimensions.
        """
        size = math.prod(self.event_shape)
        remedy = "Estimate it: `inference.log_partition(model.annealing(), ...)`."
        rule = "must have at most 2 dimensions for an exact normaliser"
        require(size <= 2, "event_shape", rule, self.event_shape, remedy)
        line = jnp.linspace(-REACH * self.scale, REACH * self.scale, self.points)
        grid = jnp.stack(jnp.meshgrid(*[line] * size, indexing="ij"), -1)
        energies = self.energy(grid.reshape(-1, *self.event_shape)).reshape(grid.shape[:-1])
        width = math.log(2 * REACH * self.scale / (self.points - 1))
        total = jax.nn.logsumexp(-energies) + size * width
        coarse = jax.nn.logsumexp(-energies[(slice(None, None, 2),) * size]) + size * (
            width + math.log(2)
        )
        inner = jax.nn.logsumexp(-energies[(slice(1, -1),) * size]) + size * width
        right = (jnp.abs(total - coarse) < RESOLVED) & (total - inner < 1e-3)
        return jnp.where(right, total, jnp.nan)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """log p(x) = -E(x) - log Z, exact: see `log_partition` for when it exists."""
        del context
        energy = self.energy(x)
        return -energy if self.is_initializing() else -energy - self.log_partition()

    def sample(
        self, key: Key, sample_shape: tuple[int, ...] = (), context: Array | None = None
    ) -> Array:
        """x after `sampling_steps` Langevin steps from the base: approximate."""
        del context
        start_key, key = jax.random.split(key)
        kernel = self.kernel()
        start = kernel.init(self.base().sample(seed=start_key, sample_shape=sample_shape))
        body = lambda index, state: kernel.step(jax.random.fold_in(key, index), state)[0]
        return jax.lax.fori_loop(0, self.sampling_steps, body, start).position

    def annealing(self, num_steps: int = 10) -> AnchoredPath:
        """From the base to p(x) by f_b(x) = base(x) exp(-b network(x)), with HMC transitions.

        The step sizes are `given` to `inference.log_partition`, one for each temperature after 0.
        """
        base = self.base()
        ratio: Callable[[Array], Array] = lambda x: -as_float(self.network(x))[..., 0]
        inner = hamiltonian_path(base.log_prob, ratio, num_steps)
        start = lambda key, chains: base.sample(seed=key, sample_shape=(chains,))
        # exp(-E) is the base times its normaliser, and that of the path is relative to the base.
        constant = 0.5 * math.prod(self.event_shape) * math.log(2 * math.pi * self.scale**2)
        return AnchoredPath(Path(*inner), start, jnp.asarray(constant))
