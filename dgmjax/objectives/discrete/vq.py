"""Objective of models whose latents are codes."""

from dgmjax.contracts import check_batch, has_codes, in_original_units
from dgmjax.errors import require
from dgmjax.nn.codes import perplexity
from dgmjax.objectives.schedules import Scheduled, scheduled_weight
from dgmjax.types import Array, Batch, Key, Metrics


def vq_vae(model, batch: Batch, key: Key, *, beta: Scheduled = 0.25) -> tuple[Array, Metrics]:
    """-log p(x | e) + beta |z - sg(e)|^2 + |sg(z) - e|^2, in nats per example.

    z is the output of the encoder and e the nearest code; squares are summed over features,
    positions and levels, and over the partial sums of codes where a site has several. The gradient
    of the first term passes unchanged through e to z. The last term moves codebooks that are
    parameters, and is 0 for those that follow averages.

    With the code's length this is a bound: -log p(x) <= -log p(x | e) - log p(e), where
    p(e) is uniform (`model.code_nats`) or a learned prior.

    Args:
      model: `quantise(x, key, mask)` returns a `nn.Quantised` for each level, and
        `likelihood(codes)` p(x | e).
      beta: weight of the commitment, at least 0, or a schedule.

    Returns:
      loss `[B]`; metrics `log_likelihood` and `commitment` `[B]`, and `perplexity_<level>`, the
      effective number of codes in the batch: between 1 and K; `perplexity_<level>_<d>` of each of
      several depths, from 0.

    Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
    Eq. 3, https://arxiv.org/abs/1711.00937; Lee, Kim, Kim, Cho & Han, "Autoregressive Image
    Generation using Residual Quantization", 2022, section 3.1, https://arxiv.org/abs/2203.01941.
    """
    sound = callable(beta) or not isinstance(beta, int | float) or beta >= 0
    require(sound, "beta", "must be at least 0", beta)
    rule = "must have codes (`quantise`), as `models.VQVAE` has"
    require(has_codes(model), "model", rule, type(model).__name__)
    check_batch(batch)
    x = batch["x"]
    levels = model.quantise(x, key, batch.get("mask"))
    codes = tuple(level.codes for level in levels)
    log_likelihood = in_original_units(model, batch).likelihood(codes).log_prob(x)
    commitment = sum((_per_example(level.commitment) for level in levels), 0.0)
    codebook = sum((_per_example(level.codebook) for level in levels), 0.0)
    metrics = {"log_likelihood": log_likelihood, "commitment": commitment}
    for i, level in enumerate(levels):
        one = level.usage.ndim == 1
        depths = {"": level.usage} if one else {f"_{d}": u for d, u in enumerate(level.usage)}
        metrics |= {f"perplexity_{i}{name}": perplexity(usage) for name, usage in depths.items()}
    return scheduled_weight(beta, batch) * commitment + codebook - log_likelihood, metrics


def _per_example(values: Array) -> Array:
    return values.reshape(values.shape[0], -1).sum(-1)
