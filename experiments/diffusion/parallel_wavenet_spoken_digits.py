"""Parallel WaveNet on spoken digits: a student that draws all samples in one pass.

    dgmjax train wavenet_spoken_digits --output mixture --data-dir DATA
    dgmjax train parallel_wavenet_spoken_digits --teacher RUN --data-dir DATA

The student is an inverse autoregressive flow over logistic noise. It is trained on the density of
the first command's model, whose run folder is RUN: by their divergence, a power loss against
recordings, and a contrast between digits. A classifier of real takes must recognise its digits at
0.8 of the rate of its teacher's at least; this target is our own. Of a teacher of 32 channels and
one stack (`--epochs 20 --batch-size 2 --ema-decay 0.999`) the student has 57 of 100 sounds
recognised after 27 minutes of one core, its teacher 42: sound that is drawn in one pass does not
drift from the loudness of the digit. Sound files are in `sounds/` of the run folder.
Source: van den Oord et al., "Parallel WaveNet: Fast High-Fidelity Speech Synthesis", 2018,
https://arxiv.org/abs/1711.10433 (there at 24 kHz, judged by listeners).
"""

from dataclasses import replace
from functools import partial

import numpy as np

from dgmjax import evaluation, lab, models, objectives
from dgmjax.data import audio
from dgmjax.distributions.families import DiscretisedLogisticMixture
from dgmjax.errors import require

from ..autoregressive.wavenet_spoken_digits import HOP, sounds_each, wavenet_spoken_digits
from ..shared import common, speech
from ..shared.first_stage import first_stage
from ..shared.options import Epochs


def parallel_wavenet_spoken_digits(
    *,
    teacher: str | None = None,
    flows: int = 3,
    channels: int = 16,
    layers: int = 7,
    kernel_size: int = 3,
    frame_features: int = 16,
    num_samples: int = 4,
    contrast: float = 0.3,
    power: float = 200.0,
    shared: Epochs = Epochs(learning_rate=2e-3, ema_decay=0.999, epochs=10, batch_size=4),
) -> lab.Experiment:
    """A student of a trained `wavenet_spoken_digits` with mixtures of logistics.

    Args:
      teacher: its run folder.
      flows: steps of the student.
      channels: of the network of each step.
      layers: of each network, with dilations 1, 2, 4, ..
      kernel_size: taps of their convolutions.
      frame_features: length of a vector that each digit has learned for every 16 ms; 0 for none.
      num_samples: values of each site in the cross-entropy.
      contrast: weight of the divergence from the teacher of another digit.
      power: weight of the power loss, in nats.
    """
    expert = first_stage(
        wavenet_spoken_digits,
        teacher,
        shared,
        option="teacher",
        kind="a WaveNet with mixtures of logistics",
        is_right=is_mixture,
        remedy="Train it with `--output mixture`: a density of real numbers can teach.",
        output="mixture",
    )
    taught = expert.experiment
    dataset, classes = taught.dataset, taught.module.num_classes
    if shared.tiny:
        flows, channels, layers, num_samples = 2, 4, 2, 1
        shared = replace(shared, epochs=1)
    density = models.ParallelWaveNet(
        dataset.event_shape,
        flows=flows,
        channels=channels,
        layers=layers,
        kernel_size=kernel_size,
        levels=audio.LEVELS_16_BIT,
        context_features=classes,
        local_features=frame_features,
        hop=HOP,
    )
    timeline = (-(-dataset.event_shape[0] // HOP), frame_features) if frame_features else None
    variables = expert.learner.variables(expert.state)
    divergence = partial(
        objectives.distillation,
        teacher=models.Teacher(taught.module, variables),
        num_samples=num_samples,
    )
    rule = "must be 0 where the teacher has one class: no other digit is there to differ from"
    require(classes > 1 or contrast == 0, "contrast", rule, contrast)
    generated, real = speech.recognised(each=sounds_each(classes, shared.tiny))
    of_teacher = lambda trained, arrays: generated.measure(expert, arrays)
    of_teacher = replace(generated, measure=of_teacher, model=f"teacher: {taught.model}")
    return common.experiment(
        shared,
        model=f"{flows} flows of {layers} layers, {channels} channels",
        module=models.ClassConditional(density, classes, timeline),
        loss=partial(divergence, contrast=contrast, power=power),
        adam={"clip": 1000.0},
        dataset=dataset,
        transform=taught.transform,
        estimators=(
            lab.Estimator(
                "kl_per_sample",
                "KL(student || teacher) at sounds of the student, of the lengths of test takes",
                partial(per_sample, divergence, shared.batch_size),
                unit="nats/sample",
            ),
            *((generated, of_teacher, real) if classes > 1 else ()),
        ),
        figures={"waveforms": speech.waveforms},
        evaluation_batch_size=shared.batch_size,
    )


def is_mixture(module):
    """Whether a module is a WaveNet of real numbers."""
    density = getattr(module, "density", None)
    return isinstance(getattr(density, "family", None), DiscretisedLogisticMixture)


def per_sample(divergence, batch_size, trained, arrays):
    """The divergence of the test takes over their samples."""
    nats = trained.per_example(divergence, arrays, batch_size)["kl"]
    length = np.asarray(arrays["length"], np.float64)
    total = float(np.sum(nats, dtype=np.float64) / length.sum())
    # Of a ratio of sums: long takes have many nats and many samples.
    error = float(np.std(nats - total * length) * np.sqrt(len(nats)) / length.sum())
    return evaluation.Measurement(total, error, len(nats))
