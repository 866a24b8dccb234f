"""Masked diffusion on static binarised MNIST: a bound beside PixelCNN's exact 81.30 nats.

    dgmjax train masked_diffusion_binarized_mnist --data-dir DATA

A U-Net predicts hidden pixels from those that are left, any share of them. The bound in continuous
time is the mean of -log p(x) over all orders of the pixels, and so an upper bound on the negative
log-likelihood; our own PixelCNN (`pixelcnn_binarized_mnist`) has an exact one. The best epoch is
chosen on the validation split.
Sources: Shi et al., "Simplified and Generalized Masked Diffusion for Discrete Data", 2024 (the
model; no number on this set), https://arxiv.org/abs/2406.04329; van den Oord, Kalchbrenner &
Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, Table 4 (PixelCNN 81.30),
https://arxiv.org/abs/1601.06759.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import lab, models, nn, noising, objectives, runs

from ..shared import common
from ..shared.options import Images


def masked_diffusion_binarized_mnist(
    *,
    channels: tuple[int, ...] = (48, 64),
    patch: int = 2,
    blocks: int = 1,
    attention: bool = False,
    dropout: float = 0.0,
    replacement: Literal["absorbing", "uniform"] = "absorbing",
    steps_of_samples: int = 196,
    evaluation_samples: int = 8,
    weight_decay: float = 1e-4,
    shared: Images = Images(learning_rate=3e-3, ema_decay=0.999, epochs=4, batch_size=16),
) -> lab.Experiment:
    """Pixels under masks, or replaced at random, predicted by a U-Net.

    Args:
      channels: of each level of the U-Net.
      patch: side of the squares of pixels that the finest level sees as one.
      blocks: residual blocks of each level.
      attention: over the pixels of the coarsest level.
      dropout: rate, in each block.
      replacement: noise is a mask, or any value.
      steps_of_samples: network calls of a sample.
      evaluation_samples: noisy copies of each test image, spread evenly over time.
      weight_decay: of AdamW.
    """
    dataset, transform = common.images(shared, "static")
    if shared.tiny:
        channels, shared = (8,), replace(shared, epochs=2)
        steps_of_samples, evaluation_samples = 4, 2
    process = noising.DiscreteProcess(2, replacement)
    network = nn.UNet(
        channels,
        blocks,
        patch,
        attention=(len(channels) - 1,) if attention else (),
        heads=4,
        num_outputs=2,
        embed=nn.OneHot(process.num_states),
        dropout=dropout,
    )
    masks, bound = process.absorbs, objectives.discrete_diffusion
    recipes = lab.figures
    figures = {"samples": recipes.samples, "data": recipes.data}
    published = runs.Published(
        81.30, "van den Oord et al. 2016, Table 4, PixelCNN", "another model, exact"
    )
    return common.experiment(
        shared,
        model=f"{replacement} diffusion, U-Net {common.sizes(*channels)}, patch {patch}",
        module=models.DiscreteDiffusion(
            dataset.event_shape, process, network, steps=steps_of_samples, site_bias=True
        ),
        loss=bound,
        adam={"weight_decay": weight_decay, "clip": 1000.0},
        dataset=dataset,
        transform=transform,
        validation=bound,
        estimators=(
            lab.Estimator(
                "nll_bound_k1",
                f"bound in continuous time, {evaluation_samples} noisy copies of each image",
                lab.averaged(partial(bound, num_samples=evaluation_samples), batch_size=50),
                published=published,
            ),
            common.baseline(),
        ),
        figures=figures | ({"completions": recipes.completions} if masks else {}),
        previews=("samples",),
        evaluation_batch_size=250,
    )
