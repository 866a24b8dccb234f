"""Features: what a model knows of an example, as a vector, for a linear probe."""

from typing import Any

import jax
import jax.numpy as jnp

from dgmjax.contracts import (
    encodes,
    has_bijector,
    is_conditional,
    is_latent_variable_model,
    recognises_codes,
)
from dgmjax.evaluation.latent import posterior_mean
from dgmjax.types import Array, PyTree


def features(model: Any, x: Array) -> Array | None:
    """Features `[B, F]` of x `[B, *event]`, by what the model has; None where it has none.

    - A posterior: its mean, all layers of a hierarchy beside each other.
    - An encoder beside a generator (BiGAN): the code. Codes that are recognised (InfoGAN): the
      logits of the category and the means of the others.
    - A bijector (flows): the base point.

    Autoregressive models, denoisers, plain games and models of x given something have none.
    """
    if is_conditional(model):  # its features are those of x and of what it is given
        return None
    if is_latent_variable_model(model):
        return _vectors(posterior_mean(model, x))
    if encodes(model):
        return _vectors(model.encode(x))
    if recognises_codes(model):
        category, others = model.recognise(x)
        return _vectors((category.logits, others.mean()))
    if has_bijector(model):
        return _vectors(model.bijector().inverse(x))
    return None


def _vectors(codes: PyTree) -> Array:
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(codes)]
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], -1)
