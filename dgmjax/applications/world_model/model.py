"""World model: a VAE of pictures, and a recurrent mixture density network over its codes."""

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.bijectors.base import as_float
from dgmjax.distributions.families import MixtureOfNormals, Normal
from dgmjax.nn.dense import Dense
from dgmjax.nn.recurrent import Recurrent
from dgmjax.objectives import elbo
from dgmjax.types import Array, Batch, Key, Metrics, PyTree


class WorldModel(nn.Module):
    """p(z_{t+1}, r_t | z_<=t, a_<=t) of codes z of pictures, and rewards r.

    h_{t+1} = LSTM(h_t, (z_t, a_t)); each dimension of z_{t+1} is a mixture of normals, and r_t a
    normal, of parameters linear in h_{t+1}.

    Attributes:
      vae: of one picture, with a latent vector.
      latent: dimensions of its z.
      actions: numbers of an action.
      features: units of the LSTM.
      components: of each mixture.
      length: steps of the episodes of `sample`.

    Source: Ha & Schmidhuber, "Recurrent World Models Facilitate Policy Evolution", 2018, section 2,
    https://arxiv.org/abs/1809.01999.
    """

    vae: nn.Module
    latent: int
    actions: int = 1
    features: int = 64
    components: int = 5
    length: int = 100

    def setup(self):
        self.family = MixtureOfNormals(self.components)
        self.memory = Recurrent(self.features)
        self.next_code = Dense(self.latent * self.family.num_params)
        self.next_reward = Dense(Normal().num_params)

    def encode(self, x: Array) -> Array:
        """E[z | x] of pictures `[..., H, W, C]`."""
        return self.vae.posterior(x).mean()

    def remember(self, carry: PyTree, z: Array, action: Array) -> PyTree:
        """The memory after one more step; its first part is h `[..., features]`."""
        return self.memory.update(carry, self.memory.inputs(jnp.concatenate([z, action], -1)))

    def predicted(self, h: Array, temperature: float = 1.0) -> tuple[Any, Any]:
        """Distributions of the next code `[..., latent]` and of the reward that leads to it.

        Args:
          temperature: above 1 makes the mixtures wider: a dream that is harder to exploit.
        """
        params = as_float(self.next_code(h)).reshape(*h.shape[:-1], self.latent, -1)
        code = distrax.Independent(self.family(params, temperature), 1)
        return code, Normal()(as_float(self.next_reward(h)))

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Pictures `[*sample_shape, length, H, W, C]` of dreams of uniform actions in [-1, 1].

        They begin at codes z ~ p(z) of the VAE.
        """
        first_key, key = jax.random.split(key)
        z = self.vae.prior().sample(seed=first_key, sample_shape=sample_shape)

        def body(now: Any, key: Key) -> tuple[Any, Array]:
            carry, z = now
            act_key, code_key = jax.random.split(key)
            shape = (*sample_shape, self.actions)
            action = jax.random.uniform(act_key, shape, minval=-1.0, maxval=1.0)
            carry = self.remember(carry, z, action)
            return (carry, self.predicted(carry[0])[0].sample(seed=code_key)), z

        begin = (self.memory.init_carry(sample_shape), z)
        _, codes = jax.lax.scan(body, begin, jax.random.split(key, self.length))
        return self.vae.likelihood(jnp.moveaxis(codes, 0, -2)).mean()


def world_model_loss(model: WorldModel, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """Negative ELBO of all pictures, and -log p of the codes and rewards that follow, in nats.

    Pictures train the VAE alone, and codes the memory alone: the codes z ~ q(z | x) that the memory
    reads and predicts have no gradient.

    Args:
      batch: `x[B, T, H, W, C]`, `action[B, T, A]` and `reward[B, T]`; the reward of step t is that
        of action t in what picture t shows.

    Returns:
      The loss `[B]`, and the metrics `pictures`, `codes` and `rewards`, nats per step.
    """
    x = batch["x"]
    count, steps = x.shape[:2]
    vae_key, code_key = jax.random.split(key)
    flat = x.reshape(count * steps, *x.shape[2:])
    pictures = elbo(model.vae, {"x": flat}, vae_key)[0].reshape(count, steps).sum(1)
    z = model.vae.posterior(flat).sample(seed=code_key).reshape(count, steps, -1)
    z = jax.lax.stop_gradient(z)
    h = model.memory(jnp.concatenate([z, as_float(batch["action"])], -1)[:, :-1])
    code, reward = model.predicted(h)
    codes = -code.log_prob(z[:, 1:]).sum(1)
    rewards = -reward.log_prob(as_float(batch["reward"])[:, :-1]).sum(1)
    metrics = {
        "pictures": pictures / steps,
        "codes": codes / (steps - 1),
        "rewards": rewards / (steps - 1),
    }
    return pictures + codes + rewards, metrics
