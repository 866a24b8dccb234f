"""Gated PixelCNN over the codes of a VQ-VAE: exact nats of the codes, and samples decoded.

    dgmjax train vq_vae_mnist --data-dir DATA
    dgmjax train vq_prior_mnist --autoencoder runs/vq_vae_mnist/seed0 --data-dir DATA

Data: the indices of the images under the other run, encoded once. The bound of the image is
-log p(x | e) - log p(e). There is no published number: independent and uniform codes are the
baselines. Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning",
2017, section 3.3, https://arxiv.org/abs/1711.00937; Razavi, van den Oord & Vinyals, "Generating
Diverse High-Fidelity Images with VQ-VAE-2", 2019, section 3.2, https://arxiv.org/abs/1906.00446.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from dgmjax import data, evaluation, lab, models, objectives, plotting
from dgmjax.contracts import has_codes
from dgmjax.data.dataset import describe

from ..shared import common
from ..shared.first_stage import first_stage
from ..shared.options import Epochs
from .vq_vae_mnist import vq_vae_mnist


def vq_prior_mnist(
    *,
    autoencoder: str | None = None,
    features: int = 32,
    blocks: int = 5,
    weight_decay: float = 1e-4,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=8, batch_size=128),
) -> lab.Experiment:
    """The prior of a trained `vq_vae_mnist`, of one or two levels of one or several codes a site.

    Args:
      autoencoder: run folder of the VQ-VAE.
      features: of each stack of the gated PixelCNN.
      blocks: its layers.
      weight_decay: of AdamW.
    """
    trained = first_stage(
        vq_vae_mnist,
        autoencoder,
        shared,
        option="autoencoder",
        kind="a VQ-VAE",
        is_right=has_codes,
    )
    module = trained.experiment.module
    if shared.tiny:
        features, blocks, shared = 4, 1, replace(shared, epochs=2)
    prior = models.CodePrior(
        module.index_shapes,
        tuple(level.num_codes for level in module.levels),
        features=features,
        blocks=blocks,
    )
    dataset = code_dataset(trained, prior)
    nll = objectives.negative_log_likelihood
    return common.experiment(
        shared,
        model=f"gated PixelCNN over the codes of {trained.experiment.model}",
        module=prior,
        loss=nll,
        adam={"weight_decay": weight_decay},
        dataset=dataset,
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


def code_dataset(trained, prior):
    """All images as their indices, the coarsest level first, with one draw of the binarisation."""
    splits = {}
    for split in trained.experiment.dataset.splits:
        indices = evaluation.encoded(lambda x: trained.call("encode", x), trained.arrays(split))
        splits[split] = {"x": np.asarray(prior.join(indices), np.int32)}
    name = f"codes of {trained.experiment.dataset.name}"
    source = f"{trained.experiment.model} of step {trained.step}"
    # What a model computed differs in its last bits from machine to machine.
    info = describe(
        splits, derived=True, source=source, splits=trained.experiment.dataset.info["splits"]
    )
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
    flat, sizes, names = lab.code_figures.by_depth(autoencoder.experiment.module.levels, maps)
    return plotting.codes.index_maps(x, flat, x, sizes, "Sampled codes and their images", names)
