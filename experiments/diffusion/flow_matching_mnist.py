"""Flow matching on MNIST or Fashion-MNIST: Frechet distance by number of network calls, bits/dim.

    dgmjax train flow_matching_mnist --data-dir DATA
    dgmjax train flow_matching_mnist --patch 2 --batch-size 64 --epochs 5 --data-dir DATA
    dgmjax train flow_matching_mnist --coupling assignment --data-dir DATA

The first command is for a GPU. The second takes about 20 minutes on a busy CPU, and samples look
like digits; the transformer has faster steps and needs many more of them. There is no published
number for these networks: samples of 50 calls, and the distance of training images that
`dgmjax evaluate RUN --samples` records, stand beside those of few calls. Source: Lipman, Chen,
Ben-Hamu, Nickel & Le, "Flow Matching for Generative Modeling", 2023, https://arxiv.org/abs/2210.02747.
"""

from dataclasses import replace
from functools import partial

from dgmjax import lab, models, noising, objectives
from dgmjax.inference import Sampler, Solver

from ..shared import common, denoising
from ..shared.options import Epochs

CALLS = (1, 2, 4, 8, 16, 50)
OPTIONS = tuple({"sampler": Sampler("euler", calls)} for calls in CALLS)


def flow_matching_mnist(
    *,
    dataset: denoising.Images = "mnist",
    coupling: denoising.CouplingName = "independent",
    network: denoising.NetworkName = "unet",
    width: int | None = None,
    patch: int | None = None,
    samples: int = 2000,
    ode_images: int = 200,
    shared: Epochs = Epochs(learning_rate=1e-3, ema_decay=0.999, epochs=100, batch_size=128),
) -> lab.Experiment:
    """A velocity of images on the straight process.

    Args:
      dataset: of 28x28 grey images.
      coupling: of images and noise of a minibatch.
      network: a U-Net or a transformer of patches.
      width, patch: see `network` in `experiments/shared/denoising.py`.
      samples: of each distance.
      ode_images: test images whose likelihood is computed.
    """
    raw, levels = denoising.images(shared, dataset)
    if shared.tiny:
        ode_images, shared = 4, replace(shared, epochs=1)
    solver = Solver("heun", 2 if shared.tiny else 25, probes=2)
    module = models.Denoiser(
        raw.event_shape,
        denoising.network(network, width, patch, shared.tiny),
        noising.straight(),
        sampler=Sampler("heun", 2 if shared.tiny else 25),
        solver=solver,
    )
    loss = partial(objectives.flow_matching, coupling=coupling)
    measured = () if shared.tiny else denoising.distances_by(CALLS, OPTIONS, samples, dataset)
    figure = (
        {} if shared.tiny else {"calls": denoising.calls_figure(CALLS, OPTIONS, samples, dataset)}
    )
    return common.experiment(
        shared,
        model=f"flow matching, {network}, {coupling} pairs",
        module=module,
        loss=loss,
        dataset=raw,
        transform=denoising.dequantised(levels),
        evaluations=10,
        estimators=(
            denoising.bits_by_ode(ode_images, solver, "uniform dequantisation"),
            *measured,
        ),
        figures={"samples": lab.figures.samples, **figure},
        previews=("samples",),
    )
