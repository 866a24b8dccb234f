"""Variational recurrent network: a VAE in every step of a sequence."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.factorised import Factorised
from dgmjax.distributions.families import Bernoulli, Family, Normal
from dgmjax.distributions.padded import Padded
from dgmjax.distributions.sequential import Sequential
from dgmjax.errors import DataError, require, require_sizes
from dgmjax.inference.filtering import Filtering
from dgmjax.masks import kept
from dgmjax.nn.embeddings import network_input
from dgmjax.nn.mlp import MLP
from dgmjax.nn.recurrent import Recurrent
from dgmjax.nn.steps import BoundSteps, bind_steps, join
from dgmjax.types import Array, Batch, Key, PyTree


class VRNNCell(nn.Module):
    """The networks of a step. `inputs` hold the features of x_t and whether t is observed.

    Attributes:
      features: F, length of a frame x_t.
      latent: dimensions of z_t.
      hidden: units of the recurrent state and of every other layer.
      num_params: parameters of a number of x_t.
      recurrence: "lstm" or "gru".
    """

    features: int
    latent: int
    hidden: int
    num_params: int
    recurrence: str = "lstm"

    def setup(self):
        units = (self.hidden,)
        self.of_x = MLP((), units, nn.relu, activate_output=True)
        self.of_z = MLP((), units, nn.relu, activate_output=True)
        self.prior = MLP(units, (self.latent, 2))
        self.encoder = MLP(units, (self.latent, 2))
        self.decoder = MLP(units, (self.features, self.num_params))
        self.recurrent = Recurrent(self.hidden, self.recurrence)
        shape = (self.features, self.num_params)
        self.offset = self.param("offset", nn.initializers.zeros, shape)

    def init_carry(self, batch_shape: tuple[int, ...]) -> PyTree:
        """The empty memory."""
        return self.recurrent.init_carry(batch_shape)

    def prior_params(self, h: Array) -> Array:
        """Parameters of p(z_t | x_<t, z_<t) `[..., latent, 2]` (Eq. 5)."""
        return self.prior(h)

    def emit_prior(self, carry: PyTree, context: None, inputs: PyTree) -> tuple[PyTree, Array]:
        """Carry, and the prior of z_t; N(0, I) after the end of a sequence."""
        return carry, _until_the_end(self.prior_params(carry[0]), inputs)

    def emit_posterior(self, carry: PyTree, context: None, inputs: PyTree) -> tuple[PyTree, Array]:
        """Carry, and q(z_t | x_<=t, z_<t) (Eq. 9); N(0, I) after the end of a sequence."""
        params = self.encoder(join(inputs["features"], carry[0]))
        return carry, _until_the_end(params, inputs)

    def absorb(self, carry: PyTree, context: None, inputs: PyTree, value: Array) -> PyTree:
        """h_t = f(x_t, z_t, h_{t-1}) (Eq. 7)."""
        seen = join(inputs["features"], self.of_z(value))
        return self.recurrent.step(carry, seen, jnp.int32(0))[0]

    def decode(self, h: Array, z: Array) -> Array:
        """Parameters of p(x_t | z_t, h_{t-1}) `[..., F, num_params]` (Eq. 6)."""
        return self.decoder(join(self.of_z(z), h)) + self.offset

    def create(self, offset: Array | None = None) -> None:
        """Makes every parameter by one step; what is decoded starts about `offset`."""
        if offset is not None:
            self.put_variable("params", "offset", offset)
        inputs = {"features": self.of_x(jnp.zeros(self.features)), "observed": jnp.array(True)}
        carry = self.init_carry(())
        self.emit_prior(carry, None, inputs)
        _, params = self.emit_posterior(carry, None, inputs)
        self.absorb(carry, None, inputs, params[..., 0])
        self.decode(carry[0], params[..., 0])


def _until_the_end(params: Array, inputs: PyTree) -> Array:
    """Parameters where the sequence lasts, zeros after."""
    # Zero parameters are N(0, I), here and in the prior: steps after the end add no KL divergence,
    # and need no mask of their own.
    return jnp.where(inputs["observed"][..., None, None], as_float(params), 0.0)


class VRNN(nn.Module):
    """p(x, z) = prod_t p(z_t | x_<t, z_<t) p(x_t | z_t, x_<t, z_<t), all through a state h_{t-1}.

    The posterior is prod_t q(z_t | x_t, h_{t-1}). `given(batch)` is the model of a batch of
    sequences x `[B, T, F]`: with it `objectives.elbo` has the KL divergence of each step in
    closed form along the path, and `objectives.iwae` is the bound of K whole paths. Both are in
    nats per sequence; divided by the lengths they are the per-frame bounds of the literature.
    `batch["length"]` `[B]` (or `batch["observed"]` `[B, T]`, a prefix of ones) says how far a
    sequence goes: what comes after changes nothing.

    Attributes:
      event_shape: `(T, F)`.
      latent: dimensions of z_t.
      hidden: units of the recurrent state and of every other layer.
      observation: family of a number of x_t.
      recurrence: "lstm" or "gru".

    Source: Chung, Kastner, Dinh, Goel, Courville & Bengio, "A Recurrent Latent Variable Model for
    Sequential Data", 2015, Eq. 5 to 11, https://arxiv.org/abs/1506.02216.

    >>> vrnn = VRNN((5, 3), latent=2, hidden=4)
    >>> variables = vrnn.init(jax.random.key(0), jax.random.key(1), (), method="sample")
    >>> vrnn.apply(variables, jax.random.key(0), (2,), method="sample").shape
    (2, 5, 3)
    """

    event_shape: tuple[int, ...]
    latent: int
    hidden: int
    observation: Family = Bernoulli()
    recurrence: str = "lstm"

    def setup(self):
        require_sizes(latent=self.latent, hidden=self.hidden)
        require(len(self.event_shape) == 2, "event_shape", "must be (T, F)", self.event_shape)
        require_sizes(event_shape=tuple(self.event_shape))
        require(
            self.observation.event_ndims == 0,
            "observation",
            "must be a family of single numbers",
            self.observation,
        )
        params = self.observation.num_params
        features = self.event_shape[1]
        self.cell = VRNNCell(features, self.latent, self.hidden, params, self.recurrence)

    def data_rules(self, batch: Batch) -> Mapping[str, Family | range | str]:
        """What the arrays that are read of such a batch must hold, see `contracts.data_rules`."""
        if "observed" in batch:
            return {"x": self.observation, "observed": "prefix"}
        return {"x": self.observation, "length": range(self.event_shape[0] + 1)}

    def given(self, batch: Batch) -> "GivenSequences":
        """The model of these sequences.

        Raises:
          DataError: sequences of another shape than `event_shape`, or lengths that do not fit.
        """
        x = batch["x"]
        rule = f"must be sequences [B, {self.event_shape[0]}, {self.event_shape[1]}]"
        fits = x.ndim == 3 and x.shape[1:] == self.event_shape
        require(fits, "x", rule, f"shape {x.shape}", error=DataError)
        name = "observed" if "observed" in batch else "length"
        steps = batch.get(name)
        wanted = x.shape[: 2 if name == "observed" else 1]
        if steps is None:
            observed = jnp.ones(x.shape[:2], bool)
        else:
            require(
                steps.shape == wanted,
                name,
                f"must have shape {wanted}",
                f"shape {steps.shape}",
                error=DataError,
            )
            ends = steps[:, None] > jnp.arange(x.shape[1])
            observed = ends if name == "length" else steps > 0
            x = kept(x, observed)
        if self.is_initializing():  # frames start at the marginal rates of their numbers
            self.cell.create(self.observation.marginal(as_float(x).reshape(-1, x.shape[-1])))
        return GivenSequences(self, x, observed)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Sequences of T frames, `[*sample_shape, T, F]`, one frame after the other."""
        if self.is_initializing():
            self.cell.create()
        # Inside of a scan a bound module would mix the tracers of two levels; unbound, its
        # variables are plain arrays.
        module, variables = self.cell.unbind()

        def body(carry: PyTree, key: Key) -> Any:
            return module.apply(variables, carry, key, self.observation, method=_draw_frame)

        keys = jax.random.split(key, self.event_shape[0])
        start = self.cell.init_carry(tuple(sample_shape))
        return jnp.moveaxis(jax.lax.scan(body, start, keys)[1], 0, len(sample_shape))


def _draw_frame(cell: VRNNCell, carry: PyTree, key: Key, family: Family) -> tuple[PyTree, Array]:
    z_key, x_key = jax.random.split(key)
    z = Normal()(as_float(cell.prior_params(carry[0]))).sample(seed=z_key)
    x = family(as_float(cell.decode(carry[0], z))).sample(seed=x_key)
    inputs = {"features": cell.of_x(as_float(network_input(x, family)))}
    return cell.absorb(carry, None, inputs, z), as_float(x)


def _propose(
    cell: VRNNCell, carry: PyTree, key: Key, inputs: PyTree, family: Family
) -> tuple[PyTree, Array]:
    """z_t ~ q(z_t | x_<=t, z_<t), and log p(z_t, x_t | past) - log q of each particle."""
    h = carry[0]
    # Particles of one sequence share its frame: only their states differ.
    seen = jnp.broadcast_to(inputs["features"], (*h.shape[:-1], inputs["features"].shape[-1]))
    inputs = {**inputs, "features": seen}
    carry, params = cell.emit_posterior(carry, None, inputs)
    q, p = Normal()(params), Normal()(_until_the_end(cell.prior_params(h), inputs))
    z = q.sample(seed=key)
    frame = family(as_float(cell.decode(h, z))).log_prob(inputs["x"]).sum(-1)
    # After the end q and p are both N(0, I), so that the weight is 0 there and moves no particle.
    weight = (p.log_prob(z) - q.log_prob(z)).sum(-1) + jnp.where(inputs["observed"], frame, 0.0)
    return cell.absorb(carry, None, inputs, z), weight


class GivenSequences:
    """A VRNN and the sequences x `[B, T, F]` that its states have seen.

    The prior is that of z_t given all frames before t; `log_joint` is one pass over the steps.
    """

    def __init__(self, model: VRNN, x: Array, observed: Array):
        # Features of all frames by one product: they do not depend on the state.
        self.model, self.x, self.observed = model, x, observed
        self.inputs = {
            "features": jnp.moveaxis(
                model.cell.of_x(as_float(network_input(x, model.observation))), 1, 0
            ),
            "observed": observed.T,
        }

    def _steps(self, emits: str) -> BoundSteps:
        return bind_steps(self.model.cell, emits, inputs=self.inputs)

    def _latents(self, emits: str) -> Sequential:
        shape = (self.model.event_shape[0], self.model.latent)
        return Sequential(self._steps(emits), Normal(), shape, self.observed.shape[:1])

    def prior(self) -> Sequential:
        """prod_t p(z_t | x_<t, z_<t) over `[T, latent]`."""
        return self._latents("emit_prior")

    def posterior(self, x: Array) -> Sequential:
        """prod_t q(z_t | x_<=t, z_<t) over `[T, latent]`; `x` is that of the batch."""
        return self._latents("emit_posterior")

    def _memory(self, z: Array) -> Array:
        """h_{t-1} of every step, `[..., B, T, hidden]`."""
        before, _ = self._steps("emit_prior").states(z, z.ndim - 2)
        return jnp.moveaxis(before[0], 0, z.ndim - 2)

    def _frames(self, h: Array, z: Array) -> Padded:
        params = self.model.cell.decode(h, z)
        frames = Factorised(self.model.observation, params, self.model.event_shape)
        return Padded(frames, self.observed)

    def likelihood(self, z: Array) -> Padded:
        """prod_t p(x_t | z_t, x_<t, z_<t)."""
        return self._frames(self._memory(z), z)

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z) in nats, `[..., B]`."""
        h = self._memory(z)
        params = _until_the_end(self.model.cell.prior_params(h), {"observed": self.observed})
        log_prior = Normal()(params).log_prob(z).sum((-1, -2))
        return log_prior + self._frames(h, z).log_prob(x)

    def filtering(self) -> Filtering:
        """Proposals of q and their weights, step by step (`contracts.Filters`)."""
        # Inside of a scan a bound module would mix the tracers of two levels (see `sample`).
        module, variables = self.model.cell.unbind()

        def step(carry: PyTree, key: Key, inputs: PyTree) -> Any:
            family = self.model.observation
            return module.apply(variables, carry, key, inputs, family, method=_propose)

        inputs = {**self.inputs, "x": jnp.moveaxis(self.x, 1, 0)}
        return Filtering(self.model.cell.init_carry, step, inputs)

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z] with z ~ q(z | x)."""
        return self.likelihood(self.posterior(x).sample(seed=key)).mean()
