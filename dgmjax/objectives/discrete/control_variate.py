"""REBAR and RELAX: unbiased gradients of discrete latents by way of their relaxation."""

import jax
import jax.numpy as jnp

from dgmjax.contracts import given, has_control_variate, log_joint as joint
from dgmjax.distributions.base import sum_event
from dgmjax.distributions.relaxation import discrete_sites
from dgmjax.errors import require
from dgmjax.objectives.discrete.score_function import with_gradient
from dgmjax.types import Array, Batch, Key, Metrics, PyTree

stop = jax.lax.stop_gradient


def relax(model, batch: Batch, key: Key) -> tuple[Array, Metrics]:
    """-ELBO with an unbiased gradient whose control variate learns to lower its variance.

    With f(z) = log p(x, z) - log q(z | x), z = harden(zeta), zeta the posterior's logits a plus
    noise, and zeta' drawn again given z, from the same noise, the gradient for a is

        g = (f(z) - c(zeta')) d log q(z | x) + d c(zeta) - d c(zeta')        d = d / da

    where c(zeta) = eta (f(soften(zeta, T)) + r(soften(zeta, T))). g goes on to the parameters of
    the posterior; for all other parameters log p(x, z) is differentiated as usual. T, eta and r's
    network descend the gradient of sum |g|^2 with respect to them: as g is unbiased, of its
    variance. REBAR has r = 0, RELAX a network.

    Args:
      model: see `models.WithControlVariate`: `control_variate(x, z)` returns a pytree with
        `temperature`, `scale` and `residual(x, z)`. Its posterior has independent Bernoulli or
        one-hot categorical latents, and `log_joint` takes relaxed ones.

    Returns:
      loss `[B]`; metrics `elbo` and `gradient_square` (sum of g^2 over the logits) `[B]`,
      `temperature` and `scale` of the control variate.

    Sources: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein, "REBAR: Low-variance, Unbiased
    Gradient Estimates for Discrete Latent Variable Models", 2017, Eq. 4 and 5 and section 3.1,
    https://arxiv.org/abs/1703.07370; Grathwohl, Choi, Wu, Roeder & Duvenaud, "Backpropagation
    through the Void: Optimizing Control Variates for Black-box Gradient Estimation", 2018, Eq. 7
    and 8, https://arxiv.org/abs/1711.00123.
    """
    rule = "must have a control variate; wrap it in `models.WithControlVariate`"
    require(has_control_variate(model), "model", rule, type(model).__name__)
    wrapper, model, x = model, given(model, batch), batch["x"]
    relaxation, sites, ndims = discrete_sites(model.posterior(x))
    # The gradient by the logits a is computed here by hand, at held logits, since its square must
    # be differentiated once more, by the control variate's parameters. It reaches the networks by
    # the chain rule below.
    held = stop(sites.logits)
    zeta = relaxation.perturb(key, held, ())
    noise = zeta - held  # the same for every value of the logits
    z = relaxation.harden(zeta)
    control = wrapper.control_variate(x, z)
    log_joint = joint(model, x, z)

    # Why any c will do: zeta and zeta' have the same distribution, so that
    #   E[c(zeta') d log q(z | x) + d c(zeta')] = d E[c(zeta')] = d E[c(zeta)] = E[d c(zeta)],
    # and the three terms with c cancel in expectation. A c that follows f takes most of the
    # variance of f(z) d log q(z | x) with it.
    def log_q(logits: Array, z: Array) -> Array:
        return sum_event(type(sites)(logits).log_prob(z), ndims)

    def control_of(control, logits: Array, zeta: Array) -> Array:
        soft = relaxation.soften(zeta, control.temperature)
        f = joint(model, x, soft) - log_q(logits, soft)
        return control.scale * (f + control.residual(x, soft))

    score = jax.grad(lambda logits: log_q(logits, z).sum())(held)
    signal = stop(log_joint) - log_q(held, z)

    def gradient(control) -> Array:
        """g, of the logits' shape."""

        def difference(logits: Array) -> tuple[Array, Array]:
            # Both c have the same value, since zeta' is drawn such that it equals zeta (one noise
            # for both couples them as closely as can be). Their gradients differ: zeta moves
            # freely, zeta' within the half line or the cone that z stands for.
            free = control_of(control, logits, logits + noise)
            again = control_of(control, logits, relaxation.again(logits, zeta))
            return (free - again).sum(), again

        path, again = jax.grad(difference, has_aux=True)(held)
        # A scalar for each example times the score of all its sites.
        left = (signal - again).reshape(-1, *[1] * (score.ndim - 1))
        return left * score + path

    g, pull = jax.vjp(gradient, control)
    # E[g] does not depend on the control variate, so the gradient of E[g^2] is that of the
    # variance. `pull` goes back through `jax.grad`: a second derivative, of the control variate
    # only.
    mask = batch.get("mask", jnp.ones(len(x)))
    (slope,) = pull(2.0 * mask.reshape(-1, *[1] * (g.ndim - 1)) * g)  # of sum g^2
    rows = jnp.maximum(mask.sum(), 1.0)
    # The gradient of <g, logits> is g d logits / d parameters. log p(x, z) is differentiated at the
    # held z, as usual.
    moved = sum_event(stop(g) * sites.logits, g.ndim - 1) + log_joint
    square = sum_event(jnp.square(g), g.ndim - 1)
    # `slope` is that of the whole batch. Each of its examples gets an equal share, so that the
    # batch's mean of the loss has the mean of the slopes.
    loss = with_gradient(-signal, _along(slope, control) / rows - moved)
    metrics = {
        "elbo": signal,
        "gradient_square": square,
        "temperature": control.temperature,
        "scale": control.scale,
    }
    return loss, metrics


def _along(slope: PyTree, values: PyTree) -> Array:
    """Inner product of a held slope and what it is of; keys (of dropout) have none."""
    pairs = zip(*map(jax.tree.leaves, (slope, values)), strict=True)
    real = [(a, b) for a, b in pairs if jnp.issubdtype(b.dtype, jnp.inexact)]
    return sum((jnp.vdot(stop(a), b) for a, b in real), jnp.zeros(()))
