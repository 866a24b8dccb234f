"""Exact evaluation by annealing: a lower and an upper bound on log p(x) of any decoder.

Works for every model with a prior to sample from and a joint density over real latents, however it
was trained: VAEs with any posterior, generators of adversarial nets and moment matching behind a
fixed observation (`FixedObservation`).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import (
    given,
    in_original_units,
    is_conditional,
    is_latent_variable_model,
    log_joint,
    log_likelihood,
)
from dgmjax.distributions.discrete import is_discrete
from dgmjax.errors import require, require_sizes
from dgmjax.inference.annealing import (
    Annealed,
    annealed_importance_sampling,
    effective_chains,
    log_mean_weight,
)
from dgmjax.inference.annealing_trials import tuned_step_sizes
from dgmjax.inference.temperatures import SCHEDULES
from dgmjax.types import Array, Batch, Key, Metrics, PyTree


@dataclass(frozen=True)
class Annealing:
    """How chains are annealed to the posterior p(z | x).

    The weights are unbiased wherever chains start. The way from the model's own q(z | x) is the
    shorter one where the encoder is good, and may be far longer where it is not: on data simulated
    by a sharp decoder, which an encoder of real data has never seen. The gap tells.

    Attributes:
      chains: per example.
      temperatures: transitions of a chain.
      schedule: "geometric", "sigmoid" (the published one) or "linear".
      leapfrog_steps: of a transition.
      start: "prior", which every decoder has, or "posterior", which needs an encoder.
    """

    chains: int = 16
    temperatures: int = 1000
    schedule: str = "geometric"
    leapfrog_steps: int = 10
    start: str = "prior"

    def __post_init__(self):
        require_sizes(
            chains=self.chains,
            temperatures=self.temperatures,
            leapfrog_steps=self.leapfrog_steps,
        )
        names = sorted(SCHEDULES)
        require(self.schedule in names, "schedule", f"must be one of {names}", self.schedule)
        starts = ("prior", "posterior")
        require(self.start in starts, "start", f"must be one of {starts}", self.start)

    @property
    def betas(self) -> np.ndarray:
        """0 to 1, `[temperatures + 1]`."""
        return SCHEDULES[self.schedule](self.temperatures)


class FixedObservation:
    """A generator as a latent-variable model: p(x | z) = N(g(z), scale^2 I).

    Implicit models have no likelihood of their own; this is the usual one to evaluate them by.

    Args:
      model: has `prior()` and `generate(z)`, the image `[..., *event]` of latents.
      scale: standard deviation of the observation, best chosen on validation data.
    """

    def __init__(self, model: Any, scale: float):
        require(scale > 0.0, "scale", "must be positive", scale)
        self.model, self.scale = model, scale

    def prior(self) -> distrax.Distribution:
        """p(z) of the generator."""
        return self.model.prior()

    def likelihood(self, z: PyTree) -> distrax.Distribution:
        """N(g(z), scale^2 I)."""
        mean = self.model.generate(z)
        # z is a vector behind the axes of its batch; the axes of the mean behind those are the
        # event's.
        rank = mean.ndim - jax.tree.leaves(z)[0].ndim + 1
        return distrax.Independent(distrax.Normal(mean, self.scale), max(rank, 1))


def annealed_bound(model: Any, batch: Batch, key: Key, how: Annealing) -> tuple[Array, Metrics]:
    """-log of the mean AIS weight over chains, `[B]`, in nats: an upper bound on -log p(x).

    Chains start in the prior or in q(z | x), see `Annealing`, and end in the posterior. Step sizes
    are tuned on the batch in a trial run and then frozen, so that exp of the bound has no bias.
    Metrics: `effective_chains`, `divergent` (the share of trajectories that were refused because
    their energy exploded), `acceptance`.
    """
    model = given(model, batch) if is_conditional(model) else in_original_units(model, batch)
    base, ratio = path(model, batch["x"], how.start)
    count = len(batch["x"])
    keys = jax.random.split(key, 3)
    start = _start(model, keys[0], batch["x"], how)
    options: dict[str, Any] = {"num_steps": how.leapfrog_steps}
    sizes = tuned_step_sizes(keys[1], base, ratio, start, how.betas, shared=0, **options)
    found = annealed_importance_sampling(keys[2], base, ratio, start, how.betas, sizes, **options)
    return -log_mean_weight(found.log_weight), {
        "effective_chains": effective_chains(found.log_weight),
        "divergent": found.divergent.mean(0) / how.temperatures,
        "acceptance": jnp.full((count,), found.acceptance.mean()),
    }


class Bidirectional(NamedTuple):
    """Bounds on log p(x) of simulated data, `[N]`, in nats.

    Attributes:
      lower: log mean weight of chains to the posterior.
      upper: -log mean inverse weight of chains that start at the latents from which the data were
        made.
      forwards, backwards: the chains.
    """

    lower: Array
    upper: Array
    forwards: Annealed
    backwards: Annealed

    @property
    def gap(self) -> Array:
        """upper - lower; its mean bounds the error of the lower bound."""
        return self.upper - self.lower


def bidirectional(model: Any, key: Key, num: int, how: Annealing) -> Bidirectional:
    """Both bounds on `num` examples drawn from the model.

    Only for these is an exact posterior sample known: the latents that they were made from. For
    real data there is no upper bound.

    Source: Wu, Burda, Salakhutdinov & Grosse, "On the Quantitative Analysis of Decoder-Based
    Generative Models", 2017, section 3.2, https://arxiv.org/abs/1611.04273.
    """
    require_sizes(num=num)
    keys = jax.random.split(key, 6)
    latents = _latents(model, keys[0], (num,))
    x = model.likelihood(latents).sample(seed=keys[1])
    base, ratio = path(model, x, how.start)
    start = _start(model, keys[2], x, how)
    options: dict[str, Any] = {"num_steps": how.leapfrog_steps}
    sizes = tuned_step_sizes(keys[3], base, ratio, start, how.betas, shared=0, **options)
    there = annealed_importance_sampling(keys[4], base, ratio, start, how.betas, sizes, **options)
    # One exact posterior sample starts all backward chains of an example. Each of their weights is
    # unbiased, and so is the mean, although the weights share their start.
    exact = jax.tree.map(lambda z: jnp.broadcast_to(z, (how.chains, *z.shape)), latents)
    back = annealed_importance_sampling(
        keys[5], base, ratio, exact, how.betas, sizes, backwards=True, **options
    )
    lower, upper = log_mean_weight(there.log_weight), -log_mean_weight(-back.log_weight)
    return Bidirectional(lower, upper, there, back)


def _latents(model: Any, key: Key, shape: tuple[int, ...]) -> PyTree:
    """Samples of the prior, which must be real."""
    prior = model.prior()
    z = prior.sample(seed=key, sample_shape=shape)
    require(
        not is_discrete(prior, z),
        "model",
        "must have real latents, since annealed chains follow gradients",
        f"the prior {type(prior).__name__} of discrete ones",
        "Sum over them, or use `objectives.importance_bound`.",
    )
    return z


def _start(model: Any, key: Key, x: Array, how: Annealing) -> PyTree:
    """Where the chains of each example start, leaves `[chains, B, ...]`."""
    if how.start == "prior":
        return _latents(model, key, (how.chains, len(x)))
    _latents(model, key, (1,))  # raises for discrete ones
    return model.posterior(x).sample(seed=key, sample_shape=(how.chains,))


def path(model: Any, x: Array, start: str = "prior") -> tuple[Any, Any]:
    """Two functions of z whose sum is log p(x, z); the first is the density at the start."""
    if start == "prior":
        return lambda z: model.prior().log_prob(z), lambda z: log_likelihood(model, x, z)
    require(
        is_latent_variable_model(model),
        "start",
        'can be "posterior" for a model with a posterior q(z | x) only',
        type(model).__name__,
        'Start in the "prior".',
    )
    q = model.posterior(x)
    return q.log_prob, lambda z: log_joint(model, x, z) - q.log_prob(z)
