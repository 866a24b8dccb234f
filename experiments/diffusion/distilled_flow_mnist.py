"""Students of a flow: Frechet distance of one network call, to be within 25% of the teacher's 50.

    dgmjax train flow_matching_mnist --data-dir DATA
    dgmjax train distilled_flow_mnist --teacher runs/flow_matching_mnist/seed0 --data-dir DATA
    dgmjax train distilled_flow_mnist --method mean_flow --teacher RUN --data-dir DATA
    dgmjax train distilled_flow_mnist --method one_step --pairs 20000 --teacher RUN --data-dir DATA

Reflow learns straight paths between noise and what the teacher makes of it; mean flow the average
velocity; consistency the end of the path from any of its points; `one_step` the whole path of
reflow's pairs from its start alone. All have the teacher's network.
`dgmjax compare RUN RUN ... --html PAGE` draws teacher and students in one figure. After 781 steps
of 64 images (`--epochs 1 --teacher-steps 4`) reflow has a distance of 214 with one call and 140
with 50, its teacher 1658 and 64; a mean flow has 1071 and 76 after 1562. `one_step` of 20,000 pairs
has 113 with one call after 3744 steps of 64 (6 minutes of one core, after 3 for the pairs);
its error is .010 of these pairs and .023 of new ones, so that more pairs would help.
Sources: Liu, Gong & Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with
Rectified Flow", 2023, https://arxiv.org/abs/2209.03003; Geng, Deng, Bai, Kolter & He, "Mean Flows
for One-step Generative Modeling", 2025, https://arxiv.org/abs/2505.13447; Song, Dhariwal, Chen &
Sutskever, "Consistency Models", 2023, https://arxiv.org/abs/2303.01469.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dgmjax import lab, models, objectives
from dgmjax.errors import require
from dgmjax.inference import Sampler

from ..shared import common, denoising
from ..shared.first_stage import first_stage
from ..shared.options import Epochs
from .flow_matching_mnist import CALLS, OPTIONS, flow_matching_mnist


def distilled_flow_mnist(
    *,
    teacher: str | None = None,
    method: Literal["reflow", "one_step", "mean_flow", "consistency"] = "reflow",
    teacher_steps: int = 8,
    pairs: int = 0,
    samples: int = 2000,
    shared: Epochs = Epochs(learning_rate=1e-3, ema_decay=0.999, epochs=20, batch_size=128),
) -> lab.Experiment:
    """A student that samples in few network calls.

    Args:
      teacher: run folder of a `flow_matching_mnist`.
      method: of distillation.
      teacher_steps: Heun steps of the teacher for a pair of "reflow" or "one_step".
      pairs: made once by the teacher, and kept in its run folder; 0 for fresh ones at every step.
      samples: of each distance.
    """
    trained = first_stage(
        flow_matching_mnist,
        teacher,
        shared,
        option="teacher",
        kind="a `flow_matching_mnist`",
        is_right=is_flow,
    )
    experiment, flow = trained.experiment, trained.experiment.module
    name: Any = experiment.dataset.name
    of_pairs = method in ("reflow", "one_step")
    rule = f"must be 0 for {method}, which reads images"
    require(pairs == 0 or of_pairs, "pairs", rule, pairs)
    require(pairs >= 0, "pairs", "must not be negative", pairs)
    if shared.tiny:
        teacher_steps, pairs = 1, 256 if pairs else 0
        shared = replace(shared, epochs=1)
    rows: dict[str, tuple[Any, Any, tuple[dict[str, Any], ...]]] = {
        "reflow": (
            flow.clone(sampler=Sampler("euler", 1)),
            partial(objectives.reflow, sampler=Sampler("heun", teacher_steps)),
            OPTIONS,
        ),
        "one_step": (
            flow.clone(sampler=Sampler("euler", 1)),
            partial(objectives.reflow, sampler=Sampler("heun", teacher_steps), times="end"),
            OPTIONS[:1],
        ),
        "mean_flow": (
            models.MeanFlow(flow.event_shape, flow.network),
            objectives.mean_flow,
            tuple({"num_steps": calls} for calls in CALLS),
        ),
        "consistency": (
            flow.clone(sampler=Sampler("consistency", 1)),
            objectives.consistency,
            tuple({"sampler": Sampler("consistency", calls)} for calls in CALLS),
        ),
    }
    module, loss, options = rows[method]
    loss = partial(loss, teacher=trained.model)
    calls = CALLS[: len(options)]
    measured = () if shared.tiny else denoising.distances_by(calls, options, samples, name)
    dataset, transform = experiment.dataset, experiment.transform
    if pairs:
        dataset = denoising.kept_pairs(trained, pairs, teacher_steps)
        transform = denoising.UnlessPaired(transform)
    return common.experiment(
        shared,
        model=f"{method} student of {experiment.model}",
        module=module,
        loss=loss,
        dataset=dataset,
        transform=transform,
        evaluations=10,
        start=partial(from_teacher, trained),
        estimators=(
            lab.Estimator(
                "distillation_loss", "mean over test images", lab.averaged(loss, 100), unit="loss"
            ),
            *measured,
        ),
        figures={
            "samples": lab.figures.samples,
            **(
                {}
                if shared.tiny
                else {"calls": denoising.calls_figure(calls, options, samples, name)}
            ),
        },
        previews=("samples",),
    )


def is_flow(module):
    """Whether a module is a denoiser that predicts the velocity of a flow."""
    return isinstance(module, models.Denoiser) and module.predicts == "velocity"


def from_teacher(teacher, experiment, params, key):
    """The teacher's parameters, where the student has some of the same shape."""
    del experiment, key
    known = teacher.learner.variables(teacher.state)["params"]
    # A copy, since training overwrites the memory of its parameters.
    same = lambda mine, other: jnp.copy(other) if mine.shape == other.shape else mine
    return jax.tree.map(same, params, known)
