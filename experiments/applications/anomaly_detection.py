"""Images of another kind, found by a density: Fashion-MNIST inside, MNIST outside.

    dgmjax train anomaly_detection --data-dir DATA
    dgmjax train anomaly_detection --model vae --data-dir DATA
    dgmjax train anomaly_detection --model flow --batch-size 128 --data-dir DATA

The likelihood of a model of clothes is higher for digits than for clothes: it mostly measures how
plain an image is. Three scores are compared by the area under their ROC curve, 1/2 where a score
knows nothing: log p(x); the two-sided rank of log p(x) among those of held-out images; and log p(x)
- log p_0(x), with the same model trained on images some pixels of which are replaced by noise.
Published for a PixelCNN++: 0.089 by the likelihood, 0.973 by the ratio, and 0.994 where its weight
decay is tuned as well, on a third data set. Nothing here is tuned on images from outside. The ratio
of two Glows knows nothing (0.43); of every model, the likelihood by itself is upside down.
Source: Ren, Liu, Fertig, Snoek, Poplin, DePristo, Dillon & Lakshminarayanan, "Likelihood Ratios for
Out-of-Distribution Detection", 2019, Table 1, https://arxiv.org/abs/1906.02845.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import data, evaluation, lab, models, objectives, runs
from dgmjax.applications import auroc, likelihood_ratio, rank_p_values
from dgmjax.data.dataset import describe
from dgmjax.distributions import families
from dgmjax.errors import require
from dgmjax.plotting import histograms
from dgmjax.types import Array, Key

from ..shared import common
from ..shared.options import Epochs

Images = Literal["fashion_mnist", "mnist"]
Score = Literal["log_likelihood", "two_sided_rank", "likelihood_ratio"]
SCORES: dict[Score, str] = {
    "log_likelihood": "log p(x)",
    "two_sided_rank": "two-sided rank of log p(x) among held-out images",
    "likelihood_ratio": "log p(x) - log p_0(x), p_0 of noisy images",
}
PUBLISHED: dict[Score, float] = {"log_likelihood": 0.089, "likelihood_ratio": 0.973}
SOURCE = "Ren et al. 2019, Table 1, PixelCNN++"


class WithBackground(nn.Module):
    """Two models of one kind: of images, and of images with noise."""

    density: nn.Module
    background: nn.Module

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Images of the first."""
        return self.density.sample(key, sample_shape)


def anomaly_detection(
    *,
    inside: Images = "fashion_mnist",
    outside: Images | None = None,
    model: Literal["pixelcnn", "vae", "flow"] = "pixelcnn",
    noise: float = 0.3,
    features: int = 16,
    blocks: int = 4,
    weight_decay: float = 1e-4,
    evaluation_samples: int = 100,
    shared: Epochs = Epochs(learning_rate=2e-3, epochs=4, batch_size=16, ema_decay=0.999),
) -> lab.Experiment:
    """A density of images, and a background model of noisy ones, trained side by side.

    Args:
      inside: the images of the density.
      outside: the test images that it should find strange; the other of the two if None.
      model: PixelCNN of mixtures of logistics, a VAE (its bound), or Glow.
      noise: share of the pixels of the background's images that are replaced by uniform levels.
      features: of the PixelCNN; half of Glow's channels.
      blocks: of the PixelCNN; steps of a level of Glow.
      weight_decay: of AdamW.
      evaluation_samples: of the VAE's bound.
    """
    outside = outside or ("mnist" if inside == "fashion_mnist" else "fashion_mnist")
    require(inside != outside, "outside", "must be other images than `inside`", outside)
    require(0.0 < noise < 1.0, "noise", "must be in (0, 1)", noise)
    if shared.tiny:
        features, blocks, evaluation_samples = 4, 1, 2
        shared = replace(shared, epochs=1)
    dataset, levels = both_kinds(inside, outside, shared)
    # Not a `clone` of one another, which Linen would take for the same module.
    (density, transform, loss), (background, *_) = (
        density_of(model, dataset.event_shape, levels, features, blocks) for _ in range(2)
    )
    if model == "vae":
        measured = partial(objectives.importance_bound, num_samples=evaluation_samples, chunk=1)
    else:
        measured = loss
    find = partial(scores, measured)
    of_source = model == "pixelcnn" and inside == "fashion_mnist" and not shared.tiny
    published = PUBLISHED if of_source else {}
    return common.experiment(
        shared,
        model=f"{model}, background of {noise:.0%} noise",
        module=WithBackground(density, background),
        loss=partial(both_losses, loss),
        adam={"weight_decay": weight_decay, "clip": 50.0},
        dataset=dataset,
        transform=data.Compose((Noisy(levels, noise), data.Together(transform, ("noisy",)))),
        evaluation_transform=transform,
        validation=partial(loss_of, "density", loss),
        evaluation_batch_size=100,
        estimators=(
            *(_area(score, find, published.get(score)) for score in SCORES),
            lab.Estimator(
                "bits_per_dim",
                "of inside images",
                lab.averaged(partial(loss_of, "density", measured), 100, bits=True),
                unit="bits/dim",
            ),
        ),
        figures={"scores": partial(figure, find, inside, outside), "samples": lab.figures.samples},
    )


def density_of(model: str, shape, levels: int, features: int = 16, blocks: int = 4):
    """A model of grey images, the transform of its images, and its loss in nats of the levels."""
    nll = objectives.negative_log_likelihood
    if model == "flow":
        flow = models.Glow(shape, 1 if blocks == 1 else 2, blocks, channels=2 * features)
        return flow, data.Compose((data.Dequantise(levels), data.Logit(0.05))), nll
    if model == "vae":
        observation = families.DiscretisedLogisticMixture(1, levels)
        hidden = (400, 400) if blocks > 1 else (16,)
        vae = models.DenseVAE(shape, 50, hidden, activation=nn.relu, observation=observation)
        return vae, data.Identity(), objectives.elbo
    pixels = models.PixelCNN(
        shape,
        families.DiscretisedLogisticMixture(5, levels),
        features=features,
        blocks=blocks,
        kernel_size=5,
        head_features=2 * features,
        positions=True,
    )
    return pixels, data.Identity(), nll


def both_kinds(inside: str, outside: str, shared: Epochs):
    """The data set `inside`, whose split `outside` holds other test images, and the levels."""
    if shared.tiny:
        dataset, levels = data.load("digits"), 17
        other = 16 - dataset.splits["test"]["x"]  # negatives of digits
    else:
        dataset = data.load(inside, data_dir=shared.data_dir)
        other = data.load(outside, data_dir=shared.data_dir).splits["test"]["x"]
        levels = 256
    splits = {**dataset.splits, "outside": {"x": other}}
    info = describe(splits, source=dataset.info.get("source"), splits=dataset.info["splits"])
    return data.Dataset(dataset.name, splits, {**dataset.info, **info}), levels


@dataclass(frozen=True)
class Noisy:
    """Adds `noisy`: `x` with a share `rate` of its pixels replaced by uniform levels."""

    levels: int
    rate: float

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"])
        where, what = jax.random.split(key)
        noise = jax.random.randint(what, x.shape, 0, self.levels).astype(x.dtype)
        replaced = jax.random.bernoulli(where, self.rate, x.shape)
        return {**batch, "noisy": jnp.where(replaced, noise, x)}

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        data.Scale(self.levels).check(arrays)

    def inverse(self, x: Array) -> Array:
        return x


def loss_of(part: str, loss, model, batch, key):
    """The loss of one of the two models."""
    return loss(getattr(model, part), batch, key)


def both_losses(loss, model, batch, key):
    """The sum of the losses of both models, which share no parameters, each on its images.

    Images of evaluations, which have no noisy copy, are those of both.
    """
    keys = jax.random.split(key)
    noisy = {**batch, "x": batch.get("noisy", batch["x"])}
    density, metrics = loss(model.density, batch, keys[0])
    background, _ = loss(model.background, noisy, keys[1])
    return density + background, {**metrics, "density": density, "background": background}


@lru_cache(8)
def scores(measured, trained, split: str) -> dict[str, np.ndarray]:
    """log p(x) of both models for every image of a split; for bounds, the bounds."""
    arrays = trained.arrays(split)
    return {
        part: -trained.per_example(partial(loss_of, part, measured), arrays, 100)["loss"]
        for part in ("density", "background")
    }


def of_kind(score: Score, find, trained, split: str) -> np.ndarray:
    """One of the three scores; high for images that are as they should be."""
    found = find(trained, split)
    if score == "likelihood_ratio":
        return likelihood_ratio(found["density"], found["background"])
    if score == "two_sided_rank":
        return rank_p_values(find(trained, "validation")["density"], found["density"], "both")
    return found["density"]


def _area(score: Score, find, published: float | None) -> lab.Estimator:
    def measure(trained, arrays):
        ours, other = (of_kind(score, find, trained, split) for split in ("test", "outside"))
        area, error = auroc(ours, other)
        return evaluation.Measurement(area, error, len(ours) + len(other))

    cited = None if published is None else runs.Published(published, SOURCE)
    return lab.Estimator(f"auroc_{score}", SCORES[score], measure, unit="fraction", published=cited)


def figure(find, inside: str, outside: str, trained):
    """Histograms of the likelihood and of the ratio, of images from inside and outside."""
    panels = {
        SCORES[score]: {
            name: of_kind(score, find, trained, split)
            for name, split in ((inside, "test"), (outside, "outside"))
        }
        for score in ("log_likelihood", "likelihood_ratio")
    }
    return histograms(panels, title=f"Scores in nats: {trained.experiment.model}")
