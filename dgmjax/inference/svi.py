"""Stochastic variational inference: natural gradients of conjugate global latents."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.inference.kernels import Kernel
from dgmjax.types import Array, Batch, Key, PyTree


class Conjugate(NamedTuple):
    """A model of global latents g and, for every example, local ones z_n.

    Given data and local latents, g follows the family of its prior, whose parameters then are the
    prior's plus a sum over examples of statistics t(x_n, z_n). q(g) is of the same family, and the
    parameters of q and prior are pytrees alike.

    Attributes:
      prior: parameters of p(g).
      start: `(key, batch)` to the parameters to start from.
      local: `(parameters, batch)` to the sum over the batch of E_q[t(x_n, z_n)], a pytree like the
        parameters, and E_q[log p(x_n, z_n | g) - log q(z_n)], `[B]` in nats, with the best q(z_n).
        Rows whose `mask` is 0 do not count in the sum.
      divergence: parameters to KL(q(g) || p(g)), in nats.
      draw: `(parameters, key, count)` to examples `[count, ...]` of the model at the mean of q(g).
    """

    prior: PyTree
    start: Callable[[Key, Batch], PyTree]
    local: Callable[[PyTree, Batch], tuple[PyTree, Array]]
    divergence: Callable[[PyTree], Array]
    draw: Callable[[PyTree, Key, int], Array]


class Global(NamedTuple):
    """Parameters of q(g), and the steps taken."""

    step: Array
    parameters: PyTree


class LocalInfo(NamedTuple):
    """Statistics of a step.

    Attributes:
      local: `[B]`, what the examples add to the bound under the parameters before the step.
      rate: weight of the batch.
    """

    local: Array
    rate: Array


def stochastic_variational_inference(
    model: Conjugate, num_examples: int, *, delay: float = 10.0, forgetting: float = 0.7
) -> Kernel:
    """A step of size rho along the natural gradient of the bound, estimated from one batch.

    lambda <- (1 - rho) lambda + rho (eta + N / B sum_n E_q[t(x_n, z_n)]), with the prior's
    parameters eta and rho = (t + delay)^-forgetting in step t. The bound's natural gradient is the
    difference of the two sides' parameters, since Fisher information and the Hessian of the log
    normaliser cancel. `forgetting=0` with all data as the batch is coordinate ascent, whose
    bound never falls.

    `init(parameters)`, of `model.start`; `step(key, state, batch)`, whose key is not read.

    Args:
      num_examples: N, of the whole data.
      delay: at least 1; a larger one makes early steps smaller.
      forgetting: in (0.5, 1] so that steps converge, or 0 for steps of size 1.

    Source: Hoffman, Blei, Wang & Paisley, "Stochastic Variational Inference", 2013, Figure 4 and
    Eq. 26, https://arxiv.org/abs/1206.7051.
    """
    require_sizes(num_examples=num_examples)
    sound = forgetting == 0.0 or 0.5 < forgetting <= 1.0
    require(sound, "forgetting", "must be in (0.5, 1], or 0", forgetting)
    require(forgetting == 0.0 or delay >= 1.0, "delay", "must be at least 1", delay)

    def init(parameters: PyTree) -> Global:
        return Global(jnp.zeros((), jnp.int32), parameters)

    def step(key: Key, state: Global, batch: Batch) -> tuple[Global, LocalInfo]:
        del key
        target, local = conditional(model, state.parameters, batch, num_examples)
        rate = (state.step + delay) ** -forgetting if forgetting else jnp.ones(())
        move = lambda old, new: (1.0 - rate) * old + rate * new
        parameters = jax.tree.map(move, state.parameters, target)
        return Global(state.step + 1, parameters), LocalInfo(local, rate)

    return Kernel(init, step)


def conditional(
    model: Conjugate, parameters: PyTree, batch: Batch, num_examples: int
) -> tuple[PyTree, Array]:
    """eta + N / B sum_n E_q[t(x_n, z_n)], the parameters of q(g) that are best for a batch that
    stands for N examples, and what each example adds to the bound, `[B]`."""
    statistics, local = model.local(parameters, batch)
    scale = num_examples / jnp.maximum(weights_of(batch).sum(), 1.0)
    add = lambda prior, total: prior + scale * total
    return jax.tree.map(add, model.prior, statistics), local


def global_bound(model: Conjugate, parameters: PyTree, batch: Batch) -> Array:
    """The bound on log p(x_1..B), in nats: of the examples, less KL(q(g) || p(g))."""
    _, local = model.local(parameters, batch)
    return (weights_of(batch) * local).sum() - model.divergence(parameters)


def weights_of(batch: Batch) -> Array:
    """1 for rows of data and 0 for padding, `[B]`."""
    return jnp.asarray(batch.get("mask", jnp.ones(len(batch["x"]))), jnp.result_type(float))
