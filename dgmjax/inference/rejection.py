"""Rejection sampling, exact and variational."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Key, PyTree


class Rejected(NamedTuple):
    """Accepted samples.

    Attributes:
      value: `[N, ...]` each leaf.
      tries: `[N]`, proposals that each took.
      found: `[N]`, False where `max_tries` did not suffice; the value is then the last proposal.
    """

    value: PyTree
    tries: Array
    found: Array


def rejection_sample(
    key: Key,
    propose: Callable[[Key, int], PyTree],
    log_acceptance: Callable[[PyTree], Array],
    num_samples: int,
    max_tries: int = 10_000,
) -> Rejected:
    """Samples of q(z) a(z) / E_q[a], where a proposal z is taken with probability a(z) <= 1.

    With log a = log p - log q - log M it samples p exactly, if M bounds p / q; larger values count
    as 1. With log a = -softplus(-(log p(x, z) - log q(z | x) + T)) it is the resampled posterior of
    variational rejection sampling, whose threshold T trades time for tightness.

    Args:
      propose: a key and a count to proposals `[count, ...]`, an array or a pytree of arrays.
      log_acceptance: proposals to log a, `[count]`.

    Sources: von Neumann, "Various techniques used in connection with random digits", 1951,
    https://mcnp.lanl.gov/pdf_files/InBook_Computing_1961_Neumann_JohnVonNeumannCollectedWorks_VariousTechniquesUsedinConnectionwithRandomDigits.pdf;
    Grover, Gummadi, Lazaro-Gredilla, Schuurmans & Ermon, "Variational Rejection Sampling", 2018,
    Eq. 5, https://arxiv.org/abs/1804.01712.
    """
    require_sizes(num_samples=num_samples, max_tries=max_tries)

    def going_on(carry):
        _, _, tries, found = carry
        return (~found & (tries < max_tries)).any()

    def body(carry):
        key, value, tries, found = carry
        key, propose_key, accept_key = jax.random.split(key, 3)
        proposal = propose(propose_key, num_samples)
        # A draw of 0 has the logarithm -inf, which is not below an acceptance of -inf: what must
        # never be taken never is.
        draw = jnp.log(jax.random.uniform(accept_key, (num_samples,)))
        log_a = log_acceptance(proposal)
        rule = f"must return one number for each proposal, [{num_samples}]"
        shape = jnp.shape(log_a)
        require(shape == (num_samples,), "log_acceptance", rule, f"shape {shape}")
        taken = draw < log_a
        # All samples propose in every turn, since the loop is one for the batch; those that are
        # found ignore what follows.
        open_ = ~found & (tries < max_tries)
        keep = lambda new, old: jnp.where(open_.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
        return (
            key,
            jax.tree.map(keep, proposal, value),
            tries + open_,
            found | (open_ & taken),
        )

    shapes = jax.eval_shape(lambda key: propose(key, num_samples), key)
    counts = [leaf.shape[:1] for leaf in jax.tree.leaves(shapes)]
    rule = f"must return arrays of the {num_samples} proposals that it is asked for"
    sound = bool(counts) and all(count == (num_samples,) for count in counts)
    require(sound, "propose", rule, shapes)
    start = (
        key,
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
        jnp.zeros((num_samples,), jnp.int32),
        jnp.zeros((num_samples,), bool),
    )
    _, value, tries, found = jax.lax.while_loop(going_on, body, start)
    return Rejected(value, tries, found)
