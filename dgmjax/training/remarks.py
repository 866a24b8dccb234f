"""What the records of a run say that a reader should not miss."""

from collections.abc import Sequence

from dgmjax.training.record import Record

COLLAPSED_RATE = 0.5


def remarks(records: Sequence[Record]) -> list[str]:
    """Sentences about the records, for the report and the terminal; none where all is well.

    - A collapsed latent space: no active unit, or a rate below half a nat.
    """
    return [*_collapse(records)]


def _collapse(records: Sequence[Record]) -> list[str]:
    found = []
    for record in records:
        if record.metric == "active_units" and record.value == 0:
            found.append("no dimension of z is active")
        if record.metric == "kl_nats" and record.value < COLLAPSED_RATE:
            found.append(f"the KL of the posterior to the prior is {record.value:.2g} nats")
    if not found:
        return []
    return [
        f"The latent space has collapsed: {' and '.join(found)}, so that x says next to nothing "
        "about z. Try free bits (`objectives.elbo(free_bits=...)`), a weight of the KL that rises "
        "from 0 (`beta=optax.linear_schedule(...)`), a decoder that sees less of x, or a prior "
        "that commits a rate (`models.delta_vae`)."
    ]
