"""Vector quantisation: nearest codes, and the learning of the codebook."""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.actnorm import moments
from dgmjax.bijectors.base import as_float
from dgmjax.errors import require
from dgmjax.masks import weighted_mean
from dgmjax.types import Array, Key

stop = jax.lax.stop_gradient


class Quantised(NamedTuple):
    """The result of a quantiser for vectors `z[..., F]`.

    Attributes:
      codes: `[..., F]`, the nearest codes; their gradient goes to z as it is (straight-through).
      indices: `[...]`, int32.
      commitment: `[...]`, |z - e|^2 with the code e held: moves the encoder.
      codebook: `[...]`, |z - e|^2 with z held: moves a codebook that learns by gradients; 0 for
        one that follows averages.
      usage: `[K]`, the share of the vectors that each code is nearest to, padding left out.
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
    vector of the batch, with the usage 1 / K. With "gradient" the codebook is a parameter.

    It starts at vectors of the batch that initialises it.

    Attributes:
      num_codes: K, at least 2.
      features: F.
      learning: "ema" or "gradient".
      decay: of the averages, in [0, 1).
      smoothing: see above, above 0.
      restart_below: share of the uniform usage, in [0, 1); 0 for no restarts.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    Eq. 1 to 3 and appendix A.1, https://arxiv.org/abs/1711.00937; restarts: Dhariwal et al.,
    "Jukebox: A Generative Model for Music", 2020, section 3.1, https://arxiv.org/abs/2005.00341.
    """

    num_codes: int
    features: int
    learning: Literal["ema", "gradient"] = "ema"
    decay: float = 0.99
    smoothing: float = 1e-3
    restart_below: float = 0.1

    def setup(self):
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

    @property
    def codebook(self) -> Array:
        """The codes, `[K, F]`."""
        if self.learning == "gradient":
            return self.table
        usage, total = self.usage.value, self.usage.value.sum()
        extra = self.smoothing / self.num_codes
        smoothed = (usage + extra) * (total / (total + self.num_codes * extra))
        return self.sums.value / smoothed[:, None]

    def lookup(self, indices: Array) -> Array:
        """The codes `[..., F]` of indices `[...]`; NaN for an index that is not in 0 .. K - 1."""
        require(
            jnp.issubdtype(jnp.asarray(indices).dtype, jnp.integer),
            "indices",
            "must be integers",
            jnp.asarray(indices).dtype,
        )
        return jnp.take(self.codebook, indices, axis=0, mode="fill")

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
        indices = nearest(stop(flat), stop(codebook))
        one_hot = jax.nn.one_hot(indices, self.num_codes)
        usage = weighted_mean(one_hot, weights, 0)
        codes = codebook[indices].reshape(z.shape)
        held = stop(codes)
        # Of equal value; only a codebook that is a parameter has a gradient.
        codebook_loss = jnp.square(codes - stop(z)).sum(-1)
        if self.learning == "ema":
            codebook_loss = jnp.zeros_like(codebook_loss)
            self._follow(stop(flat), one_hot, usage, key, weights)
        return Quantised(
            # The bracket is exactly 0: the value is the code itself, the gradient goes to z.
            codes=held + (z - stop(z)),
            indices=indices.reshape(z.shape[:-1]),
            commitment=jnp.square(z - held).sum(-1),
            codebook=codebook_loss,
            usage=usage,
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
        _, variance = moments(flat, weights)
        apart = (
            1e-2
            * jnp.sqrt(variance)
            * jax.random.normal(noise_key, (self.num_codes, self.features))
        )
        chosen = flat[rows] + apart
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
        """Moves the averages, in training, and restarts dead codes."""
        if self.is_initializing() or not self.is_mutable_collection("state"):
            return
        usage = self.decay * self.usage.value + (1.0 - self.decay) * shares
        count: Array | int = len(flat)
        if weights is None:
            batch_sums = (one_hot.T @ flat) / count
        else:
            total = weights.sum()
            batch_sums = ((weights * one_hot).T @ flat) / jnp.where(total > 0, total, 1.0)
            data, count = _rows_of_data(weights)
        sums = self.decay * self.sums.value + (1.0 - self.decay) * batch_sums
        if key is not None and self.restart_below:
            uniform = 1.0 / self.num_codes
            # A code that is far from all data wins no vector, and without one it does not move: it
            # has to be put where data are.
            dead = usage < self.restart_below * uniform
            rows = jax.random.randint(key, (self.num_codes,), 0, count)
            rows = rows if weights is None else data[rows]
            usage = jnp.where(dead, uniform, usage)
            sums = jnp.where(dead[:, None], uniform * flat[rows], sums)
        if weights is not None:  # a batch of nothing but padding moves nothing
            usage, sums = (
                jnp.where(count > 0, new, old.value)
                for new, old in ((usage, self.usage), (sums, self.sums))
            )
        self.usage.value, self.sums.value = usage, sums


def _rows_of_data(weights: Array) -> tuple[Array, Array]:
    """Indices of rows, those of weight above 0 first, and how many these are."""
    padding = weights[:, 0] <= 0
    return jnp.argsort(padding, stable=True), (~padding).sum()


def nearest(z: Array, codebook: Array) -> Array:
    """argmin_k |z - e_k|^2, `[N]` int32, of `z[N, F]` and `codebook[K, F]`, by one product."""
    # |z|^2 is the same for all codes and left out. At full precision, as accelerators would
    # otherwise round near ties to another code.
    products = jnp.matmul(z, codebook.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin(jnp.square(codebook).sum(-1) - 2.0 * products, axis=-1)


def perplexity(usage: Array) -> Array:
    """exp(-sum_k p_k log p_k): how many codes are in use, of shares or counts `[..., K]`.

    1 where all of them are 0, as in a batch of padding.

    >>> perplexity(jnp.array([2.0, 2.0, 0.0])).round(4).item()
    2.0
    """
    total = usage.sum(-1, keepdims=True)
    shares = usage / jnp.where(total > 0, total, 1.0)
    return jnp.exp(-jax.scipy.special.xlogy(shares, shares).sum(-1))
