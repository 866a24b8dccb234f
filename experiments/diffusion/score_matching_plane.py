"""Scores of the plane by four objectives: relative error of the score, to be below 0.05.

    dgmjax train score_matching_plane --method implicit
    dgmjax train score_matching_plane --method sliced
    dgmjax train score_matching_plane --method denoising
    dgmjax train score_matching_plane --method noise_contrast

About two minutes each on two CPU cores. The model is an energy, whose normaliser is a sum over a
grid: the test NLL stands beside the entropy of the known density. Denoising learns the score of
data smoothed by `scale`. Sources: Hyvarinen, "Estimation of Non-Normalized Statistical Models by
Score Matching", 2005, https://jmlr.org/papers/v6/hyvarinen05a.html; Song, Garg, Shi & Ermon,
"Sliced Score Matching: A Scalable Approach to Density and Score Estimation", 2019,
https://arxiv.org/abs/1905.07088; Vincent, "A Connection Between Score Matching and Denoising
Autoencoders", 2011, https://doi.org/10.1162/NECO_a_00142.
"""

from functools import partial
from typing import Literal

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import data, evaluation, lab, models, nn, objectives
from dgmjax.lab.trained import Trained

from ..shared import plane
from ..shared.options import Shared


def wide_normal() -> distrax.Distribution:
    """The noise of the contrast: N(0, 1.5^2 I) around standardised data."""
    return distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.full(2, 1.5))


def score_matching_plane(
    *,
    dataset: plane.Smooth = "banana",
    method: Literal["implicit", "sliced", "denoising", "noise_contrast"] = "implicit",
    scale: float = 0.02,
    hidden: tuple[int, ...] = (128, 128),
    steps: int = 20_000,
    shared: Shared = Shared(learning_rate=2e-3, batch_size=512, ema_decay=0.999),
) -> lab.Experiment:
    """An energy of the plane, trained without its normaliser.

    Args:
      dataset: of the plane, with a known density.
      method: of training.
      scale: deviation of the noise of "denoising".
      hidden: units of the network's layers.
      steps: training steps.
    """
    if shared.tiny:
        hidden, steps = (16,), min(steps, 500)
    loss = {
        "implicit": objectives.implicit_score_matching,
        "sliced": objectives.sliced_score_matching,
        "denoising": partial(objectives.denoising_score_matching, scale=scale),
        "noise_contrast": partial(
            objectives.noise_contrastive_estimation, noise=wide_normal, ratio=4
        ),
    }[method]
    module = models.EnergyModel((2,), nn.MLP(tuple(hidden), (1,), jax.nn.silu), scale=2.0)
    return plane.points_experiment(
        shared,
        dataset,
        100_000,
        num_test=1000 if shared.tiny else 10_000,
        how="exact, normaliser on a grid",
        model=f"energy, {method}" + (f" {scale}" if method == "denoising" else ""),
        module=module,
        loss=loss,
        adam={"clip": 5.0},
        steps=steps,
        estimators=(
            lab.Estimator(
                "score_error",
                "root mean square of s - grad log p, over that of grad log p",
                score_error,
                unit="ratio",
            ),
        ),
    )


def score_error(trained: Trained, arrays) -> evaluation.Measurement:
    """Relative error of the score of standardised test points."""
    transform, density = trained.experiment.transform, trained.experiment.dataset.log_density
    assert isinstance(transform, data.Standardise) and density is not None
    raw = np.asarray(transform.inverse(arrays["x"]))
    # x = (raw - mean) / std, so that the gradient with respect to x is std times that of raw.
    exact = jax.vmap(jax.grad(lambda point: density(point)))(raw) * jnp.asarray(transform.std)
    found = trained.call("score", arrays["x"])
    error = float(jnp.sqrt(((found - exact) ** 2).sum() / (exact**2).sum()))
    return evaluation.Measurement(error, None, len(raw))
