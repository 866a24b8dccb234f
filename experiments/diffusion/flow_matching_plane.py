"""Flow matching from eight Gaussians to two moons: test NLL along the ODE, beside 1.0076.

    dgmjax train flow_matching_plane
    dgmjax train flow_matching_plane --coupling assignment
    dgmjax train flow_matching_plane --source normal --process variance_preserving

About two minutes on two CPU cores. The entropy of the known density, by quadrature, is the number
to reach. The records also say how far samples of 1, 2, 4 and 8 Euler steps are from test points:
coupled pairs make paths straight, and few steps enough. Source: Tong et al., "Improving and
Generalizing Flow-Based Generative Models with Minibatch Optimal Transport", 2024, section 5.1,
https://arxiv.org/abs/2302.00482.
"""

from functools import partial
from typing import Literal

import jax.numpy as jnp

from dgmjax import lab, models, nn, noising, objectives
from dgmjax.inference import Solver

from ..shared import common, denoising, plane
from ..shared.options import Shared


def flow_matching_plane(
    *,
    dataset: plane.Points = "moons",
    source: Literal["eight_gaussians", "normal"] = "eight_gaussians",
    process: denoising.ProcessName = "straight",
    coupling: denoising.CouplingName = "independent",
    hidden: tuple[int, ...] = (256, 256, 256),
    steps: int = 20_000,
    shared: Shared = Shared(learning_rate=2e-3, batch_size=256, ema_decay=0.999),
) -> lab.Experiment:
    """A velocity of the plane, learned from pairs of source and data.

    Args:
      dataset: of the plane.
      source: where paths begin; only "normal" is the end of a diffusion.
      process: how a pair is mixed over denoising.
      coupling: of the minibatch.
      hidden: units of the network's layers.
      steps: training steps.
    """
    if shared.tiny:
        hidden, steps = (16,), min(steps, 300)
    path, base = noising.process_of(process), None
    if source == "eight_gaussians":
        # They are the noise of the process, whose end they are: wide where data are never scaled.
        make = plane.eight_gaussians
        if process == "variance_exploding":
            make = partial(make, float(path.coefficients(jnp.ones(()))[1]))
        base = models.Known(make)
    module = models.Denoiser(
        (2,),
        nn.TimeMLP(tuple(hidden)),
        path,
        base=base,
        solver=Solver("rk4", 4 if shared.tiny else 32),
    )
    return plane.points_experiment(
        shared,
        dataset,
        50_000,
        num_test=1000 if shared.tiny else 10_000,
        how=f"ODE, exact trace, {module.solver.num_calls} network calls",
        model=f"flow matching, {process}, {coupling} pairs from {source}",
        module=module,
        loss=partial(objectives.flow_matching, coupling=coupling),
        steps=steps,
        estimators=tuple(
            denoising.transport_cost("euler", n, 100 if shared.tiny else 1000)
            for n in ((1,) if shared.tiny else (1, 2, 4, 8))
        ),
        figures={**common.plane_figures(), "trajectories": denoising.trajectories},
    )
