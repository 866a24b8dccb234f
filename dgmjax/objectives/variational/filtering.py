"""Filtering variational objectives: bounds of particle filters on sequences."""

from dgmjax.contracts import filters, given, original_units
from dgmjax.errors import require
from dgmjax.inference.filtering import particle_filter
from dgmjax.inference.resampling import Resampling
from dgmjax.types import Array, Batch, Key, Metrics


def fivo(
    model,
    batch: Batch,
    key: Key,
    *,
    num_particles: int = 4,
    threshold: float = 0.5,
    resampling: str | Resampling = "multinomial",
) -> tuple[Array, Metrics]:
    """-log of a particle filter's estimate of p(x_1..T), in nats per sequence.

    The estimate has no bias, so by Jensen's inequality its mean logarithm is a lower bound on
    log p(x). Resampling keeps the weights of long sequences even: with N particles the bound is
    usually tighter than IWAE's with N paths, to which it falls back at `threshold=0`; N = 1 is the
    ELBO. Gradients leave out the term of the choice of ancestors, which has a large variance, as
    the authors do.

    Args:
      num_particles: N, at least 1.
      threshold: share of N below which the effective sample size has the particles resampled.
      resampling: see `inference.sequential_monte_carlo`.

    Returns:
      The loss `[B]`, and the metrics `effective_sample_size` (mean over steps) and `resampled` (the
      share of steps).

    Source: Maddison, Lawson, Tucker, Heess, Norouzi, Mnih, Doucet & Teh, "Filtering Variational
    Objectives", 2017, Algorithm 1, https://arxiv.org/abs/1705.09279.
    """
    model = given(model, batch)
    rule = "must be a model of sequences that can be filtered (`contracts.Filters`)"
    require(filters(model), "model", rule, type(model).__name__)
    found = particle_filter(model.filtering(), key, num_particles, threshold, resampling)
    return -(found.log_evidence + original_units(batch)), {
        "effective_sample_size": found.effective_sample_size,
        "resampled": found.resampled,
    }
