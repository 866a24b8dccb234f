"""Priors fitted to the codes of a trained run: `dgmjax evaluate RUN --prior-after mixture`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import numpy as np

from dgmjax.distributions.families import Normal
from dgmjax.errors import require
from dgmjax.evaluation.averages import Measurement, average
from dgmjax.lab.experiment import Estimator, Supplement
from dgmjax.lab.prior_fitting import check_prior, code_shape, drawn_codes, fit_prior, named
from dgmjax.lab.trained import Trained
from dgmjax.models.flows.recipes import MAF
from dgmjax.models.latent.densities import NormalMixture
from dgmjax.models.latent.second_stage import SecondStage
from dgmjax.models.latent.vae import VAE
from dgmjax.nn.mlp import MLP
from dgmjax.objectives import elbo, negative_log_likelihood
from dgmjax.types import Array, Objective

PriorName = Literal["normal", "mixture", "flow", "two_stage"]


class Fit(NamedTuple):
    """How a prior is fitted: a density module of codes, and the objective by which it learns them.

    Attributes:
      prior: length of z -> module.
      objective: of the module on codes; a `models.NormalMixture` is fitted by EM instead.
    """

    prior: Callable[[int], nn.Module]
    objective: Objective = negative_log_likelihood


def second_stage(latent: int, hidden: Sequence[int] = (256, 256)) -> SecondStage:
    """A VAE of vectors with as many latents of its own, as in Dai & Wipf, 2019."""
    widths = tuple(hidden)
    # Rectifiers start with scales whose exponentials overflow the densities of real vectors.
    encoder, decoder = (MLP(widths, (latent, 2), nn.tanh) for _ in range(2))
    vae = VAE(latent, encoder, decoder, Normal(), event_ndims=1, marginal_start=False)
    return SecondStage(vae)


PRIORS: dict[str, Fit] = {
    "normal": Fit(lambda latent: NormalMixture(latent, 1, covariance="full")),
    "mixture": Fit(lambda latent: NormalMixture(latent, 10, covariance="full")),
    "flow": Fit(lambda latent: MAF(latent, 5, (128, 128))),
    "two_stage": Fit(second_stage, elbo),
}
"""By name. The mixture of ten full normals is that of Ghosh et al., 2020."""


def prior_after(
    name: PriorName, steps: int = 5000, others: Sequence[Supplement] = ()
) -> Supplement:
    """The experiment's own estimators again, with a prior of `PRIORS` fitted after training.

    The record `code_nats`, -log p(z) of a code z ~ q(z | x) of the test split, compares priors
    with each other.

    Args:
      name: of the prior.
      steps: see `fit_prior`.
      others: further measurements, made of the model with the fitted prior, too.
    """
    require(name in PRIORS, "name", f"must be one of {sorted(PRIORS)}", repr(name))

    make, objective = PRIORS[name]

    def new(trained: Trained) -> nn.Module:
        (latent,), _ = code_shape(trained)
        return make(latent)

    @lru_cache(maxsize=1)
    def of(trained: Trained) -> Trained:
        return fit_prior(trained, new(trained), name=name, objective=objective, steps=steps)

    def again(measure: Callable, trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
        return measure(of(trained), arrays)

    def estimators(trained: Trained) -> tuple[Estimator, ...]:
        check_prior(trained, new(trained))
        own = [one for one in trained.experiment.estimators if one.model is None]
        more = [one for other in others for one in other.estimators(of(trained))]
        estimated = "exact" if name != "two_stage" else "one-sample bound"
        codes = Estimator("code_nats", f"log p(z) of z ~ q(z | x), {estimated}", code_nats)
        return tuple(
            replace(
                one,
                measure=partial(again, one.measure),
                model=named(trained, name) if one.model is None else one.model,
                published=None,
            )
            for one in (*own, *more, codes)
        )

    def figure(draw: Callable, trained: Trained) -> Any:
        return draw(of(trained))

    figures = {
        f"{file}_{name}_prior": partial(figure, draw)
        for other in others
        for file, draw in other.figures.items()
    }
    return Supplement(estimators, figures)


def code_nats(trained: Trained, arrays: Mapping[str, np.ndarray]) -> Measurement:
    """-log p(z) of one draw z ~ q(z | x) of every row."""
    z = drawn_codes(trained, arrays)
    values = [trained.call(_code_nats, z[i : i + 500]) for i in range(0, len(z), 500)]
    return average(np.concatenate([np.asarray(v) for v in values]))


def _code_nats(model, z: Array) -> Array:
    return -model.prior().log_prob(z)
