"""Contrastive divergence: maximum likelihood of models whose normaliser is not known."""

import jax

from dgmjax.bijectors.base import as_float
from dgmjax.contracts import check_batch, is_energy_based, keeps_chains
from dgmjax.errors import require, require_sizes
from dgmjax.types import Array, Batch, Key, Metrics


def contrastive_divergence(
    model, batch: Batch, key: Key, *, num_steps: int = 1, persistent: bool = False
) -> tuple[Array, Metrics]:
    """E(x) - E(x'), whose gradient is that of -log p(x) where x' follows the model.

    x' is where `num_steps` transitions lead from the data (CD-k), or from chains that go on from
    step to step (PCD): biased for few steps, but near the gradient of the likelihood as long as the
    chains mix faster than the parameters move. The value is no bound on anything.

    Args:
      model: with `energy(x)` and `transition(key, x)` (`contracts.EnergyBased`).
      num_steps: k, at least 1.
      persistent: start from the model's own chains (`contracts.KeepsChains`), of which the mean
        energy is the second term.

    Returns:
      The loss `[B]`, and the metrics `energy` of x and `chain_energy` of x', in nats.

    Sources: Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", 2002,
    https://doi.org/10.1162/089976602760128018; Tieleman, "Training Restricted Boltzmann Machines
    using Approximations to the Likelihood Gradient", 2008, section 4,
    https://doi.org/10.1145/1390156.1390290.
    """
    check_batch(batch)
    require_sizes(num_steps=num_steps)
    name = type(model).__name__
    rule = "must have `energy(x)` and `transition(key, x)`"
    require(is_energy_based(model), "model", rule, name)
    rule = "must keep chains of its own (`chains()` and `keep(x)`) where `persistent` is asked for"
    require(not persistent or keeps_chains(model), "model", rule, name)
    energy = model.energy(batch["x"])
    # Draws are real numbers, and chains keep one type: data may be whole ones.
    start = model.chains() if persistent else as_float(batch["x"])
    move = lambda index, x: model.transition(jax.random.fold_in(key, index), x)
    # Chains are data here: only the energies have gradients.
    chains = jax.lax.stop_gradient(jax.lax.fori_loop(0, num_steps, move, start))
    if persistent:
        model.keep(chains)
    chain_energy = model.energy(chains).mean() if persistent else model.energy(chains)
    return energy - chain_energy, {"energy": energy, "chain_energy": chain_energy}
