"""Latent-variable models: what follows from a prior, a posterior and a likelihood."""

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from dgmjax.contracts import starts_at_marginals
from dgmjax.distributions.families import Family
from dgmjax.types import Array, Key, PyTree


class LatentVariableModel(nn.Module):
    """p(x, z) = p(z) p(x | z) with an amortised posterior q(z | x); z may be a pytree.

    A model defines `prior`, `posterior` and `likelihood`, and inherits the rest.

    `init(key, .., method="reconstruct")`, or any other method by its name, makes the parameters of
    all three; a function makes those of what it calls.
    """

    def prior(self) -> distrax.Distribution:
        """p(z)."""
        raise NotImplementedError(f"{type(self).__name__} must define prior().")

    def posterior(self, x: Array) -> distrax.Distribution:
        """q(z | x), batch shape that of x."""
        raise NotImplementedError(f"{type(self).__name__} must define posterior(x).")

    def likelihood(self, z: PyTree) -> Any:
        """p(x | z), batch shape that of z."""
        raise NotImplementedError(f"{type(self).__name__} must define likelihood(z).")

    def make_all(self) -> tuple[PyTree, Array]:
        """Makes the parameters of every part, from the zeros (z, x) that it returns."""
        # In this order, each part gives the shape that the next one needs: z from the prior, x from
        # the likelihood.
        shapes = self.prior().event_shape
        zeros = lambda shape: jnp.zeros((1, *shape))
        z = jax.tree.map(zeros, shapes, is_leaf=lambda shape: isinstance(shape, tuple))
        x = zeros(self.likelihood(z).event_shape)
        self.posterior(x)
        return z, x

    @nn.nowrap
    def init_with_output(self, rngs: Any, *arguments: Any, method: Any = None, **options: Any):
        """As in Flax, except that a method given by its name makes the parameters of every part."""

        def all_and_named(model: Any, *arguments: Any, **options: Any) -> Any:
            model.make_all()
            return getattr(model, method)(*arguments, **options)

        chosen = all_and_named if isinstance(method, str) else method
        return super().init_with_output(rngs, *arguments, method=chosen, **options)

    def log_joint(self, x: Array, z: PyTree) -> Array:
        """log p(z) + log p(x | z) in nats."""
        return self.prior().log_prob(z) + self.likelihood(z).log_prob(x)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """x ~ p(x | z), z ~ p(z)."""
        z_key, x_key = jax.random.split(key)
        z = self.prior().sample(seed=z_key, sample_shape=sample_shape)
        return self.likelihood(z).sample(seed=x_key)

    def mean(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """E[x | z] with z ~ p(z): what figures show."""
        z_key, x_key = jax.random.split(key)
        return self.shown(self.prior().sample(seed=z_key, sample_shape=sample_shape), x_key)

    def reconstruct(self, x: Array, key: Key) -> Array:
        """E[x' | z] with z ~ q(z | x)."""
        z_key, x_key = jax.random.split(key)
        return self.shown(self.posterior(x).sample(seed=z_key), x_key)

    def shown(self, z: PyTree, key: Key) -> Array:
        """What figures show of z: E[x | z], or a draw if the mean has no closed form."""
        del key
        return self.likelihood(z).mean()


def start_at_marginals(
    decoder: nn.Module, family: Family, x: Array, event_ndims: int, *inputs: Array
) -> None:
    """Makes a decoder's parameters such that p(x | z) starts near the marginals of `x`.

    Otherwise the decoder must first learn where a data set is constant; meanwhile the KL term
    switches off latents that it needs later. The code of Burda et al., 2016
    (https://arxiv.org/abs/1509.00519) starts like this.

    Args:
      decoder: has a method `start_at_marginals(family, x[N, *event])`; others are left alone.
      x: `[..., *event]`.
      inputs: what the decoder is called with.
    """
    decoder(*inputs)
    if x.size and starts_at_marginals(decoder):
        decoder.start_at_marginals(family, x.reshape(-1, *x.shape[x.ndim - event_ndims :]))
