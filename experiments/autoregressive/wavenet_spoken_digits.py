"""WaveNet on spoken digits at 8 kHz: bits per sample, and speech of a given digit.

    dgmjax train wavenet_spoken_digits --data-dir DATA
    dgmjax train wavenet_spoken_digits --channels 32 --stacks 1 --batch-size 2 --epochs 5
    dgmjax train wavenet_spoken_digits --output mixture --channels 32 --stacks 1 --batch-size 2

The second command is a small model for a CPU. So is the third: with `--epochs 20 --ema-decay 0.999`
it has 9.22 bits of a 16-bit sample (single samples 11.3), and 42 of 100 of its sounds are
recognised; with `--companding 0`, 9.66 bits and 52. Networks that read the past better lean on its
loudness, and drift to quiet sounds where they read their own. Takes 0 to 4 of each speaker and
digit are the test split. The model is conditioned on the digit and on learned vectors for each of
its frames: 128 ms of past samples do not tell how far into the word they are. The output is 256
categories after mu-law, or with `--output mixture` a mixture of discretised logistics over all 16
bits. There is no published number on this set. The baseline is the entropy of single codes, and a
classifier of real takes must recognise more than one in ten of the generated sounds
(`sounds/digit_*.wav` in the run folder).
Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016,
https://arxiv.org/abs/1609.03499.
"""

from dataclasses import replace
from typing import Literal

from dgmjax import data, lab, models, objectives
from dgmjax.data import audio
from dgmjax.distributions import families
from dgmjax.errors import require

from ..shared import common, own, speech
from ..shared.options import Epochs

HOP = 128
"""Samples of a frame."""


def wavenet_spoken_digits(
    *,
    output: Literal["mu_law", "mixture"] = "mu_law",
    channels: int = 64,
    stacks: int = 2,
    layers: int = 10,
    length: int = 4096,
    dataset: str | None = None,
    frame_features: int = 16,
    companding: float | None = None,
    speakers: bool = False,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=30, batch_size=8),
) -> lab.Experiment:
    """p(sound | digit) by dilated causal convolutions, a sample after the other.

    Args:
      output: 256 categories after mu-law, or a mixture of 10 logistics over all 16 bits.
      channels: of the residual stream and of the skip connections.
      stacks: how often the dilations 1, 2, 4, .. are gone through.
      layers: of each stack.
      length: samples of a recording that are read; most have less than 4096.
      dataset: sound of your own in place of it, a .wav file or a folder of them (16 bits, mono,
        one rate), cut into pieces of `length`; subfolders are classes that the model is given.
      frame_features: length of a vector that each digit has learned for every 16 ms, so that the
        network need not know from memory how far into the word it is; 0 for none.
      companding: mu of what the network reads and says of 16-bit samples, 255 where not given; 0
        for samples as they are. Codes after mu-law are companded already.
      speakers: whether the model is told who speaks, too; its classes are then digits of speakers.
    """
    if shared.tiny:
        channels, stacks, layers, length = 8, 1, 3, 64
        shared = replace(shared, epochs=1)
    if dataset is not None:
        sounds = own.sounds(dataset, shared.data_dir, length)
    elif shared.tiny:
        sounds = audio.built_in_tones()
    else:
        sounds = data.load("spoken_digits", data_dir=shared.data_dir, length=length)
    if speakers:
        sounds = speech.by_speaker(sounds)
    classes = int(sounds.splits["train"]["label"].max()) + 1
    rule = "must be left out where the output is mu_law, whose codes are companded"
    require(companding is None or output == "mixture", "companding", rule, companding)
    companding = 255.0 if companding is None else companding
    transform = audio.MuLaw() if output == "mu_law" else audio.SixteenBit()
    family = (
        families.Categorical(256)
        if output == "mu_law"
        else families.DiscretisedLogisticMixture(10, audio.LEVELS_16_BIT, companding=companding)
    )
    levels = family.levels
    density = models.WaveNet(
        sounds.event_shape,
        family,
        channels=channels,
        skip_channels=channels,
        stacks=stacks,
        layers=layers,
        context_features=classes,
        local_features=frame_features,
        hop=HOP,
    )
    timeline = (-(-sounds.event_shape[0] // HOP), frame_features) if frame_features else None
    loss = objectives.padded_sequence_nll
    return common.experiment(
        shared,
        model=f"WaveNet {stacks} x {layers}, {channels} channels, {output}",
        module=models.ClassConditional(density, classes, timeline),
        loss=loss,
        adam={"clip": 1000.0},
        dataset=sounds,
        transform=transform,
        validation=loss,
        estimators=(
            *speech.information_per_sample(loss, shared.batch_size, levels, sounds),
            *(speech.recognised(each=sounds_each(classes, shared.tiny)) if classes > 1 else ()),
        ),
        figures={"waveforms": speech.waveforms},
        evaluation_batch_size=shared.batch_size,
    )


def sounds_each(classes: int, tiny: bool) -> int:
    """Sounds of a class, of which there are about 100 in all."""
    return 1 if tiny else -(-100 // classes)
