"""Discrete latents: samples through which no gradient flows, and the error that says so."""

from typing import Any

import jax

from dgmjax.distributions.discrete import is_discrete
from dgmjax.errors import DgmjaxError
from dgmjax.types import PyTree


def guarded(q: Any, z: PyTree) -> PyTree:
    """z, which cannot be differentiated with respect to a discrete q's parameters.

    The gradient of E_q[f(z)] has a term through the samples, which automatic differentiation leaves
    out where they are discrete: the result would be silently wrong. Evaluation is not
    affected, nor is a player that moves the parameters of the prior and the likelihood alone.
    """
    if not is_discrete(q, z):
        return z
    # The rule below is asked for only where somebody differentiates with respect to these; sampling
    # and evaluation never meet it.
    parameters = [leaf for leaf in jax.tree.leaves(q) if isinstance(leaf, jax.Array)]
    return jax.tree.map(lambda leaf: _not_differentiable(leaf, parameters), z)


@jax.custom_jvp
def _not_differentiable(z: Any, parameters: Any) -> Any:
    del parameters
    return z


@_not_differentiable.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    raise DgmjaxError(
        "`model` must have a posterior that can be reparameterised where its parameters are "
        "trained by this objective; got discrete latents, through whose samples no gradient flows. "
        "Use objectives.reinforce, vimco or relax (unbiased), or objectives.concrete or "
        "straight_through (relaxations)."
    )
