"""Pretraining: initial parameters for models that train poorly from their own."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import takes_a_fit
from dgmjax.errors import require
from dgmjax.evaluation.clustering import normalised_mutual_information
from dgmjax.lab.experiment import Experiment
from dgmjax.lab.measures import codes
from dgmjax.lab.trained import Trained
from dgmjax.models.classical.gaussian_mixture import GaussianMixture
from dgmjax.training.em import em_learner
from dgmjax.training.fit import fit
from dgmjax.training.learner import Player, gradient_learner
from dgmjax.types import Array, Batch, Key, PyTree


def fitted_mixture(
    x: np.ndarray,
    num_components: int,
    covariance: Literal["diag", "full"] = "full",
    *,
    key: Key,
    restarts: int = 3,
    steps: int = 60,
    views: np.ndarray | None = None,
) -> tuple[Array, Array, Array]:
    """A mixture of normals by EM: logits `[K]`, means `[K, D]` and scales, of the best of restarts.

    Args:
      x: `[N, D]`.
      num_components: K.
      covariance: scales are standard deviations `[K, D]` ("diag") or Cholesky factors `[K, D, D]`.
      key: of the starts, k-means++ each.
      restarts: fits; that of the highest likelihood is kept, or of the highest agreement of views.
      steps: of EM in each.
      views: `[N, D]`, other codes of what the rows of x are codes of. Where given, the fit is kept
        whose clusters of both have the highest normalised mutual information: likelihoods of fits
        that differ by ten points of accuracy can be equal.

    Source: of the choice by agreement, Lange, Roth, Braun & Buhmann, "Stability-Based Validation of
    Clustering Solutions", 2004, https://doi.org/10.1162/089976604773717621.
    """
    require(x.ndim == 2, "x", "must be [N, D]", x.shape)
    if views is not None:
        require(views.shape == x.shape, "views", f"must have the shape {x.shape} of x", views.shape)
    require(restarts >= 1, "restarts", "must be at least 1", restarts)
    module = GaussianMixture(x.shape[1], num_components, covariance)
    learner = em_learner(module)
    data = {"x": np.asarray(x, np.float32)}
    fits = []
    for one in jax.random.split(key, restarts):
        result = fit(learner, data, key=one, steps=steps, batch_size=len(x))
        if result.interrupted:
            raise KeyboardInterrupt
        fitted = learner.bind(result.state)
        # EM climbs to the maximum next to its start: of several starts the best is kept.
        fits.append((_quality(fitted, data["x"], views), fitted))
    mixture = max(fits, key=lambda pair: pair[0])[1]()
    components = mixture.components
    full = covariance == "full"
    return mixture.logits, components.mean(), components.cholesky if full else components.stddev()


def _quality(mixture: GaussianMixture, x: np.ndarray, views: np.ndarray | None) -> float:
    if views is None:
        return float(mixture.log_prob(jnp.asarray(x)).mean())
    clusters = lambda rows: np.asarray(mixture.responsibilities(jnp.asarray(rows)).argmax(-1))
    return normalised_mutual_information(clusters(x), clusters(views))


def clustered_start(
    experiment: Experiment,
    params: PyTree,
    key: Key,
    *,
    player: Player,
    steps: int,
    restarts: int = 3,
    corruption: Callable[[Batch, Key], Batch] | None = None,
) -> PyTree:
    """A pretrained encoder and decoder, and a mixture prior at the clusters of their codes.

    The module is trained by `player` (a small weight of the KL term keeps the posterior from the
    prior, which has no clusters yet) from `params`, and its prior, a `models.NormalMixture`,
    becomes `fitted_mixture` of the means of the posterior. With `player` and `steps` given it is an
    `Experiment.start`.

    Args:
      restarts: fits of the mixture.
      corruption: makes views of the training images, on whose clusters the fit that is kept agrees
        best with those of the images themselves; see `fitted_mixture`.

    Source: Jiang, Zheng, Tan, Tang & Zhou, "Variational Deep Embedding: An Unsupervised and
    Generative Approach to Clustering", 2017, section 4.3, https://arxiv.org/abs/1611.05148.
    """
    prior = experiment.module.prior_model
    rule = "must have a `models.NormalMixture` as its `prior_model`"
    require(takes_a_fit(prior), "experiment.module", rule, type(prior).__name__)
    learner = gradient_learner(experiment.module, {"model": player})
    train_key, fit_key = jax.random.split(key)
    result = fit(
        learner,
        experiment.dataset.splits["train"],
        key=train_key,
        steps=steps,
        batch_size=experiment.batch_size,
        transform=experiment.transform,
        # From the parameters of the run itself, not from new ones.
        start=lambda _: params,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    trained = Trained(experiment, learner, result.state)
    means = codes(trained, trained.arrays("train"))
    views = None
    if corruption is not None:
        view_key, fit_key = jax.random.split(fit_key)
        views = codes(trained, _corrupted(trained.arrays("train"), corruption, view_key))
    mixture = fitted_mixture(
        means, prior.num_components, prior.covariance, key=fit_key, restarts=restarts, views=views
    )
    pretrained = jax.device_get(result.state.params)
    return {**pretrained, "prior_model": jax.tree.map(jnp.asarray, prior.fitted(*mixture))}


def _corrupted(
    arrays: Mapping[str, np.ndarray], corruption: Callable[[Batch, Key], Batch], key: Key
) -> dict[str, np.ndarray]:
    compiled = jax.jit(lambda x, key: corruption({"x": x}, key)["x"])
    parts = np.split(arrays["x"], range(1000, len(arrays["x"]), 1000))
    keys = jax.random.split(key, len(parts))
    return {**arrays, "x": np.concatenate([compiled(x, k) for x, k in zip(parts, keys)])}
