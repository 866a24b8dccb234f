"""Semi-amortised inference: the posterior of each example, refined by gradient steps."""

from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgmjax.contracts import counted, given, is_initialising
from dgmjax.errors import require
from dgmjax.objectives.variational.divergences import hold
from dgmjax.objectives.variational.elbo import elbo
from dgmjax.types import Array, Batch, Key, Metrics, Objective


def semi_amortised(
    model,
    batch: Batch,
    key: Key,
    *,
    num_steps: int = 5,
    step_size: float = 0.01,
    bound: Objective = elbo,
    through_steps: bool = True,
) -> tuple[Array, Metrics]:
    """A bound whose posterior starts at q(z | x) and climbs the bound of its own example.

    lambda_0 are the mean and log standard deviation that the encoder gives,
    lambda_{k+1} = lambda_k + step_size grad_lambda bound(x; lambda_k), each with noise of its own,
    and the result is bound(x; lambda_K). It narrows the amortisation gap; the approximation gap of
    the family stays.

    Args:
      model: whose posterior is a diagonal normal, `distrax.Independent(distrax.Normal)`.
      num_steps: K, at least 0; 0 is `bound` itself.
      step_size: of plain gradient ascent, positive.
      bound: `elbo`, `iwae`, or either with its options fixed.
      through_steps: the gradient goes through the steps, with second derivatives of the likelihood,
        so that the encoder learns where to start. Otherwise steps count as constants.

    Returns:
      Loss and metrics of `bound`, at the end of the steps.

    Source: Kim, Wiseman, Miller, Sontag & Rush, "Semi-Amortized Variational Autoencoders", 2018,
    Algorithm 1, https://arxiv.org/abs/1802.02550.
    """
    require(num_steps >= 0, "num_steps", "must be at least 0", num_steps)
    require(step_size > 0.0, "step_size", "must be positive", step_size)
    starting = is_initialising(model)
    model = given(model, batch)
    batch = counted(batch)
    q = model.posterior(batch["x"])
    if num_steps == 0 or starting:  # parameters cannot be made inside of a derivative
        return bound(WithPosterior(model, q), batch, key)
    normal = isinstance(q, distrax.Independent) and isinstance(q.distribution, distrax.Normal)
    rule = "must have a diagonal normal posterior, whose parameters can be refined"
    require(normal, "model", rule, type(q).__name__)

    def at(parameters: tuple[Array, Array]) -> distrax.Distribution:
        loc, log_scale = parameters
        return distrax.Independent(distrax.Normal(loc, jnp.exp(log_scale)), len(q.event_shape))

    def total(parameters: tuple[Array, Array], key: Key) -> Array:
        # Examples do not see each other: the gradient of the sum is that of each.
        return bound(WithPosterior(model, at(parameters)), batch, key)[0].sum()

    def climb(index: Any, parameters: Any) -> Any:
        slope = jax.grad(total)(parameters, jax.random.fold_in(key, index))
        slope = slope if through_steps else hold(slope)
        return jax.tree.map(lambda a, g: a - step_size * g, parameters, slope)

    parameters = (q.distribution.loc, jnp.log(q.distribution.scale))
    parameters = jax.lax.fori_loop(0, num_steps, climb, parameters)
    return bound(WithPosterior(model, at(parameters)), batch, key)


class WithPosterior:
    """A latent-variable model with another posterior, of the batch at hand; the rest is its own."""

    def __init__(self, model: Any, q: distrax.Distribution):
        self.model, self.q = model, q

    def is_initializing(self) -> bool:
        """Whether the model's parameters are being made."""
        return is_initialising(self.model)

    def posterior(self, x: Array) -> distrax.Distribution:
        """q, whatever x is."""
        del x
        return self.q

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "model" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.model, name)
