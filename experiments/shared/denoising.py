"""Parts of experiments on models with a time axis: options, estimators and figures."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from optax.assignment import hungarian_algorithm

from dgmjax import data, evaluation, lab, nn, objectives, plotting
from dgmjax.contracts import original_units
from dgmjax.data.dataset import describe
from dgmjax.errors import require
from dgmjax.evaluation.samples import frechet_distance, load_feature_net
from dgmjax.files import write_atomically
from dgmjax.inference import Sampler, Solver
from dgmjax.lab.sampling import Comparison
from dgmjax.lab.trained import Trained
from dgmjax.noising.couplings import squared_distances
from dgmjax.types import Array, Key

from .options import Shared

ProcessName = Literal[
    "straight",
    "trigonometric",
    "variance_preserving",
    "sub_variance_preserving",
    "variance_exploding",
]
CouplingName = Literal["independent", "assignment", "sinkhorn"]
MethodName = Literal["euler", "midpoint", "heun", "rk4"]

NetworkName = Literal["unet", "dit"]
Images = Literal["mnist", "fashion_mnist"]
Times = Literal["time", "log_snr"]
NUM_CLASSES = 10


def likelihood_by(solver: Solver) -> lab.Estimator:
    """The test negative log-likelihood by another solver than the model's."""

    how = f"ODE, exact trace, {solver.num_calls} network calls ({solver.method})"
    return lab.Estimator("nll_nats", how, lab.averaged(_nll_by(solver), 1000))


@lru_cache
def _nll_by(solver: Solver):
    """The same function for the same solver, so that it compiles once."""

    def nll(model, batch, key):
        log_prob, _ = model.log_prob_and_error(batch["x"], key, solver=solver)
        return -(log_prob + original_units(batch)), {}

    return nll


def transport_cost(name: str, num_steps: int, num: int) -> lab.Estimator:
    """Exact transport cost between samples of few steps and as many test points."""
    sampler = Sampler(name, num_steps)  # type: ignore[arg-type]

    def measure(trained: Trained, arrays) -> evaluation.Measurement:
        points = arrays["x"][:num]
        drawn = trained.call(_drawn(sampler, len(points)), jax.random.key(1))
        cost = squared_distances(drawn, jnp.asarray(points))
        rows, columns = jax.jit(hungarian_algorithm)(cost)
        # One assignment of all: its costs are far from independent, and their spread is no error.
        return evaluation.Measurement(float(jnp.mean(cost[rows, columns])), None, len(points))

    how = f"mean squared distance under the best assignment, {num} samples, {name}"
    how += f", {sampler.num_calls} network calls"
    return lab.Estimator("transport_cost", how, measure, unit="squared distance")


@lru_cache
def _drawn(sampler: Sampler, num: int):
    """The same function for the same arguments, so that it compiles once."""
    return lambda model, key: model.sample(key, (num,), sampler=sampler)


def trajectories(trained: Trained, num: int = 300, steps: int = 40):
    """The paths of samples along the ODE, from the source (grey) to the data."""
    paths = np.asarray(trained.call(_paths(num, steps), jax.random.key(1)))
    return plotting.paths(paths, f"Paths: {trained.experiment.model}")


@lru_cache
def _paths(num: int, steps: int):
    def paths(model, key):
        sampler, (first, last) = Sampler("heun", steps), model.ends
        x = model.base_at_end().sample(seed=key, sample_shape=(num,))
        times = sampler.times(model.path, (first, last))

        def step(x, ends):
            t, s = ends
            slope = model.predict(x, t, kind="velocity")
            other = model.predict(x + (s - t) * slope, s, kind="velocity")
            new = x + (s - t) * (slope + other) / 2
            return new, new

        _, later = jax.lax.scan(step, x, (times[:-1], times[1:]))
        return jnp.concatenate([x[None], later])

    return paths


def images(shared: Shared, dataset: str) -> tuple[data.Dataset, int]:
    """Grey images and their number of levels; scikit-learn's digits in miniature."""
    if shared.tiny:
        return data.load("digits"), 17
    return data.load(dataset, data_dir=shared.data_dir), 256


def kept_pairs(teacher: Trained, num: int, num_steps: int) -> data.Dataset:
    """Pairs of noise and what the teacher makes of it: made once, and kept in its run folder."""
    sampler = Sampler("heun", num_steps)
    run = teacher.folder
    stored = None if run is None else run.path / f"pairs_{num}_heun_{num_steps}_{teacher.step}.npz"
    if stored is not None and stored.is_file():
        with np.load(stored, allow_pickle=False) as file:
            pairs = dict(file)
    else:
        sizes = [min(500, num - start) for start in range(0, num, 500)]
        parts = [
            teacher.call(_pairs_of(sampler, size), jax.random.fold_in(jax.random.key(2), index))
            for index, size in enumerate(sizes)
        ]
        found = (np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts))
        pairs = dict(zip(("x", "noise"), found))
        if stored is not None:
            packed = io.BytesIO()
            np.savez(packed, **pairs)
            write_atomically(stored, packed.getvalue())
    images = teacher.experiment.dataset
    splits = {"train": pairs, "test": images.splits["test"]}
    source = f"{teacher.experiment.model} of step {teacher.step}"
    return data.Dataset(images.name, splits, describe(splits, derived=True, source=source))


@dataclass(frozen=True)
class UnlessPaired:
    """A transform of images that leaves pairs alone: the teacher made them of such images."""

    of_images: data.Transform

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        return dict(batch) if "noise" in batch else self.of_images(batch, key)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        if "noise" not in arrays:
            self.of_images.check(arrays)

    def inverse(self, x: Array) -> Array:
        return self.of_images.inverse(x)


@lru_cache
def _pairs_of(sampler: Sampler, num: int):
    return lambda model, key: objectives.teacher_pairs(model, key, num, sampler=sampler)


def dequantised(levels: int) -> data.Compose:
    """Grey values with uniform noise, in [-1, 1); undone by rounding down and clipping."""
    return data.Compose((data.Dequantise(levels), data.Standardise((0.5,), (0.5,))))


def network(
    name: NetworkName, width: int | None, patch: int | None, tiny: bool, num_classes: int = 0
) -> flax.linen.Module:
    """A network over images: a U-Net of three levels, or a transformer.

    Of 64 images of 28x28 pixels, one core of a CPU makes a training step of the U-Net in 0.65 s, of
    that over patches of 2x2 in 0.14 s, and of the transformer in a third of the first.

    Args:
      width: channels of the finest level, 24 by default; features of a patch, 64 by default.
      patch: side of the squares of pixels that are read as one: 1 by default; of the transformer 4.
    """
    if tiny:
        small = {"unet": nn.UNet((4,), num_classes=num_classes), "dit": nn.DiT(4, 1, 1, 4)}
        return small["unet" if num_classes else name]
    if name == "dit":
        return nn.DiT(width or 64, layers=4, heads=4, patch=patch or 4, num_classes=num_classes)
    width = width or 24
    return nn.UNet((width, 2 * width, 2 * width), patch=patch or 1, num_classes=num_classes)


def bits_by_ode(num: int, solver: Solver, how: str, objective: Any = None) -> lab.Estimator:
    """Bits per dimension of the first test images along the ODE, with random probes.

    The standard error is that of the mean over images, and holds the noise of the probes.
    """

    chosen = _nll_by(solver) if objective is None else objective
    measure = lab.averaged(chosen, 50, bits=True)
    few = lambda arrays: {name: array[:num] for name, array in arrays.items()}
    how = f"ODE, {solver.probes} probes, {solver.num_calls} network calls, {how}, {num} images"
    return lab.Estimator(
        "bits_per_dim", how, lambda trained, arrays: measure(trained, few(arrays)), unit="bits/dim"
    )


def bound_estimators(
    how: str, num_samples: int = 1, published=None, times: Times = "time"
) -> tuple[lab.Estimator, ...]:
    """The variational bound in bits per dimension, and its three terms in nats.

    Args:
      times: how they are drawn. Where a schedule falls without bound, as the cosine does, times
        drawn uniformly give a few examples nearly all of the weight.
    """

    def measured(metric: str, bits: bool = False):
        def measure(trained: Trained, arrays) -> evaluation.Measurement:
            values = _bounds(trained, num_samples, times)[metric]
            dims = arrays["x"][0].size
            return evaluation.average(evaluation.bits_per_dim(values, dims) if bits else values)

        return measure

    how = f"{how}, {num_samples} times drawn for each image"
    terms = ("prior", "diffusion", "reconstruction")
    return (
        lab.Estimator(
            "bits_per_dim_bound_k1",
            how,
            measured("loss", bits=True),
            unit="bits/dim",
            published=published,
        ),
        *(lab.Estimator(f"{term}_nats", how, measured(term)) for term in terms),
    )


@lru_cache(maxsize=1)
def _bounds(trained: Trained, num_samples: int, times: Times):
    """The bound of every test image and its terms: four estimators share them."""
    return trained.per_example(bound_of(num_samples, times), trained.arrays("test"), 100)


@lru_cache
def bound_of(num_samples: int, times: Times = "time"):
    """The bound of this number of draws: the same function, so that it compiles once."""
    return partial(objectives.diffusion_bound, num_samples=num_samples, times=times)


def distances(
    samplers: tuple[Sampler, ...], num: int, dataset: Images
) -> tuple[lab.Estimator, ...]:
    """The Frechet distance of samples by each sampler; its number of network calls is named."""
    spaced = {"time": "", "log_snr": ", steps equal in log_snr", "edm": ", steps of the EDM"}
    return tuple(
        _distance(
            f"{sampler.name}, {sampler.num_calls} network calls{spaced[sampler.spacing]}",
            num,
            dataset,
            sampler=sampler,
        )
        for sampler in samplers
    )


def distances_by(
    calls: tuple[int, ...], options: tuple[dict[str, Any], ...], num: int, dataset: Images
) -> tuple[lab.Estimator, ...]:
    """`distances`, for options of the model's `sample` that make this many network calls."""
    return tuple(
        _distance(f"{count} network calls", num, dataset, **each)
        for count, each in zip(calls, options)
    )


def _distance(how: str, num: int, dataset: Images, **options: Any) -> lab.Estimator:
    rule = "must be between 100, so that covariances have a meaning, and 10,000, the test images"
    require(100 <= num <= 10_000, "samples", rule, num)

    def measure(trained: Trained, arrays) -> evaluation.Measurement:
        compared = _comparison(trained, num)
        found = _features(trained, num, tuple(options.items()))
        return frechet_distance(compared.real, found.vectors)

    return lab.Estimator(
        load_feature_net(dataset).metric("fid"),
        f"Frechet distance, {num} generated against as many test images, {how}",
        measure,
        unit="squared distance",
    )


def guided(weights: tuple[float, ...], num: int, dataset: Images) -> tuple[lab.Estimator, ...]:
    """Distance, and accuracy of the feature net on samples of known classes, by guidance."""

    def accuracy(weight: float):
        def measure(trained: Trained, arrays) -> evaluation.Measurement:
            found = _features(trained, num, (("guidance", weight),))
            return evaluation.average(found.log_probs.argmax(1) == _labels(num))

        how = f"LeNet on {num} samples of every class, guidance {weight:g}"
        return lab.Estimator("class_accuracy", how, measure, unit="fraction")

    return tuple(
        one
        for weight in weights
        for one in (
            _distance(f"guidance {weight:g}", num, dataset, guidance=weight),
            accuracy(weight),
        )
    )


@lru_cache(maxsize=1)
def _comparison(trained: Trained, num: int) -> Comparison:
    return Comparison(trained, num)


def _labels(num: int) -> np.ndarray:
    return np.arange(num) % NUM_CLASSES


@lru_cache(maxsize=16)
def _features(trained: Trained, num: int, options: tuple[tuple[str, Any], ...]):
    """Features of samples drawn with these options of the model's `sample`."""
    compared = _comparison(trained, num)
    given = dict(options)

    def draw(size: int, seed: int):
        label = _labels(size) if "guidance" in given else None
        return trained.call(_sampled(size, options), jax.random.key(seed), label)

    return compared.net(compared.drawn(draw))


@lru_cache
def _sampled(num: int, options: tuple[tuple[str, Any], ...]):
    """The same function for the same arguments, so that it compiles once."""

    def sample(model, key, label):
        shape = (num,) if label is None else ()
        return model.sample(key, shape, label, **dict(options))

    return sample


def guidance_figure(weights: tuple[float, ...], num: int, dataset: Images):
    """A figure: distance and accuracy of the classes against the weight of the guidance."""

    def draw(trained: Trained):
        measured = [
            [
                one.measure(trained, trained.arrays("test")).value
                for one in guided((w,), num, dataset)
            ]
            for w in weights
        ]
        distance, accuracy = np.array(measured).T
        title = f"Guidance: {trained.experiment.model}"
        curves = {"Frechet distance": distance, "accuracy of the classes": accuracy}
        return plotting.by_setting(np.array(weights), curves, "guidance weight", title)

    return draw


def calls_figure(
    calls: tuple[int, ...], options: tuple[dict[str, Any], ...], num: int, dataset: Images
):
    """A figure: the distance of samples against the number of network calls."""

    def draw(trained: Trained):
        arrays = trained.arrays("test")
        rows = distances_by(calls, options, num, dataset)
        values = [one.measure(trained, arrays).value for one in rows]
        title = f"Network calls: {trained.experiment.model}"
        curve = {"Frechet distance": np.array(values)}
        return plotting.by_setting(np.array(calls), curve, "network calls", title, log=True)

    return draw
