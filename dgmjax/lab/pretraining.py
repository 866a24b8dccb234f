"""Pretraining: initial parameters for models that train poorly from their own."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.contracts import takes_a_fit
from dgmjax.errors import require
from dgmjax.lab.experiment import Experiment
from dgmjax.lab.measures import codes
from dgmjax.lab.trained import Trained
from dgmjax.models.classical.gaussian_mixture import GaussianMixture
from dgmjax.training.em import em_learner
from dgmjax.training.fit import fit
from dgmjax.training.learner import Player, gradient_learner
from dgmjax.types import Array, Key, PyTree


def fitted_mixture(
    x: np.ndarray,
    num_components: int,
    covariance: Literal["diag", "full"] = "full",
    *,
    key: Key,
    restarts: int = 3,
    steps: int = 60,
) -> tuple[Array, Array, Array]:
    """A mixture of normals by EM: logits `[K]`, means `[K, D]` and scales, of the best of restarts.

    Args:
      x: `[N, D]`.
      num_components: K.
      covariance: scales are standard deviations `[K, D]` ("diag") or Cholesky factors `[K, D, D]`.
      key: of the starts, k-means++ each.
      restarts: fits; that of the highest likelihood is kept.
      steps: of EM in each.
    """
    require(x.ndim == 2, "x", "must be [N, D]", x.shape)
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
        # EM climbs to the maximum next to its start: of several starts the highest is kept.
        fits.append((float(fitted.log_prob(data["x"]).mean()), fitted))
    mixture = max(fits, key=lambda pair: pair[0])[1]()
    components = mixture.components
    full = covariance == "full"
    return mixture.logits, components.mean(), components.cholesky if full else components.stddev()


def clustered_start(
    experiment: Experiment, params: PyTree, key: Key, *, player: Player, steps: int
) -> PyTree:
    """A pretrained encoder and decoder, and a mixture prior at the clusters of their codes.

    The module is trained by `player` (a small weight of the KL term keeps the posterior from the
    prior, which has no clusters yet) from `params`, and its prior, a `models.NormalMixture`,
    becomes `fitted_mixture` of the means of the posterior. With `player` and `steps` given it is an
    `Experiment.start`.

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
    mixture = fitted_mixture(means, prior.num_components, prior.covariance, key=fit_key)
    pretrained = jax.device_get(result.state.params)
    return {**pretrained, "prior_model": jax.tree.map(jnp.asarray, prior.fitted(*mixture))}
