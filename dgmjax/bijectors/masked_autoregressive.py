"""Autoregressive layers: MAF as it stands, IAF through `Inverse`."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import (
    Bijector,
    as_float,
    broadcast_context,
    check_ndims,
    predicted,
    require_finite,
    sum_last,
)
from dgmjax.bijectors.carry import scan, varying
from dgmjax.bijectors.conditioner import AutoregressiveNetwork
from dgmjax.bijectors.transformers import Transformer
from dgmjax.contracts import runs_step_by_step
from dgmjax.errors import require
from dgmjax.types import Array, PyTree

FORWARD_METHODS = ("incremental", "naive", "jacobi")


class MaskedAutoregressive(Bijector):
    """x_i = tau(z_i; theta_i(x_1, ..., x_{i-1})), with tau an elementwise bijector.

    inverse (density): z_i = tau^-1(x_i; theta_i(x_{<i})), one parallel pass of the network
    forward (sampling): sequential, since theta_i needs x_{<i}
    log_det = sum_i log|tau'(z_i; theta_i)|: the Jacobian is lower triangular

    Args:
      network: `theta = network(x[..., D], context)[..., D, num_params]`, a pytree; see
        `AutoregressiveNetwork`.
      transformer: the family of tau, such as `Affine()`.
      event_ndims: rank of the event. More than one dimension is read in row-major order.
      context: what the network is conditioned on, `[..., C]`, broadcast against the batch.
      forward_method: how the sequential direction, which is `forward` here, is run:
        "incremental" uses the network's `init_carry` and `step`, and costs about one pass;
        "naive" runs D full passes (the reference, for networks without `step`);
        "jacobi" iterates x <- tau(z; theta(x)) on all entries until nothing changes: exact,
        D + 1 passes at most, often far fewer. All three are differentiable in both modes
        ("jacobi" implicitly, by the same iteration on the triangular linear system).
      context_ndims: rank of the context of one example.

    `Inverse(MaskedAutoregressive(...))` is IAF: sampling in one pass.

    Sources: Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, Eq. 3 to 5, https://arxiv.org/abs/1705.07057; Song, Meng, Liao & Ermon, "Accelerating
    Feedforward Computation via Parallel Nonlinear Equation Solving", 2021, Algorithm 1, for Jacobi,
    https://arxiv.org/abs/2002.03629.
    """

    def __init__(
        self,
        network: AutoregressiveNetwork,
        transformer: Transformer,
        event_ndims: int = 1,
        context: PyTree | None = None,
        forward_method: str = "incremental",
        context_ndims: int = 1,
    ) -> None:
        require(callable(network), "network", "must be callable", type(network).__name__)
        require(event_ndims >= 1, "event_ndims", "must be at least 1", event_ndims)
        require(
            forward_method in FORWARD_METHODS,
            "forward_method",
            f"must be one of {FORWARD_METHODS}",
            repr(forward_method),
        )
        require(
            forward_method != "incremental" or runs_step_by_step(network),
            "network",
            'must have `init_carry` and `step` for forward_method="incremental"',
            type(network).__name__,
            'Give them, or choose forward_method="naive" or "jacobi".',
        )
        require_finite("network", network)
        super().__init__(event_ndims_in=event_ndims)
        self.network = network
        self.transformer = transformer
        self.context = context
        self.forward_method = forward_method
        self.context_ndims = context_ndims

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        x, context, event_shape = self._flatten(y)
        z, log_det = self._tau(x, context).inverse_and_log_det(x)
        return z.reshape(z.shape[:-1] + event_shape), sum_last(log_det, 1)

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z, context, event_shape = self._flatten(x)
        if z.dtype != jnp.result_type(float):
            # A point of lower precision than the parameters: the loops keep one type throughout.
            z = z.astype(jax.eval_shape(lambda z: self._tau(z, context).forward(z), z).dtype)
        run = {"incremental": self._incremental, "naive": self._naive, "jacobi": self._jacobi}
        y, log_det = run[self.forward_method](z, context)
        return y.reshape(y.shape[:-1] + event_shape), log_det

    def elementwise(self, x: Array) -> Bijector:
        """tau of every entry given the entries of x before it, `[..., D]`: one parallel pass."""
        x, context, _ = self._flatten(x)
        return self._tau(x, context)

    def _flatten(self, x: Array) -> tuple[Array, PyTree | None, tuple[int, ...]]:
        x = as_float(x)
        ndims = self.event_ndims_in
        check_ndims(self, x, ndims)
        x, context = broadcast_context(x, ndims, self.context, self.context_ndims)
        event_shape = x.shape[x.ndim - ndims :]
        size = math.prod(event_shape)
        return x.reshape(*x.shape[: x.ndim - ndims], size), context, event_shape

    def _tau(self, x: Array, context: PyTree | None) -> Bijector:
        """The elementwise bijector of all positions, by one parallel pass."""
        with predicted():
            return self.transformer(self._check(self.network(x, context), x.shape))

    def _check(self, params: Any, shape: tuple[int, ...]) -> Array:
        wanted = (*shape, self.transformer.num_params)
        require(
            params.shape == wanted,
            "network",
            f"must return parameters of shape {wanted} for {self.transformer}",
            f"shape {params.shape}",
        )
        return as_float(params)

    def _incremental(self, z: Array, context: PyTree | None) -> tuple[Array, Array]:
        batch = z.shape[:-1]

        def body(state: Any, entry: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
            carry, previous = state
            index, z_i = entry
            carry, params = self.network.step(carry, previous, index)
            with predicted():
                tau = self.transformer(self._check(params, batch))
            x_i, log_det = tau.forward_and_log_det(z_i)
            return (carry, x_i), (x_i, log_det)

        start = (self.network.init_carry(batch, context), jnp.zeros(batch, z.dtype))
        entries = (jnp.arange(z.shape[-1]), jnp.moveaxis(z, -1, 0))
        _, (x, log_det) = scan(body, start, entries)
        return jnp.moveaxis(x, 0, -1), as_float(log_det).sum(axis=0)

    def _naive(self, z: Array, context: PyTree | None) -> tuple[Array, Array]:
        def body(x: Array, index: Array) -> tuple[Array, None]:
            # All entries are computed, and the one kept whose predecessors are final.
            new = self._tau(x, context).forward(z)
            return jnp.where(jnp.arange(z.shape[-1]) == index, new, x), None

        x, _ = scan(body, jnp.zeros_like(z), jnp.arange(z.shape[-1]))
        return self._at_solution(x, z, context)

    def _jacobi(self, z: Array, context: PyTree | None) -> tuple[Array, Array]:
        depth = z.shape[-1]

        def residual(x: Array) -> Array:
            # After k passes the first k entries are final: entry i depends on those before it only.
            # So D passes suffice, although no pass contracts anything.
            return x - self._tau(x, context).forward(z)

        def solve(_: Any, start: Array) -> Array:
            return _iterate(lambda x: self._tau(x, context).forward(z), start, depth)

        def tangent_solve(matvec: Any, b: Array) -> Array:
            # matvec is I - N with N strictly lower triangular, so this ends after D steps.
            def triangular(matvec: Any, b: Array) -> Array:
                return _iterate(lambda u: u + (b - matvec(u)), b, depth)

            # The transpose, I - N^T, is solved by the same iteration: N^T is nilpotent, too.
            return jax.lax.custom_linear_solve(matvec, b, triangular, triangular)

        x = jax.lax.custom_root(residual, jnp.zeros_like(z), solve, tangent_solve)
        return self._at_solution(x, z, context)

    def _at_solution(self, x: Array, z: Array, context: PyTree | None) -> tuple[Array, Array]:
        _, log_det = self._tau(x, context).forward_and_log_det(z)
        return x, sum_last(log_det, 1)


def _iterate(function: Any, start: Array, depth: int) -> Array:
    """Applies `function` until nothing changes, at most `depth` times (then exact)."""

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        count, _, changed = state
        return (count < depth) & changed

    def body(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, x, _ = state
        new = function(x)
        return count + 1, new, jnp.any(new != x)

    state = varying((jnp.array(0), start, jnp.array(True)), body)
    return jax.lax.while_loop(unfinished, body, state)[1]
