"""Parts of experiments on tables and in logit space: the models, and the Gaussian baseline."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from dgmjax import bijectors, evaluation, lab, models
from dgmjax.distributions import families

Name = Literal[
    "gaussian",
    "ppca",
    "factor_analysis",
    "mixture",
    "rnade",
    "made",
    "made_mog",
    "realnvp",
    "maf",
    "maf_mog",
    "nsf",
    "nsf_ar",
]


def density_model(
    name: Name,
    features: int,
    *,
    layers: int,
    hidden: tuple[int, ...],
    num_components: int = 10,
    batch_norm: bool = True,
    log_scale_bound: float = 5.0,
    latent: int = 2,
):
    """The density model `name` over vectors of `features` numbers.

    "gaussian" is a full-covariance normal as a flow of one triangular layer and a shift; "nsf" and
    "nsf_ar" are neural spline flows by couplings and autoregressive. `batch_norm` is for RealNVP
    and MAF, as in the papers; `log_scale_bound` limits how far one of their layers stretches.
    `latent` is for PPCA and factor analysis, `num_components` for mixtures, of whole normals
    ("mixture") or in each conditional ("rnade", "made_mog", "maf_mog").
    """
    affine = bijectors.Affine(log_scale_bound)
    mixture = families.MixtureOfNormals(num_components)
    makers = {
        "gaussian": lambda: gaussian(features),
        "ppca": lambda: models.PPCA(features, latent),
        "factor_analysis": lambda: models.FactorAnalysis(features, latent),
        "mixture": lambda: models.GaussianMixture(features, num_components),
        "rnade": lambda: models.RNADE((features,), hidden[0], num_components),
        "made": lambda: models.MADE((features,), hidden, families.Normal()),
        "made_mog": lambda: models.MADE((features,), hidden, mixture),
        "realnvp": lambda: models.RealNVP(
            features, layers, hidden, transformer=affine, batch_norm=batch_norm
        ),
        "maf": lambda: models.MAF(
            features, layers, hidden, transformer=affine, batch_norm=batch_norm
        ),
        "maf_mog": lambda: models.MAFMixture(
            features, layers, hidden, num_components=num_components, batch_norm=batch_norm
        ),
        "nsf": lambda: models.NeuralSplineFlow(features, layers, hidden),
        "nsf_ar": lambda: models.NeuralSplineFlow(features, layers, hidden, autoregressive=True),
    }
    return makers[name]()


def gaussian(features: int):
    """N(m, L L^T) with free m and triangular L, which starts from the first batch's scales."""
    scales = models.ActNormLayer(features)
    mixing = models.LinearLayer(features, "triangular")
    return models.Flow((features,), (mixing, scales))


def standardised(module, features: int):
    """`module` as the density of standardised entries: shifts and scales start from a batch.

    Logits lie far from where networks start; an affine map of each entry, learned with the rest,
    leaves the family of densities what it was.
    """
    return models.Flow((features,), (models.ActNormLayer(features),), base=module)


def label(name: Name, layers: int, latent: int = 2, num_components: int = 10) -> str:
    """The model's name in the records."""
    names = {
        "gaussian": "Gaussian",
        "ppca": f"PPCA ({latent})",
        "factor_analysis": f"factor analysis ({latent})",
        "mixture": f"mixture of {num_components} normals",
        "rnade": f"RNADE ({num_components})",
        "made": "MADE",
        "made_mog": "MADE MoG",
        "realnvp": f"RealNVP ({layers})",
        "maf": f"MAF ({layers})",
        "maf_mog": f"MAF MoG ({layers})",
        "nsf": f"RQ-NSF coupling ({layers})",
        "nsf_ar": f"RQ-NSF autoregressive ({layers})",
    }
    return names[name]


def closed_form_gaussian(original_units: bool):
    """The baseline: a normal with the mean and covariance of the training split.

    Args:
      original_units: nats in the units of the raw data, else in those that the model sees.
    """

    def measure(trained, arrays: Mapping[str, np.ndarray]):
        nll = evaluation.full_normal(trained.arrays("train")["x"], arrays["x"])
        return evaluation.average(nll - arrays["log_det"] if original_units else nll)

    return lab.Estimator(
        "nll_nats", "exact, closed form", measure, model="Gaussian, closed form (baseline)"
    )
