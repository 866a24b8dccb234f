"""Joint densities of a model and its latents, and whether shapes of latents agree."""

from collections.abc import Mapping
from typing import Any

from dgmjax.errors import require
from dgmjax.types import Array, PyTree


def log_joint(model: Any, x: Array, z: PyTree) -> Array:
    """log p(x, z) in nats: the model's own, or prior and likelihood.

    Raises:
      DgmjaxError: a prior over latents of another shape than z.
    """
    if hasattr(model, "log_joint"):
        return model.log_joint(x, z)
    prior = model.prior()
    check_latents(prior, z)
    return prior.log_prob(z) + model.likelihood(z).log_prob(x)


def log_likelihood(model: Any, x: Array, z: PyTree) -> Array:
    """log p(x | z) in nats: the likelihood, or the model's own joint density less the prior."""
    if hasattr(model, "log_joint"):
        return model.log_joint(x, z) - model.prior().log_prob(z)
    return model.likelihood(z).log_prob(x)


def check_latents(prior: Any, z: PyTree) -> None:
    """Raises `DgmjaxError` unless z is an event (or a dict of events) of the prior."""
    names = getattr(prior, "names", None)
    if names is not None or isinstance(z, Mapping):
        wanted: Any = sorted(z) if isinstance(z, Mapping) else "one without a name"
        found: Any = sorted(names) if names is not None else tuple(prior.event_shape)
    else:
        found = tuple(prior.event_shape)
        wanted = tuple(z.shape[z.ndim - len(found) :])
    check_same_event(wanted, found)


def check_same_event(posterior: Any, prior: Any) -> None:
    """Raises `DgmjaxError` unless posterior and prior are over the same event."""
    require(
        posterior == prior,
        "prior",
        f"must be over the latents of the posterior, {posterior}",
        prior,
        "Give the prior and the posterior the same latent shape.",
    )
