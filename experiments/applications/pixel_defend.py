"""Attacked images purified by a PixelCNN, and what is left when the attacker knows it.

    dgmjax train anomaly_detection --run-dir runs/density --data-dir DATA
    dgmjax train pixel_defend --density runs/density --data-dir DATA

A classifier, and one trained on attacked images, read test images as they are and after attacks of
8 and 25 grey levels, with and without purification within 32 levels. Published for other networks
on Fashion-MNIST, the worst of all attacks at 8 and at 25 levels: accuracy 0 without, 83% and 74%
with the defence. Those attacks do not know the defence. One that does, by straight-through
gradients averaged over noise (BPDA with EOT), is measured beside them: purification hides
gradients, and is no proof of safety (published for CIFAR-10: 9% are left). A random search of
squares, which needs no gradient, stands beside it, and has no record yet. Here the former takes
little more than the attacks that do not know the defence; that is no proof against stronger ones.
The records lack Carlini and Wagner's attack and the worst of all: they were made when it moved few
pixels, and left 73% and 46% right. On the first 200 images it leaves 55.5% and 12% now, cut to 8
and to 25 levels, of the 87.5% that the classifier has right, and none where nothing is cut; of the
classifier trained on attacked images 80% and 68.5% of 86.5%.
Sources: Song, Kim, Nowozin, Ermon & Kushman, "PixelDefend: Leveraging Generative Models to
Understand and Defend against Adversarial Examples", 2018, Table 1,
https://arxiv.org/abs/1710.10766; Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False
Sense of Security", 2018, section 5.4, https://arxiv.org/abs/1802.00420; Andriushchenko, Croce,
Flammarion & Hein, "Square Attack: a query-efficient black-box adversarial attack via random
search", 2020, https://arxiv.org/abs/1912.00049.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgmjax import applications as defence, data, evaluation, lab, models, nn, runs
from dgmjax.contracts import is_initialising
from dgmjax.errors import RunError, require, require_sizes
from dgmjax.plotting import image_grid, roc_curves
from dgmjax.types import Array

from ..shared import common
from ..shared.first_stage import first_stage
from ..shared.options import Epochs
from .anomaly_detection import anomaly_detection

CLASSES, SEED = 10, 0
LEVEL = 0.05
CHUNK = 200
"""Images that are attacked or purified in one compiled call."""
CONFIDENCE = 2.0
"""Margin of the logits at which Carlini and Wagner's attack aims, so that rounding leaves some."""
EVADED = 1000.0
"""Nats that a wrong class is worth to the attack on the detector, for each unit of the margin."""
NAMES = {"plain": "classifier", "robust": "adversarially trained classifier"}
PUBLISHED = {8: 0.83, 25: 0.74}
SOURCE = "Song et al. 2018, Table 1, ResNet with PixelDefend"


class Classifiers(linen.Module):
    """Two classifiers of images in [0, 1]; the second is trained on attacked ones."""

    plain: linen.Module
    robust: linen.Module


class Setting(NamedTuple):
    """What every measurement of a run needs.

    Attributes:
      density: a trained model whose `density` is over the grey levels.
      levels: of grey.
      images: number of test images, the first.
      adaptive_images: how many of them the attacks that know the defence move.
      defence_radius: of purification, in levels.
      iterations: of BIM, and for scale of the other attacks.
      adaptive_iterations: of the attack that knows the defence by its gradients.
      queries: of the one that only asks for the outputs, which is left out if 0.
      draws: of noise, over which they average.
    """

    density: lab.Trained
    levels: int
    images: int
    adaptive_images: int
    defence_radius: int
    iterations: int
    adaptive_iterations: int
    queries: int
    draws: int

    def __hash__(self) -> int:
        return hash(self[1:])


def pixel_defend(
    *,
    dataset: Literal["fashion_mnist", "mnist"] = "fashion_mnist",
    density: str | None = None,
    radii: tuple[int, ...] = (8, 25),
    defence_radius: int = 32,
    train_radius: int = 8,
    channels: int = 16,
    images: int = 1000,
    adaptive_images: int = 200,
    queries: int = 300,
    shared: Epochs = Epochs(learning_rate=2e-3, epochs=6, batch_size=100, ema_decay=0.999),
) -> lab.Experiment:
    """Two classifiers, attacked with and without a defence by an autoregressive density.

    Args:
      dataset: of the images.
      density: run folder of `anomaly_detection` with a PixelCNN of the same images.
      radii: of the attacks, in grey levels.
      defence_radius: how far purification may move a pixel, in grey levels.
      train_radius: of the attacks that the second classifier is trained on.
      channels: of the residual classifiers.
      images: test images of the table.
      adaptive_images: the part of them that attacks which know the defence move.
      queries: how often the random search of squares asks the defended classifier about an image;
        0 leaves it out.
    """
    require(len(radii) >= 1, "radii", "must name at least one", radii)
    require(len(set(radii)) == len(radii), "radii", "must differ", radii)
    rule = "must be in 1 .. 255, grey levels"
    require(min(radii) > 0 and max(radii) <= 255, "radii", rule, radii)
    for name, radius in {"defence_radius": defence_radius, "train_radius": train_radius}.items():
        require(0 <= radius <= 255, name, "must be in 0 .. 255, grey levels", radius)
    require(queries >= 0, "queries", "must be at least 0", queries)
    iterations, adaptive_iterations, draws = 40, 40, 2
    if shared.tiny:
        images, adaptive_images, channels = 8, 4, 4
        iterations, adaptive_iterations, queries = 2, 1, min(queries, 2)
        radii, defence_radius, train_radius = (2,), 2, 1
        shared = replace(shared, epochs=1)
    first = first_stage(
        anomaly_detection,
        density,
        shared,
        option="density",
        kind="a PixelCNN of the same images",
        is_right=lambda module: isinstance(
            getattr(module, "density", None), models.AutoregressiveModel
        ),
        remedy=f"Train `anomaly_detection --inside {dataset}`.",
        inside=dataset,
    )
    found = data.load("digits") if shared.tiny else data.load(dataset, data_dir=shared.data_dir)
    levels = 17 if shared.tiny else 256
    same = first.experiment.dataset.name == found.name
    rule = f"must be a density of {found.name}"
    require(same, "density", rule, first.experiment.dataset.name, "", RunError)
    setting = Setting(
        first,
        levels,
        min(images, len(found.splits["test"]["x"])),
        adaptive_images,
        defence_radius,
        iterations,
        adaptive_iterations,
        queries,
        draws,
    )
    require_sizes(images=images, adaptive_images=adaptive_images)
    blocks = 2 if shared.tiny else 4
    classifier = lambda: nn.Critic(nn.ResidualFeatures(channels, blocks), CLASSES)
    return common.experiment(
        shared,
        model="PixelDefend",
        module=Classifiers(classifier(), classifier()),
        loss=partial(both_errors, train_radius / (levels - 1)),
        dataset=found,
        transform=data.Scale(levels),
        validation=partial(both_errors, None),
        evaluation_batch_size=100,
        estimators=(
            *(row for which in NAMES for row in table(setting, which, radii, dataset)),
            *(_detected(setting, kind, r) for r in radii for kind in (*ATTACKS, "detector")),
            *(_unnoticed(setting, kind, r) for r in radii for kind in ("bim", "detector")),
        ),
        figures={
            "attacked_and_purified": partial(pictures, setting, max(radii)),
            "roc": partial(roc, setting, min(radii)),
        },
    )


def both_errors(radius: float | None, model, batch, key):
    """The cross-entropy of the first classifier, and of the second on attacked images."""
    x, label = batch["x"], batch["label"]
    moved = x
    if radius is not None and not is_initialising(model):
        # One step from a random start costs a tenth of ten; the start keeps it from overfitting.
        loss = defence.cross_entropy(model.robust, label)
        given = {"step_size": 1.25 * radius, "num_steps": 1, "key": key}
        moved = jax.lax.stop_gradient(defence.projected_gradient(loss, x, radius, **given))
    plain, robust = model.plain(x), model.robust(moved)
    loss = optax.softmax_cross_entropy_with_integer_labels
    wrong = {
        "error": jnp.argmax(plain, -1) != label,
        "robust_error": jnp.argmax(robust, -1) != label,
    }
    metrics = {name: array.astype(x.dtype) for name, array in wrong.items()}
    return loss(plain, label) + loss(robust, label), metrics


def _fgsm(logits, x, label, radius, key, iterations):
    return defence.fast_gradient_sign(defence.cross_entropy(logits, label), x, radius)


def _bim(logits, x, label, radius, key, iterations):
    loss = defence.cross_entropy(logits, label)
    return defence.projected_gradient(loss, x, radius, num_steps=iterations)


def _deepfool(logits, x, label, radius, key, iterations):
    # Twice as far as the border: rounding to grey levels would undo the shortest step.
    return defence.deep_fool(logits, x, num_steps=max(1, iterations // 4), overshoot=1.0)


def _carlini_wagner(logits, x, label, radius, key, iterations):
    options = {"num_steps": 3 * iterations, "searches": 3}
    return defence.carlini_wagner(logits, x, label, confidence=CONFIDENCE, **options)


def _noise(logits, x, label, radius, key, iterations):
    return defence.random_noise(key, x, radius)


ATTACKS: dict[str, Callable[..., Array]] = {
    "noise": _noise,
    "fgsm": _fgsm,
    "bim": _bim,
    "deepfool": _deepfool,
    "carlini_wagner": _carlini_wagner,
}
ADAPTIVE = ("adaptive", "square")
"""Attacks on classifier and defence together."""
WITHOUT_BALL = ("deepfool", "carlini_wagner")
"""Attacks that look for the nearest image of another class; they are cut to the ball, as published.
"""


@lru_cache
def attack(setting: Setting, which: str, kind: str, radius: int):
    """`(model, k, label, key) -> k'` over integers `[N, H, W, 1]`, inside of the ball if any."""
    most, levels = setting.levels - 1, setting.levels

    def known(model, x, label, key):
        logits, size = getattr(model, which), radius / most
        if kind in ATTACKS:
            return ATTACKS[kind](logits, x, label, size, key, setting.iterations)
        if kind == "square":
            loss = on_outputs(setting, logits, label)
            return defence.square_attack(loss, x, size, key, num_steps=setting.queries)
        rows = {"detector": on_detector, "adaptive": on_defence}
        loss = rows[kind](setting, logits, label, key)
        steps = setting.adaptive_iterations if kind == "adaptive" else setting.iterations
        return defence.projected_gradient(loss, x, size, num_steps=steps)

    def moved(model, k, label, key):
        return jnp.clip(jnp.round(most * known(model, k / most, label, key)), 0, levels - 1)

    return moved


def on_detector(setting: Setting, logits, label, key):
    """log p(x), and more than that for a wrong class: an image that looks usual and is misread."""
    del key
    density = setting.density.model.density

    def loss(x):
        usual = density.log_prob((setting.levels - 1) * x)
        return usual - EVADED * jnp.maximum(margin(logits(x), label) + 1.0, 0.0)

    return loss


def margin(scores, label):
    """How far the true class is above all others."""
    own = jax.nn.one_hot(label, CLASSES)
    return (own * scores).sum(-1) - jnp.where(own > 0, -jnp.inf, scores).max(-1)


def on_outputs(setting: Setting, logits, label):
    """By how much another class is above the true one, of purified images."""
    most = setting.levels - 1

    def loss(x):
        k = jnp.clip(jnp.round(most * x), 0, most)
        k = _purified(setting.density.model, k, setting.defence_radius)
        return -margin(logits(k / most), label)

    return loss


def on_defence(setting: Setting, logits, label, key):
    """The mean cross-entropy of purified images with noise of a level; gradients pass straight."""
    most = setting.levels - 1

    def of_draw(x, key):
        def purified(x):
            noise = jax.random.uniform(key, x.shape, x.dtype, -1.0, 1.0)
            k = jnp.clip(jnp.round(most * x + noise), 0, most)
            return _purified(setting.density.model, k, setting.defence_radius) / most

        return defence.cross_entropy(logits, label)(defence.straight_through(purified)(x))

    return defence.expectation(of_draw, key, setting.draws)


def _purified(model, k, radius):
    return defence.purify(model.density(), k, radius)


def _log_prob(model, k):
    return model.density.log_prob(k)


@lru_cache
def purification(radius: int):
    """The same function for the same radius, so that it compiles once."""
    return lambda model, k: _purified(model, k, radius)


@lru_cache
def predicted(which: str):
    """The same function for the same classifier."""
    return lambda model, x: jnp.argmax(getattr(model, which)(x), -1)


def in_chunks(function, *arrays):
    """`function` of up to `CHUNK` rows at a time, put together again."""
    starts = range(0, len(arrays[0]), CHUNK)
    parts = [function(*(array[i : i + CHUNK] for array in arrays)) for i in starts]
    return np.concatenate([np.asarray(part) for part in parts])


class Attacked(NamedTuple):
    """Images, and what becomes of them.

    Attributes:
      k: `[N, H, W, 1]` grey levels.
      purified: the same, purified.
      right: `[N]`, whether the classifier is right about k.
      right_purified: `[N]`, whether it is about the purified ones.
      log_prob: `[N]`, of k, in nats.
    """

    k: np.ndarray
    purified: np.ndarray
    right: np.ndarray
    right_purified: np.ndarray
    log_prob: np.ndarray


@lru_cache(64)
def _moved(setting: Setting, trained, which: str, kind: str, radius: int, count: int):
    """Grey levels of the first `count` test images after an attack."""
    method, key = attack(setting, which, kind, radius), jax.random.key(SEED)
    test = trained.experiment.dataset.splits["test"]
    k, label = np.asarray(test["x"][:count], np.float32), np.asarray(test["label"][:count])
    return in_chunks(lambda k, label: trained.call(method, k, label, key), k, label)


@lru_cache(64)
def attacked(setting: Setting, trained, which: str, kind: str, radius: int) -> Attacked:
    """Test images after an attack ("clean" for none)."""
    count = setting.adaptive_images if kind in ADAPTIVE else setting.images
    test = trained.experiment.dataset.splits["test"]
    k, label = np.asarray(test["x"][:count], np.float32), np.asarray(test["label"][:count])
    if kind != "clean":
        of_ball = 0 if kind in WITHOUT_BALL else radius
        k = np.clip(_moved(setting, trained, which, kind, of_ball, count), k - radius, k + radius)
    purify = purification(setting.defence_radius)
    purified = in_chunks(lambda k: setting.density.call(purify, k), k)
    read = lambda k: in_chunks(
        lambda k: trained.call(predicted(which), k / np.float32(setting.levels - 1)), k
    )
    log_prob = in_chunks(lambda k: setting.density.call(_log_prob, k), k)
    return Attacked(k, purified, read(k) == label, read(purified) == label, log_prob)


def table(setting: Setting, which: str, radii, dataset: str):
    """Accuracies of a classifier after each attack, without and with the defence."""
    adaptive = [kind for kind in ADAPTIVE if kind != "square" or setting.queries]
    rows = [("clean", 0)] + [
        (kind, radius) for radius in radii for kind in (*ATTACKS, "strongest", *adaptive)
    ]
    return [
        _accuracy(setting, which, kind, radius, defended, dataset)
        for defended in (False, True)
        for kind, radius in rows
        if defended or kind not in ADAPTIVE
    ]


HOW = {
    "clean": "test images as they are",
    "strongest": "right after every attack that does not know the defence",
    "adaptive": "after BPDA with EOT, which knows the defence",
    "square": "after a random search of squares, which knows the defence and needs no gradient",
    "detector": "after an attack on class and log-likelihood",
}


def _accuracy(setting, which, kind, radius, defended, dataset):
    def measure(trained, arrays):
        kinds = ("clean", *ATTACKS) if kind == "strongest" else (kind,)
        each = [attacked(setting, trained, which, one, radius) for one in kinds]
        right = [one.right_purified if defended else one.right for one in each]
        return evaluation.average(np.min(right, 0).astype(np.float64))

    name = kind if kind == "clean" else f"{kind}_{radius}"
    cited = None
    if dataset == "fashion_mnist" and defended and which == "plain" and kind == "strongest":
        cited = PUBLISHED.get(radius)
    return lab.Estimator(
        f"accuracy_{name}",
        HOW.get(kind, f"after {kind.replace('_', ' ')}"),
        measure,
        "fraction",
        published=None if cited is None else runs.Published(cited, SOURCE, "other networks"),
        model=NAMES[which] + (", PixelDefend" if defended else ""),
    )


def _detected(setting, kind, radius):
    """The area under the ROC curve of p-values of clean images against attacked ones."""

    def measure(trained, arrays):
        clean = attacked(setting, trained, "plain", "clean", 0).log_prob
        other = attacked(setting, trained, "plain", kind, radius).log_prob
        area, error = defence.auroc(clean, other, paired=True)
        return evaluation.Measurement(area, error, 2 * len(clean))

    how = "p-values of log-likelihoods, images as they are against those "
    how += HOW.get(kind, f"after {kind.replace('_', ' ')}")
    return lab.Estimator(f"auroc_{kind}_{radius}", how, measure, "fraction", model="PixelCNN")


def _unnoticed(setting, kind, radius):
    """Misread images whose p-value is at least `LEVEL`."""

    def measure(trained, arrays):
        found = attacked(setting, trained, "plain", kind, radius)
        usual = attacked(setting, trained, "plain", "clean", 0).log_prob
        p = defence.rank_p_values(usual, found.log_prob)
        return evaluation.average((~found.right & (p >= LEVEL)).astype(np.float64))

    how = f"misread, with a p-value of at least {LEVEL}, "
    how += HOW.get(kind, f"after {kind.replace('_', ' ')}")
    return lab.Estimator(f"unnoticed_{kind}_{radius}", how, measure, "fraction", model="PixelCNN")


def pictures(setting: Setting, radius: int, trained, count: int = 8):
    """Columns: an image; after BIM; purified; after the attack that knows the defence; purified."""
    kinds = [attacked(setting, trained, "plain", kind, radius) for kind in ("bim", "adaptive")]
    clean = trained.experiment.dataset.splits["test"]["x"]
    shown = [clean, *(array for one in kinds for array in (one.k, one.purified))]
    count = min(count, len(kinds[1].k))
    images = np.stack([np.asarray(array[:count], np.float32) for array in shown], 1)
    names = ("image", "BIM", "purified", "BPDA, EOT", "purified")
    flat = images.reshape(-1, *images.shape[2:]) / (setting.levels - 1)
    return image_grid(flat, columns=len(shown), column_names=names)


def roc(setting: Setting, radius: int, trained):
    """ROC curves of the p-values for each attack."""
    of = lambda kind: attacked(setting, trained, "plain", kind, radius).log_prob
    groups = {kind.replace("_", " "): of(kind) for kind in (*ATTACKS, "detector")}
    title = f"Attacks of {radius} levels, found by the likelihood"
    return roc_curves(of("clean"), groups, title=title)
