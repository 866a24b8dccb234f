"""VQ-VAE on dynamic MNIST: codes, their perplexity, and reconstructions (van den Oord et al. 2017).

    dgmjax train vq_vae_mnist --data-dir DATA
    dgmjax train vq_vae_mnist --levels 2 --data-dir DATA
    dgmjax train vq_vae_mnist --residual-depth 2 --num-codes 8 --data-dir DATA
    dgmjax train vq_prior_mnist --autoencoder runs/vq_vae_mnist/seed0 --data-dir DATA

The second command is VQ-VAE-2; the third quantises what a code leaves, so that two of 8 codes
name 64 sums in the bits of one of 64 codes (RQ-VAE); the last is the second stage, which learns
p(e). There is no published number on this binarisation: the bound -log p(x | e) - log p(e) with a
uniform prior p(e) stands beside independent pixels.
Sources: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
https://arxiv.org/abs/1711.00937; Razavi, van den Oord & Vinyals, "Generating Diverse High-Fidelity
Images with VQ-VAE-2", 2019, https://arxiv.org/abs/1906.00446; Lee, Kim, Kim, Cho & Han,
"Autoregressive Image Generation using Residual Quantization", 2022,
https://arxiv.org/abs/2203.01941.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from dgmjax import evaluation, lab, models, nn, objectives
from dgmjax.errors import require, require_sizes

from ..shared import common
from ..shared.options import Images


def vq_vae_mnist(
    *,
    levels: int = 1,
    residual_depth: int = 1,
    num_codes: int = 64,
    features: int = 8,
    channels: int = 32,
    blocks: int = 2,
    beta: float = 0.25,
    learning: Literal["ema", "gradient"] = "ema",
    shared: Images = Images(learning_rate=1e-3, epochs=8, batch_size=128),
) -> lab.Experiment:
    """Codes of 7x7 sites (with two levels of 14x14 and 7x7) and a Bernoulli decoder.

    Args:
      levels: 1 for VQ-VAE, 2 for VQ-VAE-2.
      residual_depth: codes of a site, each of what those before left.
      num_codes: codes of each level.
      features: length of a code.
      channels: of the residual networks.
      blocks: residual blocks of each network.
      beta: weight of the commitment.
      learning: codebooks follow averages ("ema") or gradients.
    """
    require(levels in (1, 2), "levels", "must be 1 or 2", levels)
    require_sizes(residual_depth=residual_depth)
    dataset, transform = common.images(shared, "dynamic")
    if shared.tiny:
        num_codes, features, channels, blocks, shared = 16, 4, 8, 1, replace(shared, epochs=2)
    options: dict[str, Any] = {"channels": channels, "blocks": blocks, "learning": learning}
    depth = residual_depth
    if levels == 1:
        factor = 2 if shared.tiny else 4
        module = models.VQVAE(dataset.event_shape, num_codes, features, factor, depth, **options)
    else:
        module = models.VQVAE2(dataset.event_shape, num_codes, features, (2, 2), depth, **options)
    bits = [lab.Estimator("bits_per_code", "of the codes of a site", site_bits, unit="bits")]
    return common.experiment(
        shared,
        model=name_of(levels, depth, num_codes),
        module=module,
        loss=partial(objectives.vq_vae, beta=beta),
        dataset=dataset,
        transform=transform,
        estimators=(
            lab.Estimator("nll_bound_k1", "uniform prior of the codes", bound),
            lab.Estimator(
                "log_likelihood_nats",
                "of the reconstruction, log p(x | e)",
                lab.averaged(objectives.vq_vae, metric="log_likelihood"),
            ),
            *(
                lab.Estimator(
                    f"perplexity_{level}" if depth == 1 else f"perplexity_{level}_{place}",
                    f"of the codes of level {level} over the split",
                    code_perplexity(level, place),
                    unit="codes",
                )
                for level in range(levels)
                for place in range(depth)
            ),
            *(bits if depth > 1 else ()),
            lab.Estimator(
                "reconstruction_mse", "mean squared error of a pixel", squared_error, unit="1"
            ),
            common.baseline(),
        ),
        figures={
            "reconstructions": lab.figures.reconstructions,
            "codes": lab.code_figures.maps,
            "codebook_use": lab.code_figures.usage,
            "data": lab.figures.data,
        },
        previews=("reconstructions",),
    )


def name_of(levels, depth, num_codes):
    """The model's name in records."""
    kind = f"{'RQ' if depth > 1 else 'VQ'}-VAE{'-2' if levels == 2 else ''}"
    return f"{kind}, {f'depth {depth} of ' if depth > 1 else ''}{num_codes} codes"


def bound(trained, arrays):
    """-log p(x | e) - log p(e) with p(e) uniform."""
    likelihood = trained.per_example(objectives.vq_vae, arrays, 500)["log_likelihood"]
    return evaluation.average(trained.model.code_nats - likelihood)


def site_bits(trained, arrays):
    """Bits that name the codes of a site of the finest level."""
    level = trained.experiment.module.levels[0]
    return evaluation.Measurement(level.depth * math.log2(level.num_codes), None, len(arrays["x"]))


def code_perplexity(level, depth=0):
    """How many codes of a depth of a level the split uses, as exp(entropy)."""

    def measure(trained, arrays):
        levels = trained.experiment.module.levels
        indices = evaluation.encoded(lambda x: trained.call("encode", x), arrays)
        flat, sizes, _ = lab.code_figures.by_depth(levels[level : level + 1], indices[level:])
        indices = flat[depth]
        counts = evaluation.code_counts(indices, sizes[depth])
        return evaluation.Measurement(float(nn.perplexity(jnp.asarray(counts))), None, len(indices))

    return measure


def squared_error(trained, arrays):
    """(x - E[x | e(x)])^2, averaged over pixels and examples."""

    def error(model, batch, key):
        difference = batch["x"] - model.reconstruct(batch["x"], key)
        return (difference**2).reshape(len(difference), -1).mean(-1), {}

    return evaluation.average(np.asarray(trained.per_example(error, arrays, 500)["loss"]))
