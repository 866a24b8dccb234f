"""Variational diffusion in bits/dim (levels 0 to 255): the bound, its terms, and the ODE beside it.

    dgmjax train vdm_mnist --data-dir DATA
    dgmjax train vdm_mnist --schedule-of-noise linear --data-dir DATA
    dgmjax train vdm_mnist --patch 2 --batch-size 64 --epochs 5 --data-dir DATA

The first commands are for a GPU, the last for a CPU. No number for MNIST was published;
`image_flow` (Glow, about 1.05, and RealNVP) and PixelCNN are the models to compare with.
`diffusion_variance` is what the learnt schedule lowers: to 0.30 from the cosine's 1086, at which
the third command trains badly, to 3.55 bits/dim in place of 2.29. Source: Kingma, Salimans, Poole &
Ho, "Variational Diffusion Models", 2021, https://arxiv.org/abs/2107.00630.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import evaluation, lab, models, nn, noising, objectives, training
from dgmjax.inference import Sampler, Solver

from ..shared import common, denoising
from ..shared.options import Epochs

START, END = 13.3, 1.0 - 1e-3
"""log_snr at the start of fixed schedules, where levels are told apart, and time of their end."""

SCHEDULES: dict[str, noising.Schedule] = {
    "linear_log_snr": noising.LinearLogSNR(),
    "linear": noising.Linear(first=0.0),
    "cosine": noising.Cosine(offset=0.0),
}
"""As in appendix H of the source. Those of DDPM and of Nichol & Dhariwal have noise^2 that starts
linear in t, not square: the bound's variance was then 990,000 in place of 3200 on "linear"."""

INTERIOR = tuple(f"density/process/{name}" for name in ("slope", "heights", "widths", "shift"))
DRAWS = 20
ODE_BOUND = partial(objectives.iwae, num_samples=1)


def vdm_mnist(
    *,
    dataset: denoising.Images = "mnist",
    schedule_of_noise: Literal["learnt", "linear_log_snr", "linear", "cosine"] = "learnt",
    network: denoising.NetworkName = "unet",
    width: int | None = None,
    patch: int | None = None,
    ode_images: int = 200,
    shared: Epochs = Epochs(learning_rate=1e-3, ema_decay=0.999, epochs=100, batch_size=128),
) -> lab.Experiment:
    """The likelihood bound of continuous time, trained as it is measured.

    Args:
      dataset: of 28x28 grey images.
      schedule_of_noise: "learnt" has its ends from the bound, and the rest from its variance.
      network: a U-Net or a transformer of patches.
      width, patch: see `network` in `experiments/shared/denoising.py`.
      ode_images: test images whose likelihood along the ODE is computed.
    """
    raw, levels = denoising.images(shared, dataset)
    if shared.tiny:
        ode_images, shared = 4, replace(shared, epochs=1)
    learnt = schedule_of_noise == "learnt"
    # Of a fixed schedule the signal-to-noise ratio falls mostly near the data.
    times: denoising.Times = "time" if learnt else "log_snr"
    how = "continuous time" if learnt else "continuous time, log_snr drawn uniformly"
    solver = Solver("heun", 2 if shared.tiny else 50, probes=2)
    density = models.Denoiser(
        raw.event_shape,
        denoising.network(network, width, patch, shared.tiny),
        process(schedule_of_noise),
        "noise",
        network_time="log_snr",
        sampler=Sampler("ddim", 2 if shared.tiny else 100),
        solver=solver,
    )
    loss, adam = objectives.diffusion_bound, shared.adam(shared.steps(raw))
    players = {"model": training.Player(loss, adam)}
    if learnt:
        ends = ("density/network", "density/process/ends")
        variance = objectives.diffusion_bound_variance
        interior = training.adam(1e-3, shared.steps(raw), schedule="constant")
        players = {
            "model": training.Player(loss, adam, params=ends),
            "schedule": training.Player(variance, interior, params=INTERIOR),
        }
    ode = denoising.bits_by_ode(ode_images, solver, "latent first value", ODE_BOUND)
    built = common.experiment(
        shared,
        model=f"VDM, {network}, {schedule_of_noise} schedule",
        module=models.DiffusedLevels(density, levels),
        loss=loss,
        dataset=raw,
        evaluations=10,
        estimators=(
            *denoising.bound_estimators(how, 1 if shared.tiny else 4, times=times),
            lab.Estimator(
                "diffusion_variance",
                f"of the diffusion term of an image over {DRAWS} times, 200 images",
                diffusion_variance,
                unit="bits^2/dim^2",
            ),
            ode,
            lab.Estimator(
                "bits_per_dim_bound_k1",
                f"{how}, {DRAWS} times drawn, the {ode_images} images of the ODE",
                partial(bound_of_first, num=ode_images, times=times),
                unit="bits/dim",
            ),
        ),
        figures={"samples": lab.figures.samples},
        previews=("samples",),
    )
    return replace(built, players=players)


def process(schedule: str) -> Any:
    """The process of a schedule by name."""
    if schedule == "learnt":
        return nn.LogSNR()
    fixed = noising.variance_preserving(SCHEDULES[schedule])
    whole = replace(fixed, span=(0.0, END), bounded_span=(1e-6, END))
    with jax.ensure_compile_time_eval():
        span = float(whole.time_of(jnp.asarray(START))), END
    return replace(fixed, span=span, bounded_span=span)


def bound_of_first(trained, arrays, *, num: int, times) -> evaluation.Measurement:
    """The bound of the first images, in bits per dimension: what the ODE is compared with."""
    few = {name: array[:num] for name, array in arrays.items()}
    found = trained.per_example(denoising.bound_of(DRAWS, times), few, 50)["loss"]
    return evaluation.average(evaluation.bits_per_dim(found, few["x"][0].size))


def diffusion_variance(trained, arrays) -> evaluation.Measurement:
    """The mean over images of the variance of the diffusion term, in squared bits per dimension."""
    few = {name: array[:200] for name, array in arrays.items()}
    found = trained.per_example(denoising.bound_of(DRAWS), few, 50)
    variance = (found["diffusion_square"] - found["diffusion"] ** 2) * DRAWS / (DRAWS - 1)
    return evaluation.average(variance / (few["x"][0].size * np.log(2.0)) ** 2)
