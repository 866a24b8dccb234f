"""Multi-scale flows: after each level, half of the channels go straight to the base."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import Bijector, as_float, check_event
from dgmjax.errors import require
from dgmjax.types import Array


class MultiScale(Bijector):
    """A flat base vector z = (z_1, ..., z_L) to an image, through L levels.

    inverse: h_0 = x; at level l < L, levels[l]^-1(h) is split along its channels into h_l (the
             first half goes on) and z_l (the rest is done); z_L is the whole of the last level.
    forward: the way back.
    log_det: the sum over the levels.

    The base `[D]` holds the z_l, each flattened, finest first: `base_shapes` gives their shapes
    and `split_base` takes a base vector apart, for a base that is not standard normal.

    Args:
      levels: bijectors from the finest (beside the data) to the coarsest, each for an event of
        rank 3, typically `compose(steps, Squeeze())`.
      event_shape: `[H, W, C]` of the image.

    Source: Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real NVP", 2016, Eq. 13 to 15,
    https://arxiv.org/abs/1605.08803.
    """

    def __init__(self, levels: Sequence[Bijector], event_shape: tuple[int, ...]) -> None:
        event_shape = tuple(int(size) for size in event_shape)  # type: ignore[assignment]
        require(len(event_shape) == 3, "event_shape", "must be [H, W, C]", event_shape)
        require(len(levels) >= 1, "levels", "must hold at least one bijector", len(levels))
        self.levels = tuple(levels)
        self.event_shape = event_shape
        self.level_shapes = self._level_shapes()
        super().__init__(event_ndims_in=1, event_ndims_out=3)

    def _level_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each level's base side, before it is split."""
        shape, shapes = self.event_shape, []
        for index, level in enumerate(self.levels):
            # Abstract evaluation: a level may be fifty couplings, of which only the output's shape
            # is asked.
            zeros = jax.ShapeDtypeStruct(shape, jnp.float32)
            shape = jax.eval_shape(level.inverse, zeros).shape
            require(
                len(shape) >= 3,
                f"levels[{index}]",
                "must map images to images",
                f"a base side of shape {shape}",
            )
            shape = shape[-3:]
            shapes.append(shape)
            require(
                index == len(self.levels) - 1 or shape[-1] >= 2,
                f"levels[{index}]",
                "must give at least 2 channels, so that neither half is empty",
                f"a base side of shape {shape}",
                "Squeeze first.",
            )
            shape = (*shape[:2], shape[-1] // 2)
        return tuple(shapes)

    @property
    def base_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of z_1, ..., z_L."""
        done = tuple((*s[:2], s[-1] - s[-1] // 2) for s in self.level_shapes[:-1])
        return (*done, self.level_shapes[-1])

    def split_base(self, z: Array) -> list[Array]:
        """`z[..., D]` to `[z_1, ..., z_L]`, each of its own shape."""
        parts, start = [], 0
        for shape in self.base_shapes:
            size = math.prod(shape)
            parts.append(z[..., start : start + size].reshape(*z.shape[:-1], *shape))
            start += size
        return parts

    def forward_and_log_det(self, x: Array) -> tuple[Array, Array]:
        z = as_float(x)
        check_event(self, z, (math.prod(self.event_shape),))
        *done, hidden = self.split_base(z)
        total = jnp.zeros(z.shape[:-1], z.dtype)
        for level in reversed(self.levels):
            hidden, log_det = level.forward_and_log_det(hidden)
            total = total + _per_event(log_det, level)
            # The coarsest part is where the way back begins; finer ones join from the end of the
            # list.
            if done:
                finer = done.pop()
                # A level with a batch of parameters adds axes.
                batch = jnp.broadcast_shapes(hidden.shape[:-3], finer.shape[:-3])
                halves = (jnp.broadcast_to(h, batch + h.shape[-3:]) for h in (hidden, finer))
                hidden = jnp.concatenate(tuple(halves), axis=-1)
        return hidden, total

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        hidden = as_float(y)
        check_event(self, hidden, self.event_shape)
        batch = hidden.shape[:-3]
        parts, total = [], jnp.zeros(batch, hidden.dtype)
        for index, level in enumerate(self.levels):
            hidden, log_det = level.inverse_and_log_det(hidden)
            total = total + _per_event(log_det, level)
            if index < len(self.levels) - 1:
                half = hidden.shape[-1] // 2
                hidden, done = hidden[..., :half], hidden[..., half:]
                parts.append(done)
        parts.append(hidden)
        batch = hidden.shape[:-3]
        # Parts that are done before a level with a batch of parameters have none of its axes.
        parts = [jnp.broadcast_to(part, batch + part.shape[-3:]) for part in parts]
        flat = [part.reshape(*batch, math.prod(part.shape[-3:])) for part in parts]
        return jnp.concatenate(flat, axis=-1), total


def _per_event(log_det: Array, level: Bijector) -> Array:
    """The log-determinant of a level of lower rank is summed over the rest of the image."""
    return log_det.sum(axis=tuple(range(-(3 - level.event_ndims_in), 0)))
