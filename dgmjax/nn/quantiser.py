"""Vector quantisation: nearest codes, and the learning of the codebook."""

import itertools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.actnorm import moments
from dgmjax.bijectors.base import as_float
from dgmjax.bits import bits_of, floats_of
from dgmjax.errors import require, require_sizes
from dgmjax.masks import weighted_mean
from dgmjax.nn.codes import nearest, residual_codes, sum_of
from dgmjax.types import Array, Key

stop = jax.lax.stop_gradient


class Quantised(NamedTuple):
    """The result of a quantiser for vectors `z[..., F]`.

    With a depth D > 1 the code e is a sum of D codes e_1 + .. + e_D.

    Attributes:
      codes: `[..., F]`, the nearest codes; their gradient goes to z as it is (straight-through).
      indices: `[...]`, or `[..., D]`, int32.
      commitment: `[...]`, |z - e|^2 with the code e held: moves the encoder. Summed over the D
        partial sums e_1 + .. + e_d.
      codebook: `[...]`, |z - e|^2 with z held: moves a codebook that learns by gradients; 0 for
        one that follows averages. Summed over the residuals and their codes.
      usage: `[K]`, or `[D, K]`, the share of the vectors that each code is nearest to, padding left
        out.
    """

    codes: Array
    indices: Array
    commitment: Array
    codebook: Array
    usage: Array


class VectorQuantiser(nn.Module):
    """e(z) = e_k with k = argmin_j |z - e_j|^2 over a codebook of K vectors.

    With `learning="ema"` the codebook is a pair of moving averages in the mutable collection
    "state", which move in training only:

        usage_k <- decay usage_k + (1 - decay) n_k / n,  sums_k <- the same of sum_{z at k} z / n,
        e_k = sums_k / smoothed usage_k,   smoothed_k = (usage_k + s) U / (U + K s),

    where n_k of the n vectors of the batch are nearest to k, U is the sum of the usages and
    s = smoothing / K (Laplace). Shares instead of counts make the averages linear in the batch's
    parts. A code whose usage falls below `restart_below` / K is dead: it starts again at a random
    vector of that batch, with the usage 1 / K; where gradients are taken in parts, of one of them.
    With "gradient" the codebook is a parameter.

    It starts at vectors of the batch that initialises it.

    With a depth D > 1 what a code leaves of z is quantised again, by the same codebook: r_0 = z,
    e_d is the nearest code to r_{d-1}, and r_d = r_{d-1} - e_d. D log2 K bits then name one of K^D
    vectors e_1 + .. + e_D. The residuals of all depths count as vectors of the batch; a 1/D part of
    the codebook starts at those of each depth.

    Attributes:
      num_codes: K, at least 2.
      features: F.
      learning: "ema" or "gradient".
      decay: of the averages, in [0, 1).
      smoothing: see above, above 0.
      restart_below: share of the uniform usage, in [0, 1); 0 for no restarts.
      depth: D, codes of a vector, at least 1.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    Eq. 1 to 3 and appendix A.1, https://arxiv.org/abs/1711.00937; restarts: Dhariwal et al.,
    "Jukebox: A Generative Model for Music", 2020, section 3.1, https://arxiv.org/abs/2005.00341;
    residuals: Lee, Kim, Kim, Cho & Han, "Autoregressive Image Generation using Residual
    Quantization", 2022, section 3.1, https://arxiv.org/abs/2203.01941.

    >>> module = VectorQuantiser(num_codes=8, features=2, depth=3)
    >>> quantised, _ = module.init_with_output(jax.random.key(0), jnp.ones((5, 7, 2)))
    >>> quantised.codes.shape, quantised.indices.shape, quantised.usage.shape
    ((5, 7, 2), (5, 7, 3), (3, 8))
    """

    num_codes: int
    features: int
    learning: Literal["ema", "gradient"] = "ema"
    decay: float = 0.99
    smoothing: float = 1e-3
    restart_below: float = 0.1
    depth: int = 1

    def setup(self):
        require_sizes(depth=self.depth)
        require(self.num_codes >= 2, "num_codes", "must be at least 2", self.num_codes)
        require(self.features >= 1, "features", "must be at least 1", self.features)
        require(0.0 <= self.decay < 1.0, "decay", "must be in [0, 1)", self.decay)
        require(self.smoothing > 0.0, "smoothing", "must be positive", self.smoothing)
        inside = 0.0 <= self.restart_below < 1.0
        require(inside, "restart_below", "must be in [0, 1)", self.restart_below)
        known = ("ema", "gradient")
        require(self.learning in known, "learning", f"must be one of {known}", repr(self.learning))
        shape = (self.num_codes, self.features)
        if self.learning == "gradient":
            self.table = self.param("codebook", nn.initializers.normal(1.0), shape)
            return
        uniform = 1.0 / self.num_codes
        self.usage = self.variable("state", "usage", jnp.full, shape[:1], uniform)
        first = lambda: uniform * jax.random.normal(self.make_rng("params"), shape)
        self.sums = self.variable("state", "sums", first)
        if self.restart_below:
            # As integers of the same bits: where gradients are taken in parts, the averages are
            # means over the parts, and the mean of two vectors may be far from all data.
            nothing = lambda: bits_of(jnp.full(shape, jnp.nan, jnp.float32))
            self.fresh = self.variable("state", "fresh", nothing)

    @property
    def codebook(self) -> Array:
        """The codes, `[K, F]`."""
        if self.learning == "gradient":
            return self.table
        usage, sums = self.averages()
        total = usage.sum()
        extra = self.smoothing / self.num_codes
        smoothed = (usage + extra) * (total / (total + self.num_codes * extra))
        return sums / smoothed[:, None]

    def averages(self) -> tuple[Array, Array]:
        """Usage `[K]` and sums `[K, F]`, with those of dead codes at a vector of the last batch."""
        usage, sums = self.usage.value, self.sums.value
        if not self.restart_below:
            return usage, sums
        uniform = 1.0 / self.num_codes
        fresh = floats_of(self.fresh.value)
        # A code that is far from all data wins no vector, and without one it does not move: it has
        # to be put where data are.
        dead = (usage < self.restart_below * uniform) & jnp.isfinite(fresh).all(-1)
        return (
            jnp.where(dead, uniform, usage),
            jnp.where(dead[:, None], uniform * fresh.astype(sums.dtype), sums),
        )

    def lookup(self, indices: Array) -> Array:
        """The codes `[..., F]` of indices `[...]` or, summed over the depth, `[..., D]`.

        NaN for an index that is not in 0 .. K - 1.
        """
        require(
            jnp.issubdtype(jnp.asarray(indices).dtype, jnp.integer),
            "indices",
            "must be integers",
            jnp.asarray(indices).dtype,
        )
        found = self.codebook.at[jnp.asarray(indices)]
        codes = found.get(mode="fill", wrap_negative_indices=False)
        if self.depth == 1:
            return codes
        given = jnp.shape(indices)[-1:]
        require(given == (self.depth,), "indices", f"must end in the depth {self.depth}", given)
        return sum_of([codes[..., one, :] for one in range(self.depth)])

    def __call__(self, z: Array, key: Key | None = None, mask: Array | None = None) -> Quantised:
        """Quantises `z[B, ..., F]`; with a key, dead codes restart in training.

        Args:
          mask: `[B]`, 1 for rows of data and 0 for padding, which the codebook does not see.
        """
        given = z.shape[-1] if z.ndim else 0
        require(given == self.features, "z", f"must have {self.features} features", given)
        z = as_float(z)
        flat = z.reshape(-1, self.features)
        weights = None
        if mask is not None:
            rows = mask.reshape(*mask.shape, *[1] * (z.ndim - 1))
            weights = jnp.broadcast_to(rows, (*z.shape[:-1], 1)).reshape(-1, 1)
        if self.is_initializing():
            self._start(stop(flat), weights)
        codebook = self.codebook
        indices, residuals = residual_codes(stop(flat), stop(codebook), self.depth)
        one_hot = [jax.nn.one_hot(one, self.num_codes) for one in indices]
        usage = [weighted_mean(one, weights, 0) for one in one_hot]
        codes = [codebook[one].reshape(z.shape) for one in indices]
        held = [stop(sum_of(codes[: d + 1])) for d in range(self.depth)]
        # Of equal value; only a codebook that is a parameter has a gradient.
        targets = [residual.reshape(z.shape) for residual in residuals]
        codebook_loss = sum_of([jnp.square(e - r).sum(-1) for e, r in zip(codes, targets)])
        if self.learning == "ema":
            codebook_loss = jnp.zeros_like(codebook_loss)
            vectors, chosen = jnp.concatenate(residuals), jnp.concatenate(one_hot)
            if weights is not None:
                weights = jnp.tile(weights, (self.depth, 1))
            self._follow(vectors, chosen, sum_of(usage) / self.depth, key, weights)
        picked = [one.reshape(z.shape[:-1]) for one in indices]
        return Quantised(
            # The bracket is exactly 0: the value is the code itself, the gradient goes to z.
            codes=held[-1] + (z - stop(z)),
            indices=picked[0] if self.depth == 1 else jnp.stack(picked, -1),
            commitment=sum_of([jnp.square(z - partial).sum(-1) for partial in held]),
            codebook=codebook_loss,
            usage=usage[0] if self.depth == 1 else jnp.stack(usage),
        )

    def _start(self, flat: Array, weights: Array | None) -> None:
        """The codebook at random vectors of the batch, a little apart where some are equal."""
        pick_key, noise_key = jax.random.split(self.make_rng("params"))
        rows = jax.random.choice(
            pick_key, len(flat), (self.num_codes,), replace=len(flat) < self.num_codes
        )
        if weights is not None:
            data, count = _rows_of_data(weights)
            rows = data[rows % jnp.maximum(count, 1)]
        noise = jax.random.normal(noise_key, (self.num_codes, self.features))
        ends = [self.num_codes * d // self.depth for d in range(self.depth + 1)]
        parts: list[Array] = []
        for first, last in itertools.pairwise(ends):
            if first == last:  # fewer codes than depths
                continue
            if parts:  # what the codes so far leave of every vector
                codes = jnp.concatenate(parts)
                flat = flat - codes[nearest(flat, codes)]
            _, variance = moments(flat, weights)
            apart = 1e-2 * jnp.sqrt(variance) * noise[first:last]
            parts.append(flat[rows[first:last]] + apart)
        chosen = jnp.concatenate(parts)
        if self.learning == "gradient":
            self.put_variable("params", "codebook", chosen)
        else:
            self.sums.value = chosen / self.num_codes

    def _follow(
        self,
        flat: Array,
        one_hot: Array,
        shares: Array,
        key: Key | None,
        weights: Array | None,
    ) -> None:
        """Moves the averages, in training, and keeps vectors for codes that are dead after it."""
        if self.is_initializing() or not self.is_mutable_collection("state"):
            return
        old_usage, old_sums = self.averages()
        usage = self.decay * old_usage + (1.0 - self.decay) * shares
        count: Array | int = len(flat)
        if weights is None:
            batch_sums = (one_hot.T @ flat) / count
        else:
            total = weights.sum()
            batch_sums = ((weights * one_hot).T @ flat) / jnp.where(total > 0, total, 1.0)
            data, count = _rows_of_data(weights)
        moved = {"usage": usage, "sums": self.decay * old_sums + (1.0 - self.decay) * batch_sums}
        if self.restart_below:
            moved["fresh"] = jnp.full_like(self.fresh.value, bits_of(jnp.float32(jnp.nan)))
        if self.restart_below and key is not None:
            rows = jax.random.randint(key, (self.num_codes,), 0, count)
            moved["fresh"] = bits_of(flat[rows if weights is None else data[rows]])
        for name, new in moved.items():
            kept = getattr(self, name)
            # A batch of nothing but padding moves nothing.
            kept.value = new if weights is None else jnp.where(count > 0, new, kept.value)


def _rows_of_data(weights: Array) -> tuple[Array, Array]:
    """Indices of rows, those of weight above 0 first, and how many these are."""
    padding = weights[:, 0] <= 0
    return jnp.argsort(padding, stable=True), (~padding).sum()
