"""Continuous normalizing flow by maximum likelihood: test NLL along the ODE, beside 1.0076 nats.

    dgmjax train cnf_plane
    dgmjax train cnf_plane --dataset pinwheel

About fifteen minutes on two busy CPU cores. The entropy of the known density, by quadrature, is
the number to reach. Gradients go through the steps of the solver, whose ends are random: with fixed
steps the network learns a field that they integrate wrongly, to a likelihood better than the
entropy. Source: Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: Free-form Continuous
Dynamics for Scalable Reversible Generative Models", 2019, section 4.1,
https://arxiv.org/abs/1810.01367.
"""

from functools import partial

from dgmjax import lab, models, nn, objectives
from dgmjax.inference import Solver

from ..shared import common, denoising, plane
from ..shared.options import Shared


def cnf_plane(
    *,
    dataset: plane.Points = "moons",
    hidden: tuple[int, ...] = (64, 64),
    method: denoising.MethodName = "rk4",
    solver_steps: int = 10,
    energy: float = 0.01,
    steps: int = 5000,
    shared: Shared = Shared(learning_rate=3e-3, batch_size=256, ema_decay=0.999),
) -> lab.Experiment:
    """A velocity of the plane, trained by the likelihood of its ODE.

    Args:
      dataset: of the plane.
      hidden: units of the network's layers.
      method: of the solver.
      solver_steps: steps of the solver in training, with random ends; the likelihood is measured
        with four and with eight times as many.
      energy: price of the integral of the squared velocity.
      steps: training steps.
    """
    if shared.tiny:
        hidden, solver_steps, steps = (8,), 2, min(steps, 300)
    module = models.Denoiser(
        (2,), nn.TimeMLP(tuple(hidden)), solver=Solver(method, 4 * solver_steps)
    )
    return plane.points_experiment(
        shared,
        dataset,
        50_000,
        num_test=1000 if shared.tiny else 10_000,
        how=f"ODE, exact trace, {module.solver.num_calls} network calls",
        model=f"CNF {method}, {solver_steps} steps",
        module=module,
        loss=partial(objectives.continuous_flow, num_steps=solver_steps, energy=energy),
        adam={"clip": 5.0},
        steps=steps,
        estimators=(denoising.likelihood_by(Solver(method, 8 * solver_steps)),),
        figures={**common.plane_figures(), "trajectories": denoising.trajectories},
        previews=("density",),
    )
