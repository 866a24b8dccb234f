"""Compressed sensing by generative models: Lasso's error with a fifth of the measurements or less.

    dgmjax train vae_mnist --latent 20 --hidden 500 500 --epochs 30 --run-dir runs/prior
    dgmjax train compressed_sensing --prior vae --trained runs/prior --data-dir DATA
    dgmjax train compressed_sensing --prior uae --data-dir DATA

y = A x + n with |n| = 0.1 in expectation and a random A, for 300 test images: the squared error per
pixel against the number of measurements, for Lasso in three bases, CSGM, Sparse-Gen, and
autoencoders that learn A. Weights of penalties are chosen on training images. Published for a VAE
784-500-500-20: as good as Lasso with 5 to 10 times fewer measurements where these are few, and
levelling off above about 100, which Sparse-Gen does not. With `--trained` nothing is trained: that
run is measured, with `--measured omniglot` on other images than its own. `--beside` names run
folders whose curves are drawn in the same figure. 90% intervals of posterior samples allow for a
normal deviation from the VAE's images (see `posterior_samples`).
Sources: Bora, Jalal, Price & Dimakis, "Compressed Sensing using Generative Models", 2017, Figure
1a, https://arxiv.org/abs/1703.03208; Dhar, Grover & Ermon, "Modeling Sparse Deviations for
Compressed Sensing using Generative Models", 2018, https://arxiv.org/abs/1807.01442; Grover & Ermon,
"Uncertainty Autoencoders: Learning Compressed Representations via Variational Information
Maximization", 2019, https://arxiv.org/abs/1812.10539.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import optax

from dgmjax import data, lab
from dgmjax.contracts import generates, is_latent_variable_model, pushes_forward
from dgmjax.errors import RunError, require, require_sizes
from dgmjax.types import Array

from ..adversarial.gan_mnist import gan_mnist
from ..flows.image_flow import image_flow
from ..latent.vae_mnist import vae_mnist
from ..shared import sensing
from ..shared.first_stage import first_stage
from ..shared.image_networks import NORMALISED_PLAY
from ..shared.options import BoundedImages, Epochs, Images

Prior = Literal["vae", "gan", "flow", "uae"]
Source = Literal["mnist", "omniglot"]


class Kind(NamedTuple):
    """A kind of prior: the experiment that trains it, what it is, and its values as grey ones."""

    experiment: Callable[..., lab.Experiment]
    is_right: Callable[[Any], bool]
    article: str
    to_grey: Callable[[Array], Array]


def _as_it_is(x):
    return x


def _from_signed(x):
    return 0.5 * (x + 1.0)


KINDS = {
    "vae": Kind(vae_mnist, is_latent_variable_model, "a VAE", _as_it_is),
    "gan": Kind(gan_mnist, generates, "a GAN", _from_signed),
    "flow": Kind(image_flow, pushes_forward, "a flow", data.Logit(0.05).inverse),
}


def compressed_sensing(
    *,
    prior: Prior = "vae",
    trained: str | None = None,
    dataset: Source = "mnist",
    measured: Source | None = None,
    measurements: tuple[int, ...] = (10, 25, 50, 80, 100, 200, 300, 400, 500, 750),
    images: int = 300,
    noise: float = 0.1,
    restarts: int = 4,
    sensing_steps: int = 400,
    deviation: Literal["pixel", "dct", "wavelet"] = "pixel",
    lasso: bool = True,
    coverage: tuple[int, ...] = (25, 100, 300),
    beside: tuple[str, ...] = (),
    learned: bool = True,
    latent: int = 20,
    hidden: tuple[int, ...] = (500, 500),
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=30, batch_size=100),
) -> lab.Experiment:
    """A model of images, trained or read from a run folder, and what it restores.

    Args:
      prior: VAE, GAN, flow, or an uncertainty autoencoder for each number of measurements. A GAN
        reads the batch size and `epochs`, of 60,000 images, and no option of the optimiser.
      trained: run folder of `vae_mnist`, `gan_mnist` or `image_flow`; nothing is trained then.
      dataset: images that the model is trained on; with `trained`, those that it was trained on.
      measured: images that are measured, of the test split; those of `dataset` if None.
      measurements: their numbers.
      images: test images that are restored.
      noise: expected norm of the noise of all measurements of an image.
      restarts: starts of each restoration; the lowest objective is kept.
      sensing_steps: steps of each.
      deviation: basis in which Sparse-Gen's deviation is sparse.
      lasso: measure the baselines, too.
      coverage: numbers of measurements for which a VAE's posterior is sampled.
      beside: run folders whose curves the figure shows, too.
      learned: whether an autoencoder learns A; otherwise only its decoder.
      latent: dimensions of the VAE's z, or the GAN's.
      hidden: units of the VAE's and the autoencoders' hidden layers.
    """
    require_sizes(measurements=tuple(measurements), coverage=tuple(coverage), images=images)
    require(0.0 < noise < float("inf"), "noise", "must be a positive number", noise)
    apart = prior == "uae" and trained is not None
    require(not apart, "trained", "must be left out for `uae`, which is trained here", trained)
    if shared.tiny:
        measurements, coverage, images = (8,), coverage and (8,), 4
        restarts, sensing_steps, hidden, latent = 2, 4, (16,), 4
        shared = replace(shared, epochs=1)
    source = dataset if measured is None else measured
    # Records name the images of training as their data set.
    images_of = f"trained on {dataset}" + (f", images of {source}" if source != dataset else "")
    sizes = tuple(measurements)
    problem = sensing.Problem(*sensing.grey_images(source, shared, images), noise, source)
    if shared.tiny:
        problem = replace(problem, chain=(19, 20))
    baselines = sensing.lasso_methods() if lasso else {}
    if prior == "uae":
        base = sensing.autoencoders(shared, dataset, sizes, noise, tuple(hidden), learned)
        name = f"UAE, {'learned' if learned else 'random'} A, {images_of}"
        methods = {"UAE" if learned else "UAE of random A": sensing.by_autoencoder(sizes)}
        return sensing.experiment(base, name, problem, baselines | methods, sizes, tuple(beside))
    base = of_prior(prior, trained, shared, dataset, latent, hidden)
    rule = f"must be a run on {dataset}, the `dataset` that records name"
    same = shared.tiny or trained is None or base.dataset.name == dataset
    require(same, "trained", rule, base.dataset.name, "Give its `dataset`.", RunError)
    name = f"{base.model}, {images_of}"
    to_grey = KINDS[prior].to_grey
    methods = sensing.generative_methods(to_grey, deviation, restarts, sensing_steps)
    at = tuple(coverage) if prior == "vae" else ()
    others = {"operators": partial(sensing.operators_figure, problem, methods["CSGM"])}
    methods = baselines | methods
    return sensing.experiment(base, name, problem, methods, sizes, tuple(beside), at, others)


def of_prior(prior: str, run: str | None, shared: Epochs, dataset: Source, latent: int, hidden):
    """The experiment of a prior; one that trains nothing where a run folder is given."""
    kind = KINDS[prior]
    if run is not None:
        return frozen(
            first_stage(
                kind.experiment,
                run,
                shared,
                option="trained",
                kind=kind.article,
                is_right=kind.is_right,
            )
        )
    own = None if dataset == "mnist" or shared.tiny else dataset
    options: Any = {field: getattr(shared, field) for field in shared.__dataclass_fields__}
    if prior == "vae":
        group = BoundedImages(dataset=own, **options)
        return vae_mnist(latent=latent, hidden=tuple(hidden), shared=group)
    if prior == "flow":
        return image_flow(
            dataset="mnist" if shared.tiny else dataset,
            batch_size=shared.batch_size,
            shared=Images(**options),
        )
    play = replace(
        NORMALISED_PLAY,
        generator_rate=1e-3,
        batch_size=shared.batch_size,
        tiny=shared.tiny,
        data_dir=shared.data_dir,
    )
    steps = shared.epochs * 60_000 // shared.batch_size
    name = "mnist" if shared.tiny else dataset
    return gan_mnist(dataset=name, latent=latent, steps=steps, play=play)


def frozen(trained: lab.Trained) -> lab.Experiment:
    """The experiment of a trained model, which starts where that ended and changes nothing."""
    variables = trained.learner.variables(trained.state)
    still = {
        name: replace(player, optimiser=optax.set_to_zero())
        for name, player in trained.experiment.players.items()
    }
    return replace(
        trained.experiment,
        players=still,
        start=lambda *_: variables["params"],
        steps=1,
        evaluate_every=1,
        validation=None,
        ema_decay=None,
    )
