"""Image flows in bits/dim: Glow on MNIST, about 1.05 (Kingma & Dhariwal 2018), and RealNVP.

    dgmjax train image_flow --flow glow --dataset mnist --data-dir DATA
    dgmjax train image_flow --flow realnvp --dataset cifar10_5k --data-dir DATA

Grey values are dequantised by uniform noise and mapped by a logit with alpha 0.05. The defaults are
for a GPU; on two CPU cores use `--depth 4 --channels 32 --epochs 3` for Glow and `--depth 1
--channels 16 --epochs 3` for RealNVP. `cifar10_5k` has a twelfth of the training images, which puts
the published number out of reach.
Sources: Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018 (the
  number for MNIST is the one usually quoted; it is not in the table of the paper),
https://arxiv.org/abs/1807.03039; Dinh, Sohl-Dickstein & Bengio, "Density Estimation using Real
NVP", 2016, Table 1, https://arxiv.org/abs/1605.08803.
"""

from dataclasses import replace
from typing import Any, Literal

from dgmjax import data, lab, models, objectives, runs

from ..shared import common, own
from ..shared.options import Images

Flow = Literal["glow", "realnvp"]
KNOWN = ("mnist", "fashion_mnist", "cifar10_5k")
PUBLISHED = {
    ("glow", "mnist"): runs.Published(
        1.05, "about; Kingma & Dhariwal 2018, as usually quoted", "larger networks"
    ),
    ("glow", "cifar10_5k"): runs.Published(
        3.35, "Kingma & Dhariwal 2018, Table 2", "all 50,000 images"
    ),
    ("realnvp", "cifar10_5k"): runs.Published(
        3.49, "Dinh et al. 2016, Table 1", "all 50,000 images"
    ),
}


def image_flow(
    *,
    flow: Flow = "glow",
    dataset: str = "mnist",
    levels: int = 2,
    depth: int | None = None,
    channels: int | None = None,
    rematerialise: bool = False,
    batch_size: int | None = None,
    shared: Images = Images(learning_rate=1e-3, ema_decay=0.999, epochs=50),
) -> lab.Experiment:
    """A multi-scale flow over images: 1x1 convolutions and couplings, or couplings alone.

    Args:
      flow: Glow, or RealNVP with checkerboard and channel couplings.
      dataset: mnist, fashion_mnist, cifar10_5k, or images of your own: a path.
      levels: scales L. The image's sides must be divisible by 2^L (RealNVP: 2^(L - 1)).
      depth: steps of a level of Glow (16 by default), or residual blocks of RealNVP's conditioners
        (8, as published for 32x32).
      channels: of the conditioners' hidden layers; by default 256, or 64 for RealNVP.
      batch_size: images per step; by default 128, or 64 for `cifar10_5k`.
      rematerialise: recompute the steps of Glow in the backward pass, to save memory.
    """
    glow = flow == "glow"
    if shared.tiny:
        levels, depth, channels, shared = 1, int(glow), 4, replace(shared, epochs=1)
    own.require_own(shared, is_own=dataset not in KNOWN)
    if dataset not in KNOWN:
        images, grey = own.integer_images(shared, dataset)
    elif shared.tiny:
        images, grey = data.load("digits"), 17
    else:
        options: dict[str, Any] = {"validation": 400} if dataset == "cifar10_5k" else {}
        images, grey = data.load(dataset, data_dir=shared.data_dir, **options), 256
    depth = (16 if glow else 8) if depth is None else depth
    channels = (256 if glow else 64) if channels is None else channels
    usual = 64 if dataset == "cifar10_5k" else 128
    shared = replace(shared, batch_size=usual if batch_size is None else batch_size)
    size = shared.batch_size
    shape = images.event_shape
    if glow:
        name = f"Glow L={levels} K={depth}, {channels} channels"
        options = {"channels": channels, "rematerialise": rematerialise}
        module = models.Glow(shape, levels, depth, **options)
    else:
        name = f"RealNVP, {levels} scales, {depth} blocks of {channels} channels"
        module = models.RealNVPImages(shape, levels, channels=channels, blocks=depth)
    nll = objectives.negative_log_likelihood
    return common.experiment(
        shared,
        model=name,
        module=module,
        loss=nll,
        adam={"clip": 50.0},
        dataset=images,
        transform=data.Compose((data.Dequantise(grey), data.Logit(0.05))),
        validation=nll,
        evaluations=25,
        evaluation_batch_size=size,
        estimators=(
            lab.Estimator(
                "bits_per_dim",
                "bound, uniform dequantisation, one draw",
                lab.averaged(nll, size, bits=True),
                unit="bits/dim",
                published=PUBLISHED.get((flow, dataset)),
            ),
        ),
        figures={
            "samples": lab.figures.samples,
            "temperatures": lab.flow_figures.temperatures,
            "interpolations": lab.flow_figures.interpolations,
        },
        previews=("samples",),
    )
