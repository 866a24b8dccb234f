"""Distribution function of a mixture of logistics, as a map of the line."""

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_batch, require_finite
from dgmjax.bijectors.solver import check_converged, solve_increasing
from dgmjax.errors import require
from dgmjax.shapes import check_shapes
from dgmjax.types import Array


class ElementwiseLogisticMixture(Bijector):
    """z = logit F(x), with F the distribution function of K logistics: data to base is cheap.

    inverse: z = logit F(x), F(x) = sum_k pi_k sigmoid((x - m_k) / s_k),
             log_det = log F'(x) - log F(x) - log(1 - F(x)), all in log space
    forward: x solves logit F(x) = z; the root lies between min_k and max_k of m_k + s_k z

    If z is logistic, x has exactly this mixture as its distribution.

    Means are `mean_bound tanh(. / mean_bound)` and log-scales `scale_bound tanh(. / scale_bound)`:
    between two distant, narrow modes F is so flat that float32 cannot invert it.

    Args:
      params: `[..., 3 K]`: K logits of pi, K means, K log-scales; zeros give the identity.
      num_components: K.
      mean_bound, scale_bound: see above.

    Source: Ho, Chen, Srinivas, Duan & Abbeel, "Flow++: Improving Flow-Based Generative Models with
    Variational Dequantization and Architecture Design", 2019, section 3.2,
    https://arxiv.org/abs/1902.00275.
    """

    def __init__(
        self,
        params: Array,
        num_components: int,
        mean_bound: float = 10.0,
        scale_bound: float = 1.5,
    ) -> None:
        self.params = as_float(params)
        require(num_components >= 1, "num_components", "must be at least 1", num_components)
        check_shapes(self, params=f"... {3 * num_components}")
        require(mean_bound > 0, "mean_bound", "must be positive", mean_bound)
        require(scale_bound > 0, "scale_bound", "must be positive", scale_bound)
        require_finite("params", self.params)
        super().__init__(event_ndims_in=0)
        self.mean_bound, self.scale_bound = float(mean_bound), float(scale_bound)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x = as_float(y)
        check_batch(self, x.shape, self.params.shape[:-1])
        return self._logit_cdf(x)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        check_batch(self, z.shape, self.params.shape[:-1])
        y = check_converged(_solve(self, z), z + self.params.sum(-1))
        return y, -self._logit_cdf(y)[1]

    def _solve(self, z: Array) -> Array:
        _, means, log_scales = self._constrained()
        # At y = m_k + s_k z, component k alone reaches sigmoid(z). At the least of these points no
        # component is above it, at the greatest none below, and F is their average. The margin
        # covers the rounding of the ends.
        ends = means + jnp.exp(log_scales) * z[..., None]
        lower, upper = ends.min(-1), ends.max(-1)
        margin = 1e-5 * (1 + jnp.abs(lower) + jnp.abs(upper))
        z = jnp.broadcast_to(z, lower.shape)
        return solve_increasing(lambda y: self._logit_cdf(y)[0] - z, lower - margin, upper + margin)

    def _constrained(self) -> tuple[Array, Array, Array]:
        logits, means, log_scales = jnp.split(self.params, 3, axis=-1)
        return (
            jax.nn.log_softmax(logits, axis=-1),
            self.mean_bound * jnp.tanh(means / self.mean_bound),
            self.scale_bound * jnp.tanh(log_scales / self.scale_bound),
        )

    def _logit_cdf(self, x: Array) -> tuple[Array, Array]:
        log_weights, means, log_scales = self._constrained()
        u = (x[..., None] - means) * jnp.exp(-log_scales)
        below, above = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
        log_cdf = jax.nn.logsumexp(log_weights + below, axis=-1)
        log_survival = jax.nn.logsumexp(log_weights + above, axis=-1)
        # Far out, log F' and the log of the smaller tail are large and nearly equal: their
        # largest term is taken out of both.
        right = (log_survival < log_cdf)[..., None]
        tail = log_weights + jnp.where(right, above, below)
        tail = tail - jax.lax.stop_gradient(tail.max(axis=-1, keepdims=True))
        # sigmoid'(u) = sigmoid(u) sigmoid(-u): of the two factors `tail` has one, this adds the
        # other.
        density = tail + jnp.where(right, below, above) - log_scales
        log_det = jax.nn.logsumexp(density, axis=-1) - jax.nn.logsumexp(tail, axis=-1)
        return log_cdf - log_survival, log_det - jnp.maximum(log_cdf, log_survival)


# Compiled by itself, so that calls outside of `jit` do not compile the loop each time.
_solve = jax.jit(ElementwiseLogisticMixture._solve)
