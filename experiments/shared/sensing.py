"""Parts of experiments on measurements: methods of restoration, their errors and figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import applications, data, evaluation, lab, models, objectives
from dgmjax.plotting import compared, image_grid
from dgmjax.runs import RunFolder
from dgmjax.types import Array, Key

from . import common
from .options import Epochs

CHUNK = 100
"""Images that are restored at once."""

CHOSEN_ON = 20
"""Training images on which the weight of a penalty is chosen."""

LASSO_WEIGHTS = (1e-4, 3e-4, 1e-3)
SPARSE_GEN_WEIGHTS = (0.03, 0.1, 0.5)


@dataclass(frozen=True, eq=False)
class Problem:
    """Images `[N, *event]` in [0, 1] that are measured at random.

    Attributes:
      test: images to be restored.
      train: images on which weights are chosen and deviations are measured.
      noise: expected norm of the noise of all measurements of an image.
      source: name of the test images.
      chain: samples of a posterior, and steps of the chain before them.
    """

    test: np.ndarray
    train: np.ndarray
    noise: float
    source: str
    chain: tuple[int, int] = (99, 150)

    def operator(self, size: int) -> applications.Operator:
        """The random matrix of this number of measurements, the same for all images."""
        shape, scale = self.test.shape[1:], self.noise / size**0.5
        return applications.random_measurements(jax.random.key(size), size, shape, scale)


class Method(NamedTuple):
    """A way to restore images.

    Attributes:
      restore: `(trained, operator, x, weight)` -> images, of measurements of the images x.
      weights: of its penalty, of which the best on training images is taken.
      needs_model: whether it reads the trained model.
    """

    restore: Callable[..., np.ndarray]
    weights: tuple[float | None, ...] = (None,)
    needs_model: bool = True


def grey_images(source: str, shared: Epochs, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The first test images and some training images of a source, in [0, 1]."""
    found = data.load("digits" if shared.tiny else source, data_dir=shared.data_dir)
    grey = lambda x: np.asarray(x, np.float32) / (found.info["levels"] - 1)
    test, train = (found.splits[split]["x"] for split in ("test", "train"))
    return grey(test[:num]), grey(train[: 4 if shared.tiny else 2000])


def observed(operator: applications.Operator, x: np.ndarray) -> Array:
    """Measurements of images, with one fixed draw of the noise."""
    return operator.observe(jax.random.key(1), jnp.asarray(x))


def in_chunks(restore: Callable[[Array], Any], y: Array) -> np.ndarray:
    """`restore(y)` of a few examples at a time."""
    parts = [np.asarray(restore(y[i : i + CHUNK])) for i in range(0, len(y), CHUNK)]
    return np.concatenate(parts)


def lasso_methods() -> dict[str, Method]:
    """Lasso in pixels, cosines and wavelets."""
    names = {"pixels": "pixel", "cosines": "dct", "wavelets": "wavelet"}
    return {
        f"Lasso, {name}": Method(partial(_lasso, basis), LASSO_WEIGHTS, False)
        for name, basis in names.items()
    }


def _lasso(basis, trained, operator, x, weight):
    y = observed(operator, x)
    return applications.lasso(operator, y, basis, weight=weight, num_steps=200)


def generative_methods(to_grey, basis, restarts: int, num_steps: int) -> dict[str, Method]:
    """CSGM and Sparse-Gen by a model whose values `to_grey` turns into grey ones."""
    method = partial(_generative, to_grey, basis, restarts, num_steps)
    return {"CSGM": Method(method), "Sparse-Gen": Method(method, SPARSE_GEN_WEIGHTS)}


def _generative(to_grey, basis, restarts, num_steps, trained, operator, x, weight):
    found = _restoring(to_grey, basis if weight else None, restarts, num_steps)
    call = lambda y: trained.call(found, operator, y, jax.random.key(2), jnp.float32(weight or 0.0))
    return in_chunks(call, observed(operator, x))


@lru_cache
def _restoring(to_grey, basis, restarts, num_steps):
    """The same function for the same options, so that it compiles once."""

    def restored(model, operator, y, key, weight):
        return applications.restore(
            applications.generator_of(model, to_grey),
            operator,
            y,
            key,
            deviation=None if basis is None else applications.Deviation(basis, weight),
            restarts=restarts,
            num_steps=num_steps,
            learning_rate=0.1,
        ).x

    return restored


class Autoencoders(nn.Module):
    """Uncertainty autoencoders of several numbers of measurements, trained side by side."""

    members: tuple[models.UncertaintyAutoencoder, ...]

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Array:
        """Samples of the last, by its chain."""
        return self.members[-1].sample(key, sample_shape)


def autoencoders(shared: Epochs, source: str, sizes, noise: float, hidden, learned: bool):
    """An experiment that trains an uncertainty autoencoder for each number of measurements."""
    dataset = data.load("digits" if shared.tiny else source, data_dir=shared.data_dir)
    members = tuple(
        models.DenseUAE(dataset.event_shape, m, hidden, scale=noise / m**0.5, learned=learned)
        for m in sizes
    )
    return common.experiment(
        shared,
        model="uncertainty autoencoders",
        module=Autoencoders(members),
        loss=every_bound,
        dataset=dataset,
        transform=data.Scale(dataset.info["levels"]),
        evaluations=1,
    )


def every_bound(model, batch, key):
    """The sum of the losses of the members, which share no parameters."""
    keys = jax.random.split(key, len(model.members))
    losses = [
        objectives.information_bound(member, batch, one)[0]
        for member, one in zip(model.members, keys)
    ]
    return sum(losses), {f"loss_m{m.size}": one for m, one in zip(model.members, losses)}


def by_autoencoder(sizes: tuple[int, ...]) -> Method:
    """Restoration by the autoencoder of the operator's number of measurements, by its own A."""
    return Method(partial(_by_autoencoder, sizes))


def _by_autoencoder(sizes, trained, operator, x, weight):
    method = _reconstructed(sizes.index(operator.size))
    return in_chunks(lambda x: trained.call(method, x, jax.random.key(1)), x)


@lru_cache
def _reconstructed(member: int):
    return lambda model, x, key: model.members[member].reconstruct(x, key)


def experiment(
    base: lab.Experiment,
    name: str,
    problem: Problem,
    methods: Mapping[str, Method],
    sizes: tuple[int, ...],
    beside: tuple[str, ...],
    coverage: tuple[int, ...] = (),
    figures: Mapping[str, Callable] | None = None,
) -> lab.Experiment:
    """The experiment `base` with the errors of restoration as its results.

    Raises:
      RunError: one of the folders `beside` is no run folder.
    """
    for folder in beside:
        RunFolder(folder)
    how = f"{len(problem.test)} test images of {problem.source}, |n| = {problem.noise:g}"
    shown = {key: f"{key}: {name}" if one.needs_model else key for key, one in methods.items()}
    errors = [
        lab.Estimator(
            f"squared_error_m{size}",
            f"{how}, per pixel, {key}",
            partial(squared_error, problem, method, size),
            unit="squared grey value",
            model=shown[key],
        )
        for key, method in methods.items()
        for size in sizes
    ]
    mean = f"posterior mean: {name}"
    posteriors = [
        one for size in coverage for one in posterior_estimators(problem, size, how, mean)
    ]
    drawn = {key: (shown[key], method) for key, method in methods.items()}
    return replace(
        base,
        model=name,
        estimators=(*errors, *posteriors),
        figures={
            "errors": partial(error_figure, problem, drawn, sizes, (mean, coverage), beside),
            "restored": partial(restored_figure, problem, methods, sizes),
            **(figures or {}),
        },
        previews=(),
    )


@lru_cache(512)
def restored(problem: Problem, method: Method, size: int, trained) -> np.ndarray:
    """The test images by a method whose weight was chosen on training images."""
    operator, few = problem.operator(size), problem.train[:CHOSEN_ON]
    weight = method.weights[0]
    if len(method.weights) > 1:
        of = lambda w: np.mean((method.restore(trained, operator, few, w) - few) ** 2)
        weight = min(method.weights, key=of)
    return method.restore(trained, operator, problem.test, weight)


def squared_error(problem: Problem, method: Method, size: int, trained, _) -> Any:
    """Mean over images of the mean squared error of their pixels."""
    difference = restored(problem, method, size, trained) - problem.test
    return evaluation.average((difference**2).reshape(len(difference), -1).mean(1))


def posterior_estimators(problem: Problem, size: int, how: str, name: str) -> list[lab.Estimator]:
    """Error of the posterior mean `name`, and how often 90% intervals hold what they should."""
    rows = {
        "varying": "the half of the pixels in which the model is off most on training images",
        "pixels": "all pixels",
        "held_out": "100 random measurements that were not made",
        "simulated": "pixels of images drawn from the model with its deviation",
    }
    coverage = [
        lab.Estimator(
            f"coverage_90_{row}_m{size}",
            f"{how}, 90% intervals of HMC samples, {text}",
            partial(_coverage, problem, size, row),
            unit="fraction",
        )
        for row, text in rows.items()
    ]
    mean = lab.Estimator(
        f"squared_error_m{size}",
        f"{how}, per pixel, mean of HMC samples with a normal deviation",
        partial(_posterior_error, problem, size),
        unit="squared grey value",
        model=name,
    )
    return [mean, *coverage]


@lru_cache(8)
def unexplained(problem: Problem, trained) -> np.ndarray:
    """Root mean square of what the VAE leaves of training images, at least 0.001."""
    made = in_chunks(lambda x: trained.call(_mean_of_mean, x), jnp.asarray(problem.train))
    return np.maximum(np.sqrt(((made - problem.train) ** 2).mean(0)), 1e-3)


def _mean_of_mean(model, x):
    return model.likelihood(evaluation.posterior_mean(model, x)).mean()


@lru_cache(16)
def posterior(problem: Problem, size: int, simulated: bool, trained):
    """Truth `[N, *event]` and samples `[S, N, *event]` of the posterior given measurements."""
    spread, operator = unexplained(problem, trained), problem.operator(size)
    truth = problem.test
    if simulated:
        truth = np.asarray(trained.call(_simulated(len(truth)), spread, jax.random.key(4)))
    method, key = _sampled(*problem.chain), jax.random.key(3)
    # Chunks are of examples, the first axis; samples come first otherwise.
    draw = lambda y: jnp.moveaxis(trained.call(method, operator, y, key, spread), 0, 1)
    return truth, np.moveaxis(in_chunks(draw, observed(operator, truth)), 1, 0)


@lru_cache
def _simulated(num: int):
    def simulated(model, spread, key):
        z_key, x_key = jax.random.split(key)
        x = model.likelihood(model.prior().sample(seed=z_key, sample_shape=(num,))).mean()
        return x + spread * jax.random.normal(x_key, x.shape)

    return simulated


@lru_cache
def _sampled(num_samples: int, num_warm_up: int):
    def sampled(model, operator, y, key, spread):
        generator, keys = applications.generator_of(model), jax.random.split(key)
        options: dict[str, Any] = {"num_steps": 2 * num_warm_up, "learning_rate": 0.1}
        start = applications.restore(generator, operator, y, keys[0], **options)
        return applications.posterior_samples(
            generator,
            operator,
            y,
            keys[1],
            start=start.z,
            unexplained=spread,
            num_samples=num_samples,
            thin=1,
            num_warm_up=num_warm_up,
        ).x

    return sampled


def _posterior_error(problem: Problem, size: int, trained, _):
    truth, samples = posterior(problem, size, False, trained)
    difference = samples.mean(0) - truth
    return evaluation.average((difference**2).reshape(len(difference), -1).mean(1))


def _coverage(problem: Problem, size: int, row: str, trained, _):
    truth, samples = posterior(problem, size, row == "simulated", trained)
    if row == "held_out":
        other = applications.random_measurements(jax.random.key(10**6), 100, truth.shape[1:])
        truth, samples = other(truth), other(samples)
    inside = np.asarray(applications.covered(jnp.asarray(samples), jnp.asarray(truth)))
    if row == "varying":
        spread = unexplained(problem, trained)
        inside = inside[:, spread > np.median(spread)]
    return evaluation.average(inside.reshape(len(inside), -1).mean(1))


def error_figure(problem, methods, sizes, posteriors, beside, trained):
    """Error against the number of measurements, with the curves of other runs."""
    curves = {
        shown: [(m, squared_error(problem, method, m, trained, None).value) for m in sizes]
        for shown, method in methods.values()
    }
    mean, coverage = posteriors
    if coverage:
        curves[mean] = [(m, _posterior_error(problem, m, trained, None).value) for m in coverage]
    for folder in beside:
        for record in RunFolder(folder).read_records():
            name, _, size = record.metric.rpartition("_m")
            if name == "squared_error":
                curves.setdefault(record.model, []).append((int(size), record.value))
    arrays = {name: np.unique(np.asarray(points), axis=0) for name, points in curves.items()}
    title = f"{len(problem.test)} test images of {problem.source}"
    return compared(arrays, "measurements m", "squared error per pixel", title)


def restored_figure(problem, methods, sizes, trained, num: int = 10):
    """Test images, and below each what the methods make of a few measurements and of many."""
    num = min(num, len(problem.test))
    last = len(sizes) - 1
    chosen = dict.fromkeys((sizes[last // 4], sizes[-(-last * 2 // 3)]))
    rows, names = [problem.test[:num]], ["truth"]
    for size in chosen:
        for key, method in methods.items():
            rows.append(restored(problem, method, size, trained)[:num])
            names.append(f"{key} m={size}")
    return image_grid(np.clip(np.concatenate(rows), 0.0, 1.0), columns=num, row_names=names)


def operators_figure(problem: Problem, method: Method, trained, num: int = 10):
    """Test images; what is seen of them by other operators, and what CSGM makes of that."""
    x = problem.test[: min(num, len(problem.test))]
    height, width, _ = shape = x.shape[1:]
    upper = np.zeros(shape, bool)
    upper[: height // 2] = True
    factor = next(n for n in (4, 2, 1) if height % n == 0 == width % n)
    operators = {
        "upper half": applications.inpainting(upper, 0.01),
        f"means of {factor}x{factor}": applications.block_average(shape, factor, 0.01),
        "noise of 0.3": applications.denoising(shape, 0.3),
    }
    rows, names = [x], ["truth"]
    for name, operator in operators.items():
        # Block means are spread over their blocks: A^T y times the pixels of a block.
        spread = np.prod(shape) / operator.size if operator.kind == "separable" else 1.0
        rows.append(spread * np.asarray(operator.adjoint(observed(operator, x))))
        rows.append(method.restore(trained, operator, x, None))
        names += [name, "restored"]
    return image_grid(np.clip(np.concatenate(rows), 0.0, 1.0), columns=len(x), row_names=names)
