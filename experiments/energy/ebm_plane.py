"""Energy-based model of the plane by persistent chains: test NLL on a grid, beside 1.6981 nats.

    dgmjax train ebm_plane
    dgmjax train ebm_plane --dataset rings --chain-steps 40

Nine minutes of one CPU core. The entropy of the known density is the number to reach. The
normaliser is a sum over a grid, and the records compare it with that of annealed importance
sampling. Source: Nijkamp, Hill, Han, Zhu & Wu, "On the Anatomy of MCMC-Based Maximum Likelihood
Learning of Energy-Based Models", 2020, section 4.1, https://arxiv.org/abs/1903.12370.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp

from dgmjax import evaluation, inference, lab, models, nn, objectives
from dgmjax.lab.trained import EVALUATION_SEED, Trained

from ..shared import plane
from ..shared.options import Shared


def ebm_plane(
    *,
    dataset: plane.Points = "eight_gaussians",
    hidden: tuple[int, ...] = (128, 128),
    chain_steps: int = 20,
    num_chains: int = 512,
    step_size: float = 0.2,
    temperatures: int = 200,
    steps: int = 20_000,
    shared: Shared = Shared(learning_rate=3e-3, schedule="cosine", batch_size=512, ema_decay=0.999),
) -> lab.Experiment:
    """A network as energy, and Metropolis-adjusted Langevin chains that training keeps.

    Args:
      dataset: of the plane.
      hidden: units of the network's layers.
      chain_steps: Langevin steps of the chains in each training step.
      num_chains: persistent chains.
      step_size: of the Langevin steps.
      temperatures: of the annealed estimate of log Z.
      steps: training steps.
    """
    if shared.tiny:
        hidden, steps, temperatures, num_chains = (16,), min(steps, 500), 5, 64
    module = models.EnergyModel(
        (2,),
        nn.MLP(tuple(hidden), (1,), jax.nn.silu),
        num_chains=num_chains,
        step_size=step_size,
        sampling_steps=20 if shared.tiny else 2000,
    )
    return plane.points_experiment(
        shared,
        dataset,
        50_000,
        num_test=1000 if shared.tiny else 10_000,
        how="exact, normaliser on a grid",
        model=f"energy, {chain_steps} Langevin steps",
        module=module,
        loss=partial(objectives.contrastive_divergence, num_steps=chain_steps, persistent=True),
        adam={"clip": 5.0},
        steps=steps,
        estimators=(
            lab.Estimator(
                "log_partition_gap",
                f"log Z by AIS (1000 chains, {temperatures} temperatures) less that of the grid",
                partial(partition_gap, temperatures=temperatures),
            ),
        ),
    )


def partition_gap(trained: Trained, arrays, *, temperatures: int) -> evaluation.Measurement:
    """log Z by annealed importance sampling, less the exact one."""
    gap, error = trained.call(_gap(temperatures), jax.random.key(EVALUATION_SEED))
    return evaluation.Measurement(float(gap), float(error), 1000)


@lru_cache
def _gap(temperatures: int):
    """The same function for the same number, so that it compiles once."""

    def gap(model, key):
        sizes = jnp.linspace(0.5, 0.15, temperatures)
        path, betas = model.annealing(5), inference.linear_temperatures(temperatures)
        found = inference.log_partition(path, key, betas, num_chains=1000, given=sizes)
        return found.log_z - model.log_partition(), found.standard_error

    return gap
