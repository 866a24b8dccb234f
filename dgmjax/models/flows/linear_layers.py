"""Flow layers that mix or normalise channels: linear maps, ActNorm, batch normalisation."""

import math
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from distrax import Bijector

from dgmjax.bijectors.actnorm import ActNorm, actnorm_init, moments
from dgmjax.bijectors.batch_norm import BatchNorm
from dgmjax.bijectors.conv1x1 import Invertible1x1Convolution
from dgmjax.bijectors.householder import Householder
from dgmjax.bijectors.linear import Linear
from dgmjax.bijectors.lu import LU
from dgmjax.bijectors.triangular import Triangular
from dgmjax.errors import require
from dgmjax.masks import over_sites
from dgmjax.types import Array

RUNNING = "batch_stats"
"""The collection of running statistics; training makes it mutable, evaluation does not."""


class LinearLayer(nn.Module):
    """x = W z on the last axis: of vectors, or of an image's channels (a 1x1 convolution).

    Attributes:
      features: size of the last axis.
      parametrisation: "lu" (W = P L U; cheap log-determinant and inverse) and "full" start at a
        random rotation, "householder" (a product of `reflections`) is always a rotation,
        "triangular" starts at the identity.
      event_ndims: 1 for vectors, 3 for images.
      reflections: for "householder"; as many as features if None.
      seed: of the random rotation of "lu", whose P is part of the structure.

    Sources: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    section 3.2, https://arxiv.org/abs/1807.03039; Oliva et al., "Transformation Autoregressive
    Networks", 2018, section 3.2, for vectors, https://arxiv.org/abs/1801.09819.
    """

    features: int
    parametrisation: Literal["lu", "full", "householder", "triangular"] = "lu"
    event_ndims: int = 1
    reflections: int | None = None
    seed: int = 0

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        makers = {
            "lu": self._lu,
            "full": self._full,
            "householder": self._householder,
            "triangular": self._triangular,
        }
        require(
            self.parametrisation in makers,
            "parametrisation",
            f"must be one of {sorted(makers)}",
            repr(self.parametrisation),
        )
        require(self.event_ndims in (1, 3), "event_ndims", "must be 1 or 3", self.event_ndims)
        linear = makers[self.parametrisation]()
        return linear if self.event_ndims == 1 else Invertible1x1Convolution(linear)

    def _lu(self) -> Bijector:
        # Permutation and signs are not trained, hence no parameters, and must be the same in every
        # program that loads these: they follow from the seed, not from the key.
        packed, permutation, signs = _factorised_rotation(self.features, self.seed)
        matrix = self.param("matrix", lambda key: jnp.asarray(packed))
        return LU(matrix, permutation, signs)

    def _full(self) -> Bijector:
        init = nn.initializers.orthogonal()
        return Linear(self.param("matrix", init, (self.features, self.features)))

    def _householder(self) -> Bijector:
        shape = (self.reflections or self.features, self.features)
        return Householder(self.param("vectors", nn.initializers.normal(1.0), shape))

    def _triangular(self) -> Bijector:
        zeros = nn.initializers.zeros
        return Triangular(self.param("matrix", zeros, (self.features, self.features)))


def _factorised_rotation(size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random rotation as `LU` takes it: packed factors, permutation, signs."""
    import scipy.linalg

    noise = np.random.default_rng(seed).normal(size=(size, size))
    permutation, lower, upper = scipy.linalg.lu(np.linalg.qr(noise)[0])
    diagonal = np.diag(upper)
    packed = np.tril(lower, -1) + np.triu(upper, 1) + np.diag(np.log(np.abs(diagonal)))
    # W = P L U, and row i of P has its one in the column of the row of L U that comes to place i.
    return packed.astype(np.float32), permutation.argmax(1), np.sign(diagonal)


class ActNormLayer(nn.Module):
    """A scale and shift for each channel; the first batch leaves it with mean 0 and variance 1.

    Initialised through `Flow.log_prob`, the parameters are those of the batch as it arrives at
    this layer; through anything else, and from a batch of a single position, it starts as the
    identity.

    Attributes:
      features: channels (the last axis).
      event_ndims: 1 for vectors, 3 for images.

    Source: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
    section 3.1, https://arxiv.org/abs/1807.03039.
    """

    features: int
    event_ndims: int = 1

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        zeros = nn.initializers.zeros
        shift = self.param("shift", zeros, (self.features,))
        log_scale = self.param("log_scale", zeros, (self.features,))
        return ActNorm(shift, log_scale, self.event_ndims)

    def observe(
        self, x: Array, context: Array | None = None, mask: Array | None = None
    ) -> tuple[Array, Array]:
        bijector = self(context)
        if self.is_initializing() and _positions(x) >= 2:
            shift, log_scale = actnorm_init(x, weights=over_sites(mask, self.event_ndims))
            self.put_variable("params", "shift", shift)
            self.put_variable("params", "log_scale", log_scale)
            bijector = ActNorm(shift, log_scale, self.event_ndims)
        return bijector.inverse_and_log_det(x)


class BatchNormLayer(nn.Module):
    """Batch normalisation as in MAF: statistics of the batch in training, running ones after it.

    The running mean and variance are in the collection `batch_stats`. While that is mutable,
    `Flow.log_prob` normalises with the batch's own statistics (gradients flow through them) and
    moves the running ones; sampling and evaluation use the running ones. Rows of padding (`mask`)
    do not enter the statistics.

    Attributes:
      features: channels (the last axis).
      momentum: the share of the old running statistics that a step keeps.
      event_ndims: 1 for vectors, 3 for images.

    Source: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, appendix B, https://arxiv.org/abs/1705.07057. There the final statistics are those of the
    whole training set.
    """

    features: int
    momentum: float = 0.99
    epsilon: float = 1e-5
    event_ndims: int = 1

    @nn.compact
    def __call__(self, context: Array | None = None) -> Bijector:
        mean = self.variable(RUNNING, "mean", jnp.zeros, (self.features,))
        variance = self.variable(RUNNING, "variance", jnp.ones, (self.features,))
        beta = self.param("beta", nn.initializers.zeros, (self.features,))
        gamma = self.param("gamma", nn.initializers.zeros, (self.features,))
        return BatchNorm(mean.value, variance.value, beta, gamma, self.epsilon, self.event_ndims)

    def observe(
        self, x: Array, context: Array | None = None, mask: Array | None = None
    ) -> tuple[Array, Array]:
        bijector = self(context)
        if not self.is_mutable_collection(RUNNING) or _positions(x) < 2:
            return bijector.inverse_and_log_det(x)
        weights = over_sites(mask, self.event_ndims)
        values = dict(zip(("mean", "variance"), moments(x, weights)))
        # The first batch replaces the running statistics, or 0 and 1 would fade from them over
        # hundreds of steps.
        keep = 0.0 if self.is_initializing() else self.momentum
        old: dict[str, Array] = {name: self.get_variable(RUNNING, name) for name in values}
        running = {name: keep * old[name] + (1.0 - keep) * value for name, value in values.items()}
        if weights is not None:  # of fewer than two positions there are no statistics
            enough = jnp.broadcast_to(weights, x.shape).sum() >= 2 * x.shape[-1]
            values = {name: jnp.where(enough, new, old[name]) for name, new in values.items()}
            running = {name: jnp.where(enough, new, old[name]) for name, new in running.items()}
        for name, value in running.items():
            self.put_variable(RUNNING, name, value)
        beta: Array = self.get_variable("params", "beta")
        gamma: Array = self.get_variable("params", "gamma")
        bijector = BatchNorm(
            values["mean"], values["variance"], beta, gamma, self.epsilon, self.event_ndims
        )
        return bijector.inverse_and_log_det(x)


def _positions(x: Array) -> int:
    """Number of values behind each channel's statistics."""
    return math.prod(x.shape[:-1])
