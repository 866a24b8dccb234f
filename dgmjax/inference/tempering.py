"""Tempered transitions: a kernel that joins modes by way of flatter densities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.errors import require
from dgmjax.inference.annealing import Path, anneal
from dgmjax.inference.hamiltonian import Info
from dgmjax.inference.kernels import Kernel
from dgmjax.types import Array, Key, PyTree


def tempered_transitions(
    path: Path, temperatures: np.ndarray | Array, given: PyTree = None
) -> Kernel:
    """A chain is heated from f_1 down a ladder of inverse temperatures b, cooled again, and tested.

    The way there is annealing backwards and the way back annealing forwards; the proposal at its
    end is accepted with min(1, w_forwards / w_backwards), which leaves f_1 invariant. Neighbours of
    the ladder must be close for proposals to be accepted, and its hottest density flat enough for
    the transitions there to travel between modes.

    `init(position)` and `step(key, state)` are those of a kernel, with the states of the path. A
    step costs 2 T transitions.

    Args:
      path: of which f_1 is the target: `hamiltonian_path(base, ratio)`, or that of an RBM.
      temperatures: `[T]`, rising to 1. For powers of a density, f_b = f^b, `base` is 0 and the
        first of them above 0.
      given: leaves `[T, ...]`, of the transitions; for HMC its step sizes, which are best about
        proportional to b^(-1/2).

    Source: Neal, "Sampling from multimodal distributions using tempered transitions", 1996,
    section 3, https://doi.org/10.1007/BF00143556.
    """
    betas = np.asarray(temperatures)
    rule = "must be numbers of at least 0 that increase to 1"
    sound = betas.ndim == 1 and betas.size >= 1 and betas[0] >= 0.0 and betas[-1] == 1.0
    require(sound and bool((np.diff(betas) > 0.0).all()), "temperatures", rule, betas)
    # The hottest density twice: a transition belongs to the second of two neighbours, and where
    # they are equal nothing is weighed.
    ladder = jnp.asarray(np.concatenate([betas[:1], betas]), jnp.result_type(float))
    for leaf in jax.tree.leaves(given):
        rule = f"must hold an entry for each of the {len(betas)} temperatures"
        require(jnp.shape(leaf)[:1] == betas.shape, "given", rule, jnp.shape(leaf))
    given = jax.tree.map(jnp.asarray, given)

    def step(key: Key, state: Any) -> tuple[Any, Info]:
        heat_key, cool_key, accept_key = jax.random.split(key, 3)
        hot, there = anneal(heat_key, path, state, ladder, given, backwards=True)
        proposal, back = anneal(cool_key, path, hot, ladder, given)
        gained = back.log_weight - there.log_weight
        acceptance = jnp.where(jnp.isnan(gained), 0.0, jnp.exp(jnp.minimum(gained, 0.0)))
        draw = jax.random.uniform(accept_key, acceptance.shape, acceptance.dtype)
        accepted = draw < acceptance

        def choose(new: Array, old: Array) -> Array:
            sites = (1,) * (new.ndim - accepted.ndim)
            return jnp.where(accepted.reshape(*accepted.shape, *sites), new, old)

        info = Info(acceptance, accepted, there.divergent + back.divergent > 0)
        return jax.tree.map(choose, proposal, state), info

    return Kernel(path.init, step)
