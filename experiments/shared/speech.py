"""Parts of experiments on spoken digits: a classifier of real takes, and sound files."""

import functools
from dataclasses import replace

import jax
import numpy as np

from dgmjax import evaluation, lab
from dgmjax.data import Dataset, audio
from dgmjax.errors import require
from dgmjax.files import make_own_folder
from dgmjax.plotting.canvas import MODEL_COLOUR, new_figure, tidy

FRAME, HOP, BANDS, SLOTS = 256, 128, 24, 12
"""A frame of the spectrum in samples, and the picture of a recording: bands by slots of time."""


def spectra(x: np.ndarray) -> np.ndarray:
    """Log energies `[N, SLOTS * BANDS]` of int16 sound `[N, T]`, trimmed to the loud part."""
    return np.stack([_spectrum(row.astype(np.float64) / 32768.0) for row in x])


def _spectrum(sound: np.ndarray) -> np.ndarray:
    size = min(FRAME, len(sound))
    loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
    if len(loud):
        sound = sound[loud[0] : max(loud[-1] + 1, loud[0] + size)]
    sound = np.pad(sound, (0, max(0, size - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[:: min(HOP, size)]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    bands = np.stack([part.sum(1) for part in np.array_split(power, BANDS, axis=1)], 1)
    at = np.linspace(0, len(bands) - 1, SLOTS).round().astype(int)
    energies = np.log(bands[at] + 1e-6)
    return (energies - energies.mean()).ravel()


def by_speaker(dataset: Dataset) -> Dataset:
    """Classes are a digit and who says it: 10 of each speaker, one speaker after the other."""
    known = all("speaker" in arrays for arrays in dataset.splits.values())
    require(known, "speakers", "must be left out where recordings have no `speaker`", dataset.name)
    splits = {
        name: {**arrays, "label": arrays["label"] + 10 * arrays["speaker"]}
        for name, arrays in dataset.splits.items()
    }
    return replace(dataset, splits=splits, info={**dataset.info, "classes_of_a_speaker": 10})


def said(dataset: Dataset, label: np.ndarray) -> np.ndarray:
    """The digits of classes."""
    classes = dataset.info.get("classes_of_a_speaker")
    return label if classes is None else label % classes


@functools.lru_cache(maxsize=1)
def _classifier(dataset):
    """Logistic regression from spectra to digits, fitted to the real training takes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = dataset.splits["train"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=2000))
    return model.fit(spectra(train["x"]), said(dataset, train["label"]))


def generated(trained, each: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """int16 sound `[10 * each, T]` generated for every digit, and the digits."""
    classes = trained.experiment.module.num_classes
    label = np.repeat(np.arange(classes), each)
    codes = trained.call(_given_labels, jax.random.key(seed), label)
    return np.asarray(trained.experiment.transform.inverse(codes)), label


def _given_labels(model, key, label):
    return model.sample(key, (), model.context(label))


def recognised(each: int):
    """Two estimators: the rates at which the classifier of real takes names the right digit."""

    def of_generated(trained, arrays):
        x, label = generated(trained, each)
        dataset = trained.experiment.dataset
        right = _classifier(dataset).predict(spectra(x)) == said(dataset, label)
        return evaluation.average(right)

    def of_real(trained, arrays):
        dataset = trained.experiment.dataset
        test = dataset.splits["test"]
        found = _classifier(dataset).predict(spectra(test["x"]))
        return evaluation.average(found == said(dataset, test["label"]))

    how = "logistic regression on spectra, fitted to real takes"
    real = lab.Estimator(
        "recognised", how, of_real, unit="fraction", model="real test takes (reference)"
    )
    return lab.Estimator("recognised", how, of_generated, unit="fraction"), real


def information_per_sample(objective, batch_size: int, levels: int, dataset):
    """Nats and bits per sample of the test takes, and bits of independent codes.

    Padding is excluded, and so are the ends cut from takes longer than the event.
    """

    def of_model(unit, trained, arrays):
        nats = trained.per_example(objective, arrays, batch_size)["loss"]
        total = float(np.sum(nats, dtype=np.float64) / arrays["length"].sum() / unit)
        return evaluation.Measurement(total, None, len(nats))

    def of_unigram(trained, arrays):
        codes = lambda a: a["x"][np.arange(a["x"].shape[1]) < a["length"][:, None]]
        bits = audio.unigram_bits(codes(trained.arrays("train")), codes(arrays), levels)
        return evaluation.Measurement(bits, None, len(arrays["x"]))

    size, unit, row = dataset.event_shape[0], "bits/sample", lab.Estimator
    how = f"exact, padding excluded, of the first {size} samples of a take"
    return (
        row("bits_per_sample", how, functools.partial(of_model, np.log(2.0)), unit=unit),
        row("nats_per_sample", how, functools.partial(of_model, 1.0), unit="nats/sample"),
        row("bits_per_sample", how, of_unigram, unit=unit, model="independent codes (baseline)"),
    )


def waveforms(trained):
    """One generated take of every digit; written beside the figures as `.wav` files."""
    x, label = generated(trained, each=1)
    x, label = x[:10], label[:10]  # of one speaker
    rate = trained.experiment.dataset.info["sample_rate_hz"]
    if trained.folder is not None:
        folder = make_own_folder(trained.folder.path / "sounds")
        for digit, sound in zip(label, x):
            audio.write_wav(folder / f"digit_{digit}.wav", sound, rate)
    figure = new_figure(6, 0.8 * len(x), f"Generated: {trained.experiment.model}")
    axes = figure.subplots(len(x), 1, sharex=True, squeeze=False)[:, 0]
    for axis, digit, sound in zip(axes, label, x):
        axis.plot(np.arange(len(sound)) / rate, sound / 32768.0, linewidth=0.4, color=MODEL_COLOUR)
        axis.set_ylabel(str(digit), rotation=0)
        axis.set_yticks([])
        tidy(axis)
    axes[-1].set_xlabel("seconds")
    return figure
