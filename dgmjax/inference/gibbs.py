"""Gibbs sampling in blocks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.inference.hamiltonian import Info
from dgmjax.inference.kernels import Kernel
from dgmjax.types import Array, Key

Blocks = dict[str, Array]


class Drawn(NamedTuple):
    """Chains at rest: the named blocks of each."""

    position: Blocks


def block_gibbs(conditionals: dict[str, Callable[[Blocks], Any]]) -> Kernel:
    """Draws each block from its conditional given the current values of the others, in turn.

    Needs no gradients: blocks may be discrete. Every draw is accepted. One sweep leaves the joint
    density invariant; over the last block of two alone it is reversible.

    Args:
      conditionals: name of a block -> function of the dict of all blocks, returning the
        distribution of this one given the others; in the order of the sweep.

    Source: Geman & Geman, "Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration
    of Images", 1984, https://doi.org/10.1109/TPAMI.1984.4767596.
    """
    require(len(conditionals) >= 1, "conditionals", "must name at least one block", "none")

    def init(position: Blocks) -> Drawn:
        missing = sorted(set(conditionals) - set(position))
        require(not missing, "position", f"must hold the blocks {sorted(conditionals)}", missing)
        return Drawn(position)

    def step(key: Key, state: Drawn) -> tuple[Drawn, Info]:
        position = dict(state.position)
        for index, (name, conditional) in enumerate(conditionals.items()):
            drawn = conditional(position).sample(seed=jax.random.fold_in(key, index))
            dtype = jnp.asarray(position[name]).dtype
            rule = f"must hold {drawn.dtype} numbers in block {name!r}, as its conditional draws"
            lossy = jnp.issubdtype(drawn.dtype, jnp.inexact) > jnp.issubdtype(dtype, jnp.inexact)
            require(not lossy, "position", rule, dtype)
            position[name] = drawn.astype(dtype)
        always = jnp.ones(())
        return Drawn(position), Info(always, always > 0, always < 0)

    return Kernel(init, step)
