"""KL divergences between a posterior and a prior, term by term."""

from typing import Any, Literal

import distrax
import jax

from dgmjax.contracts import check_same_event, diverges_along_paths
from dgmjax.distributions.ancestral import Ancestral
from dgmjax.errors import require
from dgmjax.objectives.variational.posterior_samples import PosteriorSamples
from dgmjax.types import Array

KL = Literal["auto", "analytic", "sampled"]


def kl_divergence(
    q,
    p,
    z: Array,
    kl: KL = "auto",
    log_q: Array | None = None,
    conditionals: distrax.Distribution | None = None,
) -> Array:
    """KL(q || p) in nats: analytic where a closed form is known, else log q(z) - log p(z) at `z`.

    Args:
      q, p: distributions over the same event.
      z: samples of q, `[K, *batch, *event]`, used by the sampled form, which averages over K.
      log_q: log q(z), `[K, *batch]`, where it is known already: a flow gives it with its samples,
        and would otherwise have to be inverted.
      kl: "analytic" raises where no closed form is known; "auto" falls back to samples. A
        sequence of steps (`distributions.Sequential`) has one for each step, along the paths z.
      conditionals: of those steps, where they are known already.
    """
    check_events(q, p)
    if kl == "sampled" or not (analytic := _analytic(q, p, kl, z, conditionals)):
        log_q = q.log_prob(z) if log_q is None else log_q
        return (log_q - p.log_prob(z)).mean(0)
    return analytic[0]


def kl_terms(
    q,
    p,
    z: Any,
    kl: KL = "auto",
    log_q: Array | None = None,
    dimensions: bool = False,
    conditionals: distrax.Distribution | None = None,
) -> dict[str, Array]:
    """The KL divergence by named latent, `[*batch]` each; their sum is the whole.

    One latent is named "z". Where q and p are chains of the same latents in the same order
    (`distributions.Ancestral`), each has the term KL(q(z_i | z_<i, x) || p(z_i | z_<i)), in
    closed form along the sampled path where there is one. Chains of different order have no
    term that is a divergence by itself, and count as one, "z".

    Args:
      q, p, z, kl, log_q, conditionals: see `kl_divergence`.
      dimensions: keep the dimensions apart, `[*batch, *event]`.

    Raises:
      DgmjaxError: `dimensions` of distributions whose dimensions are not independent.
    """
    if isinstance(q, Ancestral) and isinstance(p, Ancestral) and q.names == p.names:
        given, known = q.conditionals(z), p.conditionals(z)
        return {name: _one(given[name], known[name], z[name], kl, dimensions) for name in q.names}
    if not dimensions:
        return {"z": kl_divergence(q, p, z, kl, log_q, conditionals)}
    return {"z": _by_dimension(q, p, z, kl)}


def kl_of_samples(
    q, p, samples: PosteriorSamples, kl: KL = "auto", dimensions: bool = False
) -> dict[str, Array]:
    """`kl_terms` at samples of q; those of a mixture are weighted, and its KL is sampled.

    Raises:
      DgmjaxError: `dimensions`, or kl="analytic", of a mixture.
    """
    if samples.weight is None:
        return kl_terms(q, p, samples.z, kl, samples.log_q, dimensions, samples.conditionals)
    require(
        not dimensions, "free_bits_per", "must be 'latent' or 'total' for a mixture", "dimension"
    )
    require(kl != "analytic", "kl", "must be 'auto' or 'sampled' for a mixture", repr(kl))
    return {"z": samples.mean(samples.log_q - p.log_prob(samples.z))}


def _one(q, p, z: Array, kl: KL, dimensions: bool) -> Array:
    """The KL divergence of one link of a chain, averaged over samples."""
    term = _by_dimension(q, p, z, kl) if dimensions else kl_divergence(q, p, z, kl)
    event = len(q.event_shape) if dimensions else 0
    # A link that is conditioned on samples has one term for each of them; the first link of a chain
    # may have none of these axes.
    sampled = z.ndim - len(q.event_shape)
    return term.mean(0) if term.ndim - event == sampled else term


def _by_dimension(q, p, z: Array, kl: KL) -> Array:
    independent = isinstance(q, distrax.Independent) and isinstance(p, distrax.Independent)
    require(
        independent,
        "free_bits_per",
        "must be 'latent' or 'total' where dimensions are not independent of each other",
        f"{q.name} and {p.name}",
    )
    check_events(q, p)
    q, p = q.distribution, p.distribution
    if kl == "sampled" or not (analytic := _analytic(q, p, kl)):
        return (q.log_prob(z) - p.log_prob(z)).mean(0)
    return analytic[0]


def _analytic(q, p, kl: KL, z: Array | None = None, conditionals=None) -> tuple[Array] | tuple[()]:
    """The closed form (of steps along the paths z, averaged), or nothing where there is none."""
    require(kl in ("auto", "analytic", "sampled"), "kl", "must be auto, analytic or sampled", kl)
    try:
        if z is not None and diverges_along_paths(q):
            # A tuple of one or none, since an array has no truth value.
            return (q.kl_along(p, z, conditionals).mean(0),)
        return (q.kl_divergence(p),)
    except NotImplementedError:
        require(
            kl == "auto",
            "kl",
            "has no closed form for these distributions",
            f"KL({q.name} || {p.name})",
            'Use kl="sampled" or "auto".',
        )
        return ()


def check_events(q, p) -> None:
    """Raises `DgmjaxError` unless q and p are distributions over the same latents."""
    if isinstance(q, Ancestral) or isinstance(p, Ancestral):
        names = [sorted(d.names) if isinstance(d, Ancestral) else d.event_shape for d in (q, p)]
    else:
        names = [tuple(q.event_shape), tuple(p.event_shape)]
    check_same_event(*names)


def hold(distribution):
    """The distribution with its parameters held fixed: gradients reach it through values only."""
    return jax.tree.map(jax.lax.stop_gradient, distribution)
