"""Variational bound of the mutual information of data and their codes."""

from dgmjax.contracts import given
from dgmjax.errors import require_sizes
from dgmjax.objectives.variational.posterior_samples import posterior_samples
from dgmjax.types import Array, Batch, Key, Metrics


def information_bound(
    model, batch: Batch, key: Key, *, num_samples: int = 1
) -> tuple[Array, Metrics]:
    """-E_q[log p(x | z)], in nats per example: H(x) less the loss is a lower bound of I(x; z).

    H(x) is that of the data, which no parameter changes. The model needs no prior; of one that has
    a prior this is the distortion.

    Args:
      model: with `posterior(x)`, the channel z ~ q(z | x), and `likelihood(z)`.
      num_samples: z that the expectation averages over.

    Returns:
      loss `[B]`, and as a metric `log_likelihood` `[B]`.

    Sources: Barber & Agakov, "The IM Algorithm: A Variational Approach to Information
    Maximization", 2003, section 2,
    https://papers.nips.cc/paper/2003/hash/a6ea8471c120fe8cc35a2954c9b9c595-Abstract.html; Grover &
    Ermon, "Uncertainty Autoencoders: Learning Compressed Representations via Variational
    Information Maximization", 2019, Eq. 8, https://arxiv.org/abs/1812.10539.
    """
    require_sizes(num_samples=num_samples)
    model = given(model, batch)
    samples = posterior_samples(model.posterior(batch["x"]), key, num_samples)
    log_likelihood = samples.mean(model.likelihood(samples.z).log_prob(batch["x"]))
    return -log_likelihood, {"log_likelihood": log_likelihood}
