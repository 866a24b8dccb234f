"""Super-resolution of speech, 4 kHz to 8 kHz, in exact nats: WaveNet on spoken digits.

    dgmjax train super_resolution_speech --data-dir DATA
    dgmjax train super_resolution_speech --channels 16 --layers 7 --epochs 2 --data-dir DATA

y is the mu-law code of the mean of each pair of samples, and x the mu-law codes of all samples. As
x determines y, log p(x) = log p(y) + log p(x | y) is exact: the first term is that of the sound at
4 kHz, the second what the other half of the band adds. Given y and the first sample of a pair, the
second is known up to quantisation, and the model has to learn so. The baseline is the table of
p(x_t | y) of single codes, first and second samples apart. The ratio of signal to noise stands
beside it and favours blur: the mean of samples has a higher one than any sample. There is no
published number on this set.
Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016,
https://arxiv.org/abs/1609.03499.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dgmjax import data, evaluation, lab, models, nn
from dgmjax.data import audio
from dgmjax.distributions import families
from dgmjax.files import make_own_folder
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy

from ..shared import common, super_resolution
from ..shared.options import Epochs


def super_resolution_speech(
    *,
    channels: int = 48,
    layers: int = 9,
    stacks: int = 1,
    length: int = 4096,
    context: int = 32,
    hidden: int = 64,
    takes: int = 20,
    samples: int = 8,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=10, batch_size=8, ema_decay=0.999),
) -> lab.Experiment:
    """WaveNets of sound at half the rate, and of sound given it.

    Args:
      channels: of the residual stream and of the skip connections.
      layers, stacks: dilations 1, 2, 4, .., and how often they are gone through.
      length: samples of a recording that are read, even.
      context: features that each pair of samples reads of the low rate around it.
      hidden: features of the first of two convolutions over the low rate, from which they come.
      takes: test recordings that are restored.
      samples: of each.
    """
    if shared.tiny:
        channels, layers, length, context, hidden, takes, samples = 4, 3, 64, 2, 4, 3, 2
        shared = replace(shared, epochs=1)
        sounds = audio.built_in_tones()
    else:
        sounds = data.load("spoken_digits", data_dir=shared.data_dir, length=length)
    (steps,) = sounds.event_shape
    family = families.Categorical(256)
    options: dict[str, Any] = {"channels": channels, "skip_channels": channels, "stacks": stacks}
    module = models.CoarseToFine(
        coarse=models.WaveNet((steps // 2,), family, layers=layers - 1, **options),
        fine=models.WaveNet(
            (steps,), family, layers=layers, local_features=context, hop=2, **options
        ),
        encoder=nn.LowResolutionContext(context, hidden, levels=256, ndims=1, width=9),
        reduce=super_resolution.HalfRate((steps,)),
    )
    size = shared.batch_size
    row = lab.Estimator
    how = "exact, padding excluded, nats per sample at 8 kHz"
    return common.experiment(
        shared,
        model=f"WaveNet 4 to 8 kHz, {stacks} x {layers}, {channels} channels",
        module=module,
        loss=super_resolution.both_terms,
        adam={"clip": 1000.0},
        dataset=sounds,
        transform=audio.MuLaw(),
        validation=super_resolution.both_terms,
        evaluation_batch_size=size,
        estimators=(
            *super_resolution.fine_nats(size, ", per recording, padding excluded"),
            *(
                row(f"{name}_nats", f"{how}, {text}", partial(per_sample, metric, size))
                for name, metric, text in (
                    ("fine_per_sample", "fine_nats", "of x given y"),
                    ("per_sample", "loss", "of x"),
                )
            ),
            row(
                "fine_per_sample_nats",
                f"{how}, of x given y",
                table_of_codes,
                model="table of p(x_t | y) of single codes (baseline)",
            ),
            *super_resolution.signal_to_noise(takes, samples, sound_of, peak=False),
        ),
        figures={"restored": partial(restored_sound, takes, samples)},
    )


def sound_of(codes):
    """Samples of mu-law codes, in [-1, 1]."""
    return audio.mu_law_decode(np.asarray(codes)) / 32768.0


def per_sample(metric: str, batch_size: int, trained, arrays):
    """Nats of all recordings divided by their samples."""
    nats = trained.per_example(super_resolution.both_terms, arrays, batch_size)[metric]
    total = float(np.sum(nats, dtype=np.float64) / arrays["length"].sum())
    return evaluation.Measurement(total, None, len(nats))


def table_of_codes(trained, arrays):
    """Nats per sample of p(x_t | y_{t // 2}, t mod 2), counted on the training recordings."""

    def pairs(arrays):
        x, reduce = arrays["x"], trained.experiment.module.reduce
        y = np.concatenate([np.asarray(reduce(x[i : i + 200])) for i in range(0, len(x), 200)])
        at = np.arange(x.shape[1])
        inside = at < arrays["length"][:, None]
        place = np.broadcast_to(at % 2, x.shape)
        return place[inside], np.repeat(y, 2, 1)[inside], x[inside]

    counts = np.full((2, 256, 256), 1.0 / 256)
    np.add.at(counts, pairs(trained.arrays("train")), 1.0)
    log_probs = np.log(counts / counts.sum(-1, keepdims=True))
    found = -log_probs[pairs(arrays)]
    return evaluation.Measurement(float(found.mean()), None, len(arrays["x"]))


def restored_sound(takes: int, samples: int, trained, num: int = 3):
    """Recordings, their low rate and a sample; written beside the figures as `.wav` files."""
    x, y, drawn = super_resolution.restored(trained, takes, samples)
    spread = np.asarray(trained.experiment.module.reduce.spread(y))
    rows = {"recording": sound_of(x), "low rate": sound_of(spread), "sample": sound_of(drawn[0])}
    rate = trained.experiment.dataset.info["sample_rate_hz"]
    if trained.folder is not None:
        folder = make_own_folder(trained.folder.path / "sounds")
        for name, sounds in rows.items():
            for i, sound in enumerate(sounds[:num]):
                path = folder / f"{name.replace(' ', '_')}_{i}.wav"
                audio.write_wav(path, (sound * 32768.0).round().astype(np.int16), rate)
    num = min(num, len(x))
    figure = new_figure(9, 1.1 * 3 * num, f"Restored: {trained.experiment.model}")
    axes = figure.subplots(3 * num, 2, squeeze=False)
    for i in range(num):
        loud = int(np.abs(rows["recording"][i]).argmax())
        near = slice(max(0, loud - 80), loud + 80)
        for j, (name, sounds) in enumerate(rows.items()):
            at = np.arange(sounds.shape[1]) / rate
            for axis, part in zip(axes[3 * i + j], (slice(None), near)):
                axis.plot(at[part], sounds[i][part], linewidth=0.5, color=MODEL_COLOUR)
                axis.set_yticks([])
                tidy(axis)
            axes[3 * i + j, 0].set_ylabel(name, fontsize=7)
    axes[-1, 0].set_xlabel("seconds")
    axes[-1, 1].set_xlabel("seconds, near the loudest sample")
    return figure
