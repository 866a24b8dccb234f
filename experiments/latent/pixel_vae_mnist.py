"""Posterior collapse: a VAE with a PixelCNN decoder, plain, with free bits, or as a delta-VAE.

    dgmjax train pixel_vae_mnist --method plain --data-dir DATA
    dgmjax train pixel_vae_mnist --method free_bits --data-dir DATA
    dgmjax train pixel_vae_mnist --method delta --warm-up 3 --epochs 8 --data-dir DATA

The rate (`kl_nats`) of the plain model falls to zero, since the decoder does not need z. Free bits
and the AR(1) prior of the delta-VAE keep it up; the latter uses its code only if the weight of the
KL term rises over some epochs. Published for other networks on this binarisation, about: 79.02 nats
(PixelVAE). Sources: Gulrajani et al., "PixelVAE: A Latent Variable Model for Natural Images", 2017,
https://arxiv.org/abs/1611.05013; Kingma et al., "Improving Variational Inference with Inverse
Autoregressive Flow", 2016, Eq. 15, https://arxiv.org/abs/1606.04934; Razavi, van den Oord, Poole &
Vinyals, "Preventing Posterior Collapse with delta-VAEs", 2019, https://arxiv.org/abs/1901.03416.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from dgmjax import lab, models, objectives
from dgmjax.errors import require

from ..shared import common
from ..shared.options import Images


def pixel_vae_mnist(
    *,
    method: Literal["plain", "free_bits", "delta"] = "free_bits",
    free_bits: float = 0.25,
    latent: int = 32,
    features: int = 16,
    blocks: int = 3,
    channels: int = 16,
    warm_up: int = 0,
    shared: Images = Images(learning_rate=2e-3, epochs=5, batch_size=64),
) -> lab.Experiment:
    """A PixelCNN given a code z, and what keeps the code in use.

    Args:
      method: nothing; free bits; or the AR(1) prior of delta-VAE, over a sequence of 8 codes.
      free_bits: nats of each dimension that cost nothing, for that method.
      latent: dimensions of z, a multiple of 8.
      features, blocks: of the PixelCNN.
      channels: of the encoder.
      warm_up: epochs in which the weight of the KL divergence rises from 0 to 1.
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        latent, features, blocks, channels, shared = 8, 4, 1, 4, replace(shared, epochs=1)
    rule = "must be a multiple of 8, the codes of the sequence"
    require(method != "delta" or latent % 8 == 0, "latent", rule, latent)
    shape = dataset.event_shape
    sizes: dict[str, Any] = {"features": features, "blocks": blocks, "channels": channels}
    if method == "delta":
        module = models.DeltaVAE(shape, (8, latent // 8), **sizes)
    else:
        module = models.PixelVAE(shape, latent, **sizes)
    loss = objectives.elbo
    if method == "free_bits":
        loss = partial(loss, free_bits=free_bits)
    loss = common.warmed_up(loss, dataset, warm_up, shared)
    return common.latent_experiment(
        shared,
        model=f"PixelVAE {latent}, {method}",
        module=module,
        loss=loss,
        dataset=dataset,
        transform=transform,
        adam={"clip": 10.0},
        validation=objectives.elbo,
        estimators=common.latent_estimators(
            module, dataset, samples=8 if shared.tiny else 16, chunk=4
        ),
        evaluation_batch_size=100,
    )
