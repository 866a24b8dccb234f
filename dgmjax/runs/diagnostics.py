"""Diagnostics: remarks on the records of a run that a reader should not miss."""

from collections.abc import Sequence

from dgmjax.runs.record import Record

COLLAPSED_RATE = 0.5
_UNITS = "active_units"

_TRY = (
    "Try free bits (`objectives.elbo(free_bits=...)`), a weight of the KL that rises from 0 "
    "(`beta=optax.linear_schedule(...)`), a decoder that sees less of x, or a prior that commits a "
    "rate (`models.DeltaVAE`)."
)
_TRY_WITH_A_RATE = (
    "Try a weight of the KL that rises from 0 (`beta=optax.linear_schedule(...)`), a decoder that "
    "sees less of x, or free bits above that rate "
    '(`objectives.elbo(free_bits=..., free_bits_per="total")`).'
)
_TRY_LAYERS = (
    "Try a weight of the KL that rises from 0 (`beta=optax.linear_schedule(...)`), free bits for "
    'each layer (`objectives.elbo(free_bits=..., free_bits_per="latent")`), a ladder '
    '(`models.DenseHierarchicalVAE(inference="ladder")`), or fewer layers.'
)


def remarks(records: Sequence[Record]) -> list[str]:
    """Sentences about the records, for the report and the terminal; empty if all is well.

    - A collapsed latent space: no active unit, or a rate below half a nat.
    - A KL term that the decoder does not use: above half a nat, but without an active unit. A prior
      such as delta-VAE's imposes it.
    - Layers of a hierarchy without an active unit, by name, while others have some.
    """
    units = {r.metric: r.value for r in records if r.metric.startswith(_UNITS)}
    rates = [r.value for r in records if r.metric == "kl_nats"]
    dead = [_layer(metric) for metric, value in units.items() if value == 0]
    if rates and min(rates) < COLLAPSED_RATE:
        return [_collapsed(dead if len(dead) == len(units) else [], min(rates))]
    if dead and len(dead) < len(units):
        return [_dead_layers(dead)]
    if dead and rates:
        return [_unused(dead, min(rates))]
    return [_collapsed(dead, None)] if dead else []


def _layer(metric: str) -> str:
    """The layer of a metric: z3 of `active_units_z3`, z of `active_units`."""
    return metric.removeprefix(_UNITS).removeprefix("_") or "z"


def _collapsed(dead: Sequence[str], rate: float | None) -> str:
    found = [f"no dimension of {_listed(dead)} is active"] if dead else []
    if rate is not None:
        found.append(f"the KL of the posterior to the prior is {rate:.2g} nats")
    return (
        f"The latent space has collapsed: {' and '.join(found)}, so that x says next to nothing "
        f"about z. {_TRY}"
    )


def _unused(dead: Sequence[str], rate: float) -> str:
    return (
        f"The latent space is not used: no dimension of {_listed(dead)} is active although the KL "
        f"of the posterior to the prior is {rate:.2g} nats, which tell no inputs apart. A prior "
        f"such as delta-VAE's commits a rate whether the posterior uses it or not. "
        f"{_TRY_WITH_A_RATE}"
    )


def _dead_layers(dead: Sequence[str]) -> str:
    return (
        f"Layers of latents say nothing: no dimension of {_listed(dead)} is active. {_TRY_LAYERS}"
    )


def _listed(names: Sequence[str]) -> str:
    """
    >>> _listed(["z3"]), _listed(["z3", "z4", "z5"])
    ('z3', 'z3, z4 or z5')
    """
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
