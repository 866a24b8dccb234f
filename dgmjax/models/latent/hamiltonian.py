"""Hamiltonian variational inference: leapfrog steps inside the posterior of any model."""

import math
from collections.abc import Callable
from typing import Any, Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.contracts import is_conditional, is_initialising, log_joint
from dgmjax.distributions.base import Distribution, sum_event
from dgmjax.distributions.discrete import is_discrete
from dgmjax.errors import require
from dgmjax.inference.hamiltonian import evaluated, leapfrog
from dgmjax.models.latent.wrapper import Wrapper
from dgmjax.types import Array, Batch, Key

Latents = dict[str, Array]


class Hamiltonian(Wrapper):
    """A latent-variable model whose posterior follows the gradient of its own log p(x, z).

    Latents are pairs of z and a momentum r ~ N(0, I). The posterior draws z_0 ~ q(z | x) and
    r_0 ~ N(0, I), scales r_0 by 1 / prod_k a_k, and makes K leapfrog steps on -log p(x, z),
    multiplying r by a_k (tempering) after the k-th. Leapfrog steps preserve volume and the factors
    cancel, so that q(z_K, r_K | x) = q(z_0 | x) N(r_0; 0, I). Every bound on log p(x, r)
    over these latents is one on log p(x): `elbo`, `iwae`, `importance_bound`.

    Step sizes and factors are parameters. Prior, likelihood and samples are those of the model.
    A step costs a gradient of the likelihood, and training one of second order.

    Attributes:
      model: with real latents z, one array; also a conditional one.
      num_steps: K, at least 0.
      step_size: at the start, of every step and dimension of z.
      largest_step_size: bound on what is learnt.
      tempering: "none", a_k = 1; "fixed", a_k of a quadratic schedule from one parameter, the
        first temperature; "free", one parameter for each a_k in (0, 1).

    Sources: Caterini, Doucet & Sejdinovic, "Hamiltonian Variational Auto-Encoder", 2018, Algorithm
    1 and section 3.2, https://arxiv.org/abs/1805.11633; Salimans, Kingma & Welling, "Markov Chain
    Monte Carlo and Variational Inference: Bridging the Gap", 2015,
    https://arxiv.org/abs/1410.6460.
    """

    num_steps: int = 4
    step_size: float = 0.05
    largest_step_size: float = 0.5
    tempering: Literal["none", "fixed", "free"] = "fixed"

    def __post_init__(self):
        require(self.num_steps >= 0, "num_steps", "must be at least 0", self.num_steps)
        inside = 0.0 < self.step_size < self.largest_step_size
        rule = f"must be positive and less than largest_step_size={self.largest_step_size}"
        require(inside, "step_size", rule, self.step_size)
        known = ("none", "fixed", "free")
        require(self.tempering in known, "tempering", f"must be one of {known}", self.tempering)
        super().__post_init__()

    @nn.compact
    def steps(self, latent_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Step sizes `[K, *latent]`, and the factors a_k `[K]`."""
        count, largest = self.num_steps, self.largest_step_size
        at = lambda share: nn.initializers.constant(math.log(share / (1.0 - share)))
        raw = self.param("step_sizes", at(self.step_size / largest), (count, *latent_shape))
        sizes = largest * nn.sigmoid(raw)
        if self.tempering == "none":
            return sizes, jnp.ones(count)
        # Both start at prod_k a_k = 0.95.
        if self.tempering == "free":
            return sizes, nn.sigmoid(self.param("tempering", at(0.95 ** (1 / count)), (count,)))
        root = nn.sigmoid(self.param("tempering", at(0.95), ()))
        # 1 / sqrt(b_k) = (1 - 1 / sqrt(b_0)) k^2 / K^2 + 1 / sqrt(b_0), a_k = sqrt(b_{k-1} / b_k).
        inverse = (1.0 - 1.0 / root) * (jnp.arange(count + 1) / count) ** 2 + 1.0 / root
        return sizes, inverse[1:] / inverse[:-1]

    def given(self, batch: Batch) -> Any:
        """The model of this batch over z and its momentum."""
        inner = self.model.given(batch) if is_conditional(self.model) else self.model
        return WithMomentum(self, inner)

    def make_all(self) -> Any:
        """Makes every parameter, those of the steps too."""
        made = super().make_all()
        if made is not None and self.num_steps:
            self.steps(made[0].shape[1:])
        return made


class WithMomentum:
    """A latent-variable model over dicts of `z` and `momentum`, for the objectives.

    Args:
      module: whose steps the posterior makes.
      model: over z alone.
    """

    def __init__(self, module: Hamiltonian, model: Any):
        self.module, self.model = module, model

    def is_initializing(self) -> bool:
        """Whether the parameters are being made."""
        return is_initialising(self.module)

    def prior(self) -> "MomentumPrior":
        """p(z) N(r; 0, I)."""
        return MomentumPrior(self.model.prior())

    def posterior(self, x: Array) -> Distribution:
        """q(z, r | x)."""
        q = self.model.posterior(x)
        rule = "must have latents that are one array of real numbers, which gradients move"
        sound = not isinstance(q.event_shape, dict) and not is_discrete(q, None)
        require(sound, "model", rule, f"the posterior {type(q).__name__} over {q.event_shape}")
        shape = tuple(q.event_shape)
        sizes, factors = jnp.ones((0, *shape)), jnp.ones(0)
        if self.module.num_steps:
            sizes, factors = self.module.steps(shape)
        if self.is_initializing():
            # Parameters cannot be made inside of a derivative: without steps all are made, too.
            sizes, factors = sizes[:0], factors[:0]
        return HamiltonianPosterior(q, lambda z: log_joint(self.model, x, z), sizes, factors)

    def likelihood(self, latents: Latents) -> Any:
        """p(x | z)."""
        return self.model.likelihood(latents["z"])

    def log_joint(self, x: Array, latents: Latents) -> Array:
        """log p(x, z) + log N(r; 0, I), in nats."""
        joint = log_joint(self.model, x, latents["z"])
        return joint + log_normal(latents["momentum"], joint.ndim)

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z] with z from the end of the steps."""
        return self.likelihood(self.posterior(x).sample(seed=key)).mean()


class MomentumPrior(Distribution):
    """p(z) N(r; 0, I), of which events are dicts of `z` and `momentum` of the same shape."""

    def __init__(self, prior: distrax.Distribution):
        super().__init__()
        self.prior = prior

    @property
    def event_shape(self) -> Any:
        return dict.fromkeys(("z", "momentum"), tuple(self.prior.event_shape))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.prior.batch_shape)

    def log_prob(self, value: Latents) -> Array:
        prior = self.prior.log_prob(value["z"])
        return prior + log_normal(value["momentum"], prior.ndim)

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Latents:
        z = self.prior.sample(seed=key, sample_shape=sample_shape)
        return {"z": z, "momentum": momentum_like(key, z)}


class HamiltonianPosterior(MomentumPrior):
    """The distribution of the end of leapfrog steps that start in q(z) N(r; 0, I).

    Args:
      q: of z_0.
      log_density: of z, `[..., *batch]`, up to a constant: what the steps climb.
      step_sizes: `[K, *event]`.
      factors: a_k `[K]`.
    """

    def __init__(
        self,
        q: distrax.Distribution,
        log_density: Callable[[Array], Array],
        step_sizes: Array,
        factors: Array,
    ):
        super().__init__(q)
        self.log_density, self.step_sizes, self.factors = log_density, step_sizes, factors

    def draw_and_log_prob(self, key: Key, sample_shape: tuple[int, ...]) -> tuple[Latents, Array]:
        z, log_q = self.prior.sample_and_log_prob(seed=key, sample_shape=sample_shape)
        momentum = momentum_like(key, z)
        return self.forward({"z": z, "momentum": momentum}), log_q + log_normal(
            momentum, log_q.ndim
        )

    def draw(self, key: Key, sample_shape: tuple[int, ...]) -> Latents:
        return self.draw_and_log_prob(key, sample_shape)[0]

    def log_prob(self, value: Latents) -> Array:
        return super().log_prob(self.inverse(value))

    def forward(self, latents: Latents) -> Latents:
        """(z_0, r_0) to (z_K, r_K), with a log-determinant of 0."""
        if not len(self.factors):
            return latents
        point = evaluated([self.log_density], latents["z"])
        momentum = latents["momentum"] / jnp.prod(self.factors)
        for size, factor in zip(self.step_sizes, self.factors):
            point, momentum = self._leapfrog(point, momentum, size)
            momentum = momentum * factor
        return {"z": point.position, "momentum": momentum}

    def inverse(self, latents: Latents) -> Latents:
        """(z_K, r_K) to (z_0, r_0): with the momentum turned round the steps lead back."""
        if not len(self.factors):
            return latents
        point = evaluated([self.log_density], latents["z"])
        momentum = latents["momentum"]
        for size, factor in zip(self.step_sizes[::-1], self.factors[::-1]):
            point, back = self._leapfrog(point, -momentum / factor, size)
            momentum = -back
        return {"z": point.position, "momentum": momentum * jnp.prod(self.factors)}

    def _leapfrog(self, point: Any, momentum: Array, size: Array) -> Any:
        # Step sizes e of each dimension are steps of size 1 with the inverse mass e^2 and the
        # momentum r / e: z moves by e r, and r by e times the gradient.
        point, scaled = leapfrog(
            [self.log_density], [1.0], point, momentum / size, 1.0, 1, jnp.square(size)
        )
        return point, scaled * size


def momentum_like(key: Key, z: Array) -> Array:
    """r ~ N(0, I) of the shape of z; the key is that z was drawn with."""
    return jax.random.normal(jax.random.fold_in(key, 1), z.shape, z.dtype)


def log_normal(momentum: Array, batch_ndims: int) -> Array:
    """log N(r; 0, I) in nats, summed behind the batch axes."""
    return sum_event(
        -0.5 * (jnp.square(momentum) + math.log(2.0 * math.pi)), momentum.ndim - batch_ndims
    )
