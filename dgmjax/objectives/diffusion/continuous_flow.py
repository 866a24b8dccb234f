"""Maximum likelihood of a continuous normalizing flow."""

import math

import jax
import jax.numpy as jnp

from dgmjax.contracts import check_batch, is_initialising, original_units
from dgmjax.errors import require
from dgmjax.inference.ode import steps_between
from dgmjax.objectives.diffusion.denoising import classes
from dgmjax.types import Array, Batch, Key, Metrics


def continuous_flow(
    model, batch: Batch, key: Key, *, num_steps: int = 10, energy: float = 0.01
) -> tuple[Array, Metrics]:
    """-log p(x) along the ODE, with random steps, and a price on the energy of the path.

    At fixed times a network learns a field that the solver integrates wrongly, in its favour: the
    likelihood then is better than the entropy of the data, and that of finer steps worse. Steps
    whose ends are drawn anew, and paths without detours, leave nothing to gain.

    Args:
      model: a denoiser, whose `solver` gives the method.
      batch: `x`, and the classes where the model has them.
      num_steps: of the ODE. Measure likelihoods with more.
      energy: weight of the integral of |v|^2 over the path.

    Returns:
      loss `[B]`; metrics `nll_nats` and `energy`, `[B]`.

    Sources: Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: Free-form Continuous
    Dynamics for Scalable Reversible Generative Models", 2019, Eq. 4,
    https://arxiv.org/abs/1810.01367; Finlay, Jacobsen, Nurbekyan & Oberman, "How to Train Your
    Neural ODE: the World of Jacobian and Kinetic Regularization", 2020, section 3,
    https://arxiv.org/abs/2002.02798.
    """
    check_batch(batch)
    require(0.0 <= energy < math.inf, "energy", "must be a number of at least 0", energy)
    x, context = batch["x"], classes(model, batch)
    if is_initialising(model):
        nll = -model.log_prob(x, context)
        return nll, {"nll_nats": nll, "energy": jnp.zeros_like(nll)}
    time_key, key = jax.random.split(key)
    times = steps_between(model.ends[0], model.ends[1], num_steps)
    width = times[1] - times[0]
    shift = width * jax.random.uniform(time_key, (len(times) - 2,), minval=-0.5, maxval=0.5)
    flowed = model.to_noise(x, key, context, times=times.at[1:-1].add(shift))
    nll = -(model.base_at_end().log_prob(flowed.x) + flowed.log_det + original_units(batch))
    return nll + energy * flowed.energy, {"nll_nats": nll, "energy": flowed.energy}
