"""Coupling layers over any split; only the transformed part is computed."""

from collections.abc import Callable
from typing import Any

from dgmjax.bijectors.base import (
    Bijector,
    as_float,
    broadcast_context,
    check_event,
    predicted,
    require_finite,
    sum_last,
)
from dgmjax.bijectors.partitions import as_partition
from dgmjax.bijectors.transformers import Transformer
from dgmjax.errors import require
from dgmjax.types import Array, PyTree


class Coupling(Bijector):
    """x_A = z_A and x_B = tau(z_B; theta(z_A)), with tau an elementwise bijector.

    forward: x_B = tau(z_B; theta(z_A)), log_det = sum_B log|tau'(z_B)|
    inverse: z_B = tau^-1(x_B; theta(x_A)), log_det = -sum_B log|tau'(z_B)|

    Both directions cost one pass of the conditioner. tau runs on the entries of B only.

    Args:
      split: `halves()`, `alternating()`, `channel()` or `checkerboard()` (each with `swap`), a
        boolean mask of the event shape (True: transformed), or the indices of B.
      conditioner: a pytree, `conditioner(kept, context) -> params`. By the split:
        halves, alternating, channel: `kept[..., *lead, n_A]`, `params[..., *lead, n_B, P]`
        (`lead` is the event shape without its last axis: images stay images);
        mask on a vector: `kept[..., n_A]`, `params[..., n_B, P]`;
        checkerboard, mask on an image: `kept[..., *event_shape]` with zeros in place of B,
        `params[..., *event_shape, P]`, of which only those of B are used.
        P is `transformer.num_params`.
      transformer: the family of tau, such as `Affine()`.
      event_shape: the shape of one event.
      context: handed to the conditioner, `[..., C]`, broadcast against the batch.
      context_ndims: rank of the context of one example.

    Sources: Dinh, Krueger & Bengio, "NICE: Non-linear Independent Components Estimation", 2014,
    section 3.2, https://arxiv.org/abs/1410.8516; Dinh, Sohl-Dickstein & Bengio, "Density Estimation
    using Real NVP", 2016, Eq. 4 to 8, https://arxiv.org/abs/1605.08803.
    """

    def __init__(
        self,
        split: Any,
        conditioner: Callable[..., Array],
        transformer: Transformer,
        event_shape: tuple[int, ...],
        context: PyTree | None = None,
        context_ndims: int = 1,
    ) -> None:
        event_shape = tuple(int(size) for size in event_shape)
        require(len(event_shape) >= 1, "event_shape", "must have at least 1 dimension", event_shape)
        require(
            callable(conditioner), "conditioner", "must be callable", type(conditioner).__name__
        )
        require_finite("conditioner", conditioner)
        super().__init__(event_ndims_in=len(event_shape))
        self.partition = as_partition(split, event_shape)
        self.conditioner = conditioner
        self.transformer = transformer
        self.event_shape = event_shape
        self.context = context
        self.context_ndims = context_ndims

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        return self._apply(x, "forward_and_log_det")

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        return self._apply(y, "inverse_and_log_det")

    def _apply(self, x: Array, direction: str) -> tuple[Array, Array]:
        x = as_float(x)
        ndims = len(self.event_shape)
        check_event(self, x, self.event_shape)
        x, context = broadcast_context(x, ndims, self.context, self.context_ndims)
        with predicted():
            # The entries that are kept are the same before and after: both directions compute the
            # same theta.
            tau = self.transformer(self._params(x, context))
        changed, log_det = getattr(tau, direction)(self.partition.changed(x))
        return self.partition.merge(x, changed), sum_last(log_det, log_det.ndim - x.ndim + ndims)

    def _params(self, x: Array, context: PyTree | None) -> Array:
        params = self.conditioner(self.partition.kept(x), context)
        batch = x.shape[: x.ndim - len(self.event_shape)]
        wanted = (*batch, *self.partition.params_shape, self.transformer.num_params)
        require(
            params.shape == wanted,
            "conditioner",
            f"must return parameters of shape {wanted} for {self.transformer}",
            f"shape {params.shape}",
        )
        return self.partition.params(as_float(params))
