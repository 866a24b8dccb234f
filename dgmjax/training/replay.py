"""Replay: detects hardware that computes wrongly, by running a step twice.

A flipped bit in an arithmetic unit or in memory raises no error. The same compiled program on the
same device and the same inputs gives the same bits, so any difference is a fault. `Replay` runs one
step in N twice and compares the resident data with their fingerprint of N steps before. Between
compiled calls it also compares the state with its fingerprint at the end of the last call. It
cannot detect a bit of the state that flips inside a compiled call, outside the step that is run
twice.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.errors import HardwareFault, require
from dgmjax.types import Array, PyTree


class Replay:
    """Runs steps, and one in `every` twice.

    Args:
      every: steps between checks, at least 1.

    Raises:
      HardwareFault: (by `run`) bits differ.
    """

    def __init__(self, every: int):
        require(every >= 1, "replay_every", "must be at least 1", every)
        self.every = every
        self._seen: Array | None = None
        self._data: Array | None = None

    def run(self, runner: Any, tree: dict[str, PyTree], step: int, count: int) -> tuple:
        """`runner.run(state, sums, step, count)`; calls must end at multiples of N."""
        if self._seen is not None:
            self._compare(self._seen, fingerprint(tree["state"]), f"in memory, before step {step}")
        # The data first: a flip in them would make both runs of the step agree on a wrong number.
        if step % self.every == 0:
            self._check_data(getattr(runner, "arrays", {}), step)
            # A compiled step takes its arguments' memory (donation), so the second run needs a
            # copy.
            again = jax.tree.map(jnp.copy, tree)
            state, sums, taken = runner.run(tree["state"], tree["sums"], step, 1)
            state2, sums2, _ = runner.run(again["state"], again["sums"], step, 1)
            self._compare(
                fingerprint((state, sums)), fingerprint((state2, sums2)), f"in step {step}"
            )
        else:
            state, sums, taken = runner.run(tree["state"], tree["sums"], step, count)
        self._seen = fingerprint(state).block_until_ready()  # before anything can flip
        return state, sums, taken

    def _check_data(self, arrays: PyTree, step: int) -> None:
        """Compares the data on the device with their first fingerprint."""
        if jax.tree.leaves(arrays):
            now = fingerprint(arrays)
            self._data = now if self._data is None else self._data
            self._compare(self._data, now, f"of the data, before step {step}")

    def forget(self) -> None:
        """The caller has replaced the state itself."""
        self._seen = None

    def _compare(self, first: Array, second: Array, where: str) -> None:
        if not bool(_same(first, second)):
            raise HardwareFault(
                f"Bits of training changed {where}, although the same program ran on the "
                f"same numbers: memory or a processor of {jax.devices()[0].device_kind} is faulty. "
                "Move to other hardware and start the same command again; it resumes from the "
                "newest checkpoint."
            )


@jax.jit
def fingerprint(tree: PyTree) -> Array:
    """Two 32-bit sums of the bits of each array, `[arrays, 2]` uint32: every single flip shows.

    One is plain, the other has odd weights 1, 3, 5, ..: a flip of bit k changes them by 2^k and by
    an odd multiple of it, neither of which is 0 modulo 2^32. Both come from one reduction (7 ms for
    157 MB); XLA's CPU code for two `sum`s took 36 times as long.
    """
    zeros = (jnp.uint32(0), jnp.uint32(0))
    add = lambda a, b: (a[0] + b[0], a[1] + b[1])

    def one(leaf: Array) -> Array:
        bits = _bits(leaf).reshape(-1)
        # Pairs of flips that cancel in the plain sum show here, but for two of the highest bit.
        weights = jnp.arange(bits.size, dtype=jnp.uint32) * jnp.uint32(2) + jnp.uint32(1)
        return jnp.stack(jax.lax.reduce((bits, bits * weights), zeros, add, (0,)))

    return jnp.stack([one(leaf) for leaf in jax.tree.leaves(tree)])


def _bits(leaf: Array) -> Array:
    """The bits of an array as uint32."""
    if leaf.dtype == bool:
        return leaf.astype(jnp.uint32)
    size = leaf.dtype.itemsize
    unsigned: Callable[[int], Any] = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}.get
    return jax.lax.bitcast_convert_type(leaf, unsigned(size)).astype(jnp.uint32)


@jax.jit
def _same(first: Array, second: Array) -> Array:
    return (first == second).all()
