"""WaveNet on spoken digits at 8 kHz: bits per sample, and sound that says the digit asked for.

    dgmjax train wavenet_spoken_digits --data-dir DATA

    dgmjax train wavenet_spoken_digits --channels 32 --stacks 1 --batch-size 2 --epochs 5

Two CPU cores: four hours, judged by the time of a step. The second command took 10 minutes on a
core that others shared: 4.54 bits a sample against 7.24 of single codes, and 38 of 100 sounds
recognised. Without the timeline (`--frame-features 0`), in batches of 8 and 6 epochs, it was 4.69,
and 13 of 100: a memory of 128 ms does not know how far into the word it is.
Takes 0 to 4 of each speaker and digit are the test split. Conditioned on the digit and on what is
learned of each of its frames; mu-law codes with 256 categories, or with `--output mixture` all 16
bits and a mixture of discretised logistics. There is no published number on this set: the bar is
the entropy of single codes, which is printed beside it, and for the generated sound
(`sounds/digit_*.wav` in the run folder) a classifier of real takes, which must do better than one
in ten.
Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.
"""

from typing import Literal

from dgmjax import data, lab, models, objectives, training
from dgmjax.data import audio
from dgmjax.distributions import families

from ..shared import common, speech

HOP = 128
"""Samples of a frame."""


def wavenet_spoken_digits(
    *,
    output: Literal["mu_law", "mixture"] = "mu_law",
    channels: int = 64,
    stacks: int = 2,
    layers: int = 10,
    length: int = 4096,
    frame_features: int = 16,
    learning_rate: float = 1e-3,
    epochs: int = 30,
    batch_size: int = 8,
    tiny: bool = False,
    data_dir: str | None = None,
) -> lab.Experiment:
    """p(sound | digit) by dilated causal convolutions, a sample after the other.

    Args:
      output: 256 categories after mu-law, or a mixture of 10 logistics over all 16 bits.
      channels: of the residual stream and of the skip connections.
      stacks: how often the dilations 1, 2, 4, .. are gone through.
      layers: of each stack.
      length: samples of a recording that are read; most have less than 4096.
      frame_features: length of a vector that each digit has learned for every 16 ms, so that the
        network need not know from memory how far into the word it is; 0 for none.
      learning_rate: peak of the cosine schedule of Adam.
      epochs: passes over the training takes.
      batch_size: recordings a step.
      tiny: a few steps of a small model on tones that need no download.
      data_dir: folder of data sets.
    """
    if tiny:
        dataset, channels, stacks, layers, epochs = audio.built_in_tones(), 8, 1, 3, 1
    else:
        dataset = data.load("spoken_digits", data_dir=data_dir, length=length)
    transform = audio.MuLaw() if output == "mu_law" else audio.SixteenBit()
    family = (
        families.Categorical(256)
        if output == "mu_law"
        else families.DiscretisedLogisticMixture(10, audio.LEVELS_16_BIT)
    )
    levels = family.levels
    density = models.WaveNet(
        dataset.event_shape,
        family,
        channels=channels,
        skip_channels=channels,
        stacks=stacks,
        layers=layers,
        context_features=10,
        local_features=frame_features,
        hop=HOP,
    )
    timeline = (-(-dataset.event_shape[0] // HOP), frame_features) if frame_features else None
    steps = common.epochs_to_steps(dataset, epochs, batch_size)
    loss = objectives.padded_sequence_nll
    return lab.Experiment(
        model=f"WaveNet {stacks} x {layers}, {channels} channels, {output}",
        module=models.ClassConditional(density, 10, timeline),
        players={"model": training.Player(loss, training.adam(learning_rate, steps, clip=1000.0))},
        dataset=dataset,
        transform=transform,
        steps=steps,
        batch_size=batch_size,
        validation=loss,
        estimators=(
            *speech.information_per_sample(loss, batch_size, levels, dataset),
            *speech.recognised(each=1 if tiny else 10),
        ),
        figures={"waveforms": speech.waveforms},
        evaluation_batch_size=batch_size,
        log_every=50,
    )
