"""Natural gradients of global latents, as the gradient of a loss."""

import jax
import jax.numpy as jnp

from dgmjax.contracts import check_batch, holds_global_latents
from dgmjax.errors import require, require_sizes
from dgmjax.inference.svi import conditional
from dgmjax.types import Array, Batch, Key, Metrics


def natural_gradient(model, batch: Batch, key: Key, *, num_examples: int) -> tuple[Array, Metrics]:
    """The negative bound per example, `[B]` in nats, with the natural gradient of q(g).

    The value is KL(q(g) || p(g)) / N - E_q[log p(x_n, z_n | g) - log q(z_n)]. The gradient is
    lambda - (eta + N / B sum_n E_q[t(x_n, z_n)]), the bound's gradient times the inverse Fisher
    information (negative, over N), so that a step of size rho of plain gradient descent is the
    update of `inference.stochastic_variational_inference`.

    Args:
      model: `models.ConjugateModel`.
      num_examples: N, of the whole training data.

    Source: Hoffman, Blei, Wang & Paisley, "Stochastic Variational Inference", 2013, section 2.3,
    https://arxiv.org/abs/1206.7051.
    """
    del key
    check_batch(batch)
    require_sizes(num_examples=num_examples)
    rule = "must have global latents, see `models.ConjugateModel`"
    require(holds_global_latents(model), "model", rule, type(model).__name__)
    parameters, conjugate = model.global_parameters(batch), model.conjugate
    held = jax.lax.stop_gradient(parameters)
    target, local = conditional(conjugate, held, batch, num_examples)
    slope = sum(
        (leaf * jax.lax.stop_gradient(leaf - new)).sum()
        for leaf, new in zip(jax.tree.leaves(parameters), jax.tree.leaves(target), strict=True)
    )
    bound = local - conjugate.divergence(held) / num_examples
    # 0 in value, so that only the gradient is that of `slope`, the same for every example.
    loss = jax.lax.stop_gradient(-bound) + slope - jax.lax.stop_gradient(slope)
    return jnp.broadcast_to(loss, local.shape), {"bound": bound}
