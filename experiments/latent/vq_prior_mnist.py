"""Gated PixelCNN over the codes of a VQ-VAE: exact nats of the codes, and samples decoded.

    dgmjax train vq_vae_mnist --data-dir DATA
    dgmjax train vq_prior_mnist --autoencoder runs/vq_vae_mnist/seed0 --data-dir DATA

Data: the indices of the images of the other run, encoded once. One CPU core, shared: 5 minutes,
143.7 nats for an image's 49 codes, where independent ones cost 178.5 and uniform ones 203.8. The
bound of the image, -log p(x | e) - log p(e), is 177.9, far above the VAEs on this binarisation:
codes of 7x7 sites say more of an image than it has. There is no published number.
Source: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
section 3.3; Razavi, van den Oord & Vinyals, "Generating Diverse High-Fidelity Images with
VQ-VAE-2", 2019, section 3.2.
"""

from functools import partial

import jax
import numpy as np

from dgmjax import data, evaluation, lab, models, objectives, plotting, training
from dgmjax.data.dataset import describe
from dgmjax.errors import RunError, require
from dgmjax.lab.trained import transformed

from ..shared import common
from .vq_vae_mnist import vq_vae_mnist


def vq_prior_mnist(
    *,
    autoencoder: str | None = None,
    features: int = 32,
    blocks: int = 5,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    epochs: int = 8,
    batch_size: int = 128,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """The prior of a trained `vq_vae_mnist`, of one or two levels.

    Args:
      autoencoder: run folder of the VQ-VAE.
      features: of each stack of the gated PixelCNN.
      blocks: its layers.
      learning_rate: peak of the cosine schedule of AdamW.
      weight_decay: of AdamW.
      epochs: passes over the codes of the training images.
      batch_size: images a step.
      tiny: a few steps of a small model, over the codes of an untrained VQ-VAE of the digits
        where none is named.
      data_dir: folder of data sets.
    """
    trained = first_stage(autoencoder, tiny, data_dir)
    module = trained.experiment.module
    if tiny:
        features, blocks, epochs = 4, 1, 2
    prior = models.CodePrior(
        module.index_shapes,
        tuple(level.num_codes for level in module.levels),
        features=features,
        blocks=blocks,
    )
    dataset = code_dataset(trained, prior)
    steps = common.epochs_to_steps(dataset, epochs, batch_size)
    nll = objectives.negative_log_likelihood
    return lab.Experiment(
        model=f"gated PixelCNN over the codes of {trained.experiment.model}",
        module=prior,
        players={
            "model": training.Player(
                nll, training.adam(learning_rate, steps, weight_decay=weight_decay)
            )
        },
        dataset=dataset,
        steps=steps,
        batch_size=batch_size,
        log_every=max(1, steps // 500),
        estimators=(
            lab.Estimator("nll_bound_k1", "reconstruction and code", partial(bound, trained)),
            lab.Estimator("code_nats", "exact", lab.averaged(nll, 100)),
            lab.Estimator(
                "code_nats", "exact", independent_codes, model="independent codes (baseline)"
            ),
            lab.Estimator(
                "code_nats", "exact", partial(uniform, trained), model="uniform codes (baseline)"
            ),
        ),
        figures={"samples": partial(samples, trained), "codes": partial(sampled_codes, trained)},
        previews=("samples",),
    )


def first_stage(autoencoder, tiny, data_dir):
    """The trained VQ-VAE; in miniature, an untrained one where none is named."""
    if autoencoder is None:
        remedy = "Train `vq_vae_mnist`, and name its run folder: `--autoencoder runs/...`."
        require(tiny, "autoencoder", "must be the run folder of a VQ-VAE", "none", remedy)
        experiment = vq_vae_mnist(tiny=True)
        learner = experiment.learner()
        arrays = transformed(experiment, "train")
        state = jax.jit(learner.init)(jax.random.key(0), {"x": arrays["x"][:128]})
        return lab.Trained(experiment, learner, state)
    trained = lab.load_run(autoencoder, data_dir=data_dir)
    coded = hasattr(trained.experiment.module, "index_shapes")
    rule = "must be the run folder of a VQ-VAE"
    require(coded, "autoencoder", rule, f"one of {trained.experiment.model}", error=RunError)
    return trained


def code_dataset(trained, prior):
    """All images as their indices, the coarsest level first, with one draw of the binarisation."""
    splits = {}
    for split in trained.experiment.dataset.splits:
        indices = evaluation.encoded(lambda x: trained.call("encode", x), trained.arrays(split))
        splits[split] = {"x": np.asarray(prior.join(indices), np.int32)}
    name = f"codes of {trained.experiment.dataset.name}"
    source = f"{trained.experiment.model} of step {trained.step}"
    info = describe(splits, source=source, splits=trained.experiment.dataset.info["splits"])
    return data.Dataset(name, splits, info)


def bound(autoencoder, trained, arrays):
    """-log p(x | e) - log p(e) of the images, with the learned p(e)."""
    images = autoencoder.arrays("test")
    likelihood = autoencoder.per_example(objectives.vq_vae, images, 500)["log_likelihood"]
    codes = trained.per_example(objectives.negative_log_likelihood, arrays, 100)["loss"]
    return evaluation.average(codes - likelihood)


def uniform(autoencoder, trained, arrays):
    """The nats of an image's codes, all equally likely."""
    return evaluation.Measurement(autoencoder.model.code_nats, None, len(arrays["x"]))


def independent_codes(trained, arrays):
    """Every site by its own frequencies in the training split, with one count for each code."""
    train, test = trained.arrays("train")["x"], arrays["x"]
    sizes = trained.experiment.module.family.levels
    counts = np.stack([np.bincount(site, minlength=sizes) for site in train.T])
    log_probs = np.log(counts + 1.0) - np.log(len(train) + sizes)
    return evaluation.average(-log_probs[np.arange(test.shape[1]), test].sum(-1))


def drawn(autoencoder, trained, num):
    """Indices drawn from the prior, and the means of their images."""
    maps = trained.experiment.module.split(trained.sample(num, seed=1))
    return maps, np.asarray(autoencoder.call(decoded, maps))


def decoded(model, maps):
    """E[x | e] of indices."""
    return model.decode(maps).mean()


def samples(autoencoder, trained):
    """Images decoded from samples of the prior."""
    _, x = drawn(autoencoder, trained, 64)
    return plotting.image_grid(x, title=f"Samples: {trained.experiment.model}")


def sampled_codes(autoencoder, trained):
    """Samples of the prior as maps of indices, beside their images."""
    maps, x = drawn(autoencoder, trained, 8)
    sizes = [level.num_codes for level in autoencoder.experiment.module.levels]
    return plotting.codes.index_maps(x, maps, x, sizes, "Sampled codes and their images")
