"""Variational rejection sampling: a posterior sharpened by the model's own judgement."""

import jax
import jax.numpy as jnp

from dgmjax.contracts import given, is_initialising, log_joint
from dgmjax.errors import require, require_sizes
from dgmjax.inference.rejection import rejection_sample
from dgmjax.objectives.variational.divergences import hold
from dgmjax.types import Array, Batch, Key, Metrics, PyTree


def variational_rejection(
    model,
    batch: Batch,
    key: Key,
    *,
    num_samples: int = 2,
    acceptance: float = 0.5,
    threshold: float | None = None,
    num_trials: int = 20,
    max_tries: int = 1000,
) -> tuple[Array, Metrics]:
    """The negative ELBO of the resampled posterior r(z | x) = q(z | x) a(z) / E_q[a].

    A proposal z ~ q is accepted with probability a(z) = sigmoid(log p(x, z) - log q(z | x) + T):
    a threshold T of plus infinity leaves q as it is, and r tends to p(z | x) as T falls, at the
    price of more tries. With A = log p - log (q a), the gradient of the bound E_r[A] + log E_q[a]
    is E_r[grad log p] + Cov_r(A, grad log (q a)): no reparameterisation, so that latents may be
    discrete. T counts as a constant.

    The gradient is unbiased; the value is low by the Jensen gap of a log mean of `num_trials`.

    Args:
      num_samples: accepted samples per example, at least 2 for a covariance.
      acceptance: sets T for each example: this share of proposals is accepted with probability 1/2
        or more. In (0, 1].
      threshold: T itself, in nats, for all examples, instead of `acceptance`.
      num_trials: proposals that estimate T, and as many that estimate E_q[a].
      max_tries: after which the last proposal is taken.

    Returns:
      loss `[B]`; metrics `bound`, `acceptance` (the estimate of E_q[a]), `tries` of a sample and
      `refused`, the share of samples for which `max_tries` did not suffice.

    Source: Grover, Gummadi, Lazaro-Gredilla, Schuurmans & Ermon, "Variational Rejection Sampling",
    2018, Eq. 5 and Theorem 1, https://arxiv.org/abs/1804.01712.
    """
    require_sizes(num_trials=num_trials, max_tries=max_tries)
    require(num_samples >= 2, "num_samples", "must be at least 2", num_samples)
    require(0.0 < acceptance <= 1.0, "acceptance", "must be in (0, 1]", acceptance)
    starting = is_initialising(model)
    model, x = given(model, batch), batch["x"]
    q = model.posterior(x)
    if starting:  # parameters cannot be made within a loop
        z = q.sample(seed=key, sample_shape=(num_samples,))
        return -(log_joint(model, x, z) - q.log_prob(z)).mean(0), {}
    keys = jax.random.split(key, 3)
    held = hold(q)

    def draw(key: Key, count: int) -> tuple[PyTree, Array]:
        z = held.sample(seed=key, sample_shape=(count,))
        return jax.lax.stop_gradient((z, log_joint(model, x, z) - held.log_prob(z)))

    if threshold is None:
        t = jnp.quantile(-draw(keys[0], num_trials)[1], acceptance, axis=0)
    else:
        t = jnp.full((len(x),), threshold)
    log_normaliser = jax.nn.logsumexp(jax.nn.log_sigmoid(draw(keys[1], num_trials)[1] + t), axis=0)
    log_normaliser = log_normaliser - jnp.log(num_trials)

    # The sampler takes one axis of independent samples: those of all examples at once.
    flat = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)

    def propose(key: Key, count: int) -> PyTree:
        return flat(draw(key, count // len(x)))

    def log_acceptance(proposal: PyTree) -> Array:
        return jax.nn.log_sigmoid(proposal[1] + jnp.tile(t, num_samples))

    found = rejection_sample(keys[2], propose, log_acceptance, num_samples * len(x), max_tries)
    shape = (num_samples, len(x))
    z = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found.value[0])
    log_p, log_q = log_joint(model, x, z), q.log_prob(z)
    log_r = log_q + jax.nn.log_sigmoid(log_p - log_q + t)
    score = jax.lax.stop_gradient(log_p - log_r)
    bound = score.mean(0) + jax.lax.stop_gradient(log_normaliser)
    covariance = ((score - score.mean(0)) * log_r).sum(0) / (num_samples - 1)
    slope = log_p.mean(0) + covariance
    # The value is the bound's, the gradient that of `slope`.
    loss = -(bound + slope - jax.lax.stop_gradient(slope))
    return loss, {
        "bound": bound,
        "acceptance": jnp.exp(log_normaliser),
        "tries": found.tries.reshape(shape).mean(0).astype(bound.dtype),
        "refused": 1.0 - found.found.reshape(shape).mean(0),
    }
