"""Structure of a model's latent space, found from its distributions without parameters."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import distrax
import flax.linen as nn
import jax.numpy as jnp

from dgmjax.contracts import is_latent_variable_model
from dgmjax.distributions.mixture import Mixture
from dgmjax.training.learner import abstractly


class LatentStructure(NamedTuple):
    """The structure of p(z) and q(z | x), which decides what figures and numbers make sense.

    Attributes:
      shape: of z; None where z has several named parts.
      independent_posterior: q(z | x) is a product over the dimensions.
      independent_prior: p(z) is.
      components: of a prior that is a mixture; 0 for any other.
      closed_mean: E[z | x] has a closed form.
      closed_kl: KL(q(z | x) || p(z)) has.
    """

    shape: tuple[int, ...] | None
    independent_posterior: bool
    independent_prior: bool
    components: int
    closed_mean: bool
    closed_kl: bool


@lru_cache(maxsize=16)
def latent_structure(module: nn.Module, event_shape: tuple[int, ...]) -> LatentStructure | None:
    """The structure of the latents of `module` for one x; nothing is computed (`jax.eval_shape`).

    None for a module without `prior()` and `posterior(x)`, and for one that reads more of a batch
    than x (`given`), whose posterior differs from batch to batch.

    >>> from dgmjax import models
    >>> latent_structure(models.DenseVAE((2, 2, 1), 3, (4,)), (2, 2, 1))[:3]
    ((3,), True, True)
    """
    if not is_latent_variable_model(module):
        return None
    x = jnp.zeros((1, *event_shape))
    return abstractly(module, lambda model, x: _read(model.posterior(x), model.prior()), x)


def _read(q, p) -> LatentStructure:
    shape = q.event_shape
    return LatentStructure(
        shape=None if isinstance(shape, dict) else tuple(shape),
        independent_posterior=isinstance(q, distrax.Independent),
        independent_prior=isinstance(p, distrax.Independent),
        components=p.num_components if isinstance(p, Mixture) else 0,
        closed_mean=_implemented(q.mean),
        closed_kl=_implemented(q.kl_divergence, p),
    )


def _implemented(method: Callable, *arguments) -> bool:
    try:
        method(*arguments)
    except NotImplementedError:
        return False
    return True
