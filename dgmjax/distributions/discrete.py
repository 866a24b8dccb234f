"""Distributions whose samples have no derivative with respect to their parameters."""

from typing import Any

import distrax

from dgmjax.distributions.ancestral import Ancestral
from dgmjax.distributions.autoregressive import Autoregressive
from dgmjax.distributions.bernoulli import Bernoulli
from dgmjax.distributions.categorical import Categorical
from dgmjax.distributions.factorised import Factorised
from dgmjax.distributions.logistic_mixture import DiscretisedLogisticMixture
from dgmjax.distributions.one_hot import OneHotCategorical
from dgmjax.distributions.poisson import Poisson
from dgmjax.types import PyTree

DISCRETE = (
    Bernoulli,
    Categorical,
    OneHotCategorical,
    Poisson,
    DiscretisedLogisticMixture,
    distrax.Bernoulli,
    distrax.Categorical,
    distrax.OneHotCategorical,
)


def is_discrete(q: Any, z: PyTree) -> bool:
    """Whether samples z of q have no derivative with respect to its parameters."""
    if isinstance(q, Ancestral):
        return any(is_discrete(given, z[name]) for name, given in q.conditionals(z).items())
    if isinstance(q, Autoregressive):
        return q.family.values != "real"
    while isinstance(q, distrax.Independent | Factorised):
        q = q.flat if isinstance(q, Factorised) else q.distribution
    return isinstance(q, DISCRETE)
