"""Products of normal densities: the combination of independent estimates."""

from collections.abc import Sequence

import distrax
import jax.numpy as jnp

from dgmjax.errors import require
from dgmjax.types import Array


def product_of_normals(
    experts: Sequence[distrax.Normal], present: Sequence[Array | None] | None = None
) -> distrax.Normal:
    """The normal whose density is proportional to prod_m N(z; loc_m, scale_m^2)^{present_m}.

    1 / scale^2 = sum_m present_m / scale_m^2,  loc = scale^2 sum_m present_m loc_m / scale_m^2.

    Args:
      experts: at least one; their batch shapes broadcast.
      present: for each expert, weights of its batch shape (0 leaves it out), or None for 1. Not
        checked: that somewhere one is above 0. Give an expert that always is, such as the prior.

    Sources: Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", 2002,
    section 2, https://doi.org/10.1162/089976602760128018; Wu & Goodman, "Multimodal Generative
    Models for Scalable Weakly-Supervised Learning", 2018, section 2,
    https://arxiv.org/abs/1802.05335.

    >>> product = product_of_normals([distrax.Normal(0.0, 1.0), distrax.Normal(4.0, 1.0)])
    >>> float(product.loc), round(float(product.scale) ** 2, 3)
    (2.0, 0.5)
    """
    require(len(experts) >= 1, "experts", "must be at least one", len(experts))
    weights = [None] * len(experts) if present is None else present
    require(
        len(weights) == len(experts),
        "present",
        f"must have one entry for each of the {len(experts)} experts",
        len(weights),
    )
    precisions = [
        expert.scale**-2.0 if weight is None else weight * expert.scale**-2.0
        for expert, weight in zip(experts, weights)
    ]
    total = sum(precisions[1:], precisions[0])
    # Weights of the average, each at most 1: precisions themselves span 17 orders of magnitude.
    loc = sum(expert.loc * (precision / total) for expert, precision in zip(experts, precisions))
    return distrax.Normal(loc, jnp.broadcast_to(total**-0.5, jnp.shape(loc)))
