"""VRNN on the JSB chorales: a bound in nats per frame, beside independent notes.

    dgmjax train vrnn_jsb --data-dir DATA
    dgmjax train vrnn_jsb --music Nottingham --bound iwae --num-samples 4 --data-dir DATA

Independent notes are the baseline. No published number is printed: those in the literature differ
in their bounds and averages. Sources: Chung, Kastner, Dinh, Goel, Courville & Bengio, "A Recurrent
Latent Variable Model for Sequential Data", 2015, https://arxiv.org/abs/1506.02216;
Boulanger-Lewandowski, Bengio & Vincent, "Modeling Temporal Dependencies in High-Dimensional
Sequences", 2012 (data), https://arxiv.org/abs/1206.6392.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax
import numpy as np

from dgmjax import data, evaluation, lab, models, objectives
from dgmjax.plotting import new_figure

from ..shared import common
from ..shared.options import Epochs


def vrnn_jsb(
    *,
    music: Literal["JSB", "Nottingham", "MuseData", "Piano-midi"] = "JSB",
    length: int | None = None,
    latent: int = 32,
    hidden: int = 64,
    bound: common.Bound = "elbo",
    num_samples: int = 1,
    shared: Epochs = Epochs(learning_rate=1e-3, epochs=200, batch_size=8),
) -> lab.Experiment:
    """A VAE in every frame of a piano roll, joined by an LSTM.

    Args:
      music: which rolls.
      length: frames of the windows into which pieces are cut; whole pieces if None.
      latent: dimensions of z of a frame.
      hidden: units of the LSTM and of every other layer.
      bound: what training maximises.
      num_samples: k, of the bound.
    """
    if shared.tiny:
        dataset, latent, hidden, shared = data.built_in_rolls(), 4, 8, replace(shared, epochs=2)
    else:
        dataset = data.load(f"polymusic/{music}", data_dir=shared.data_dir, length=length)
    for arrays in dataset.splits.values():
        data.validate(arrays, values="binary")
    loss = common.bound_of_samples(bound, num_samples)
    samples = 5 if shared.tiny else 100
    large = partial(objectives.importance_bound, num_samples=samples, chunk=5)
    return common.experiment(
        shared,
        model=f"VRNN {hidden}-{latent}, {bound} k={num_samples}",
        module=models.VRNN(dataset.event_shape, latent, hidden),
        loss=loss,
        adam={"clip": 1000.0},
        dataset=dataset,
        validation=objectives.elbo,
        evaluations=20,
        estimators=(
            _per_frame("nats_per_frame_bound_k1", "ELBO", _nats(objectives.elbo)),
            _per_frame(
                f"nats_per_frame_bound_k{samples}",
                f"importance-weighted bound of whole pieces, {samples} samples",
                _nats(large),
            ),
            _per_frame(
                "nats_per_frame", "exact", _independent_notes, "independent notes (baseline)"
            ),
        ),
        figures={"rolls": rolls},
        evaluation_batch_size=16,
    )


def _per_frame(metric, estimator, nats, model=None):
    """An estimator of nats per sequence, summed and divided by all frames, padding excluded."""

    def measure(trained, arrays):
        total = np.sum(nats(trained, arrays), dtype=np.float64)
        frames = arrays["length"].sum()
        return evaluation.Measurement(float(total / frames), None, len(arrays["x"]))

    return lab.Estimator(metric, estimator, measure, unit="nats/frame", model=model)


def _nats(objective):
    return lambda trained, arrays: trained.per_example(objective, arrays, 16)["loss"]


def _independent_notes(trained, arrays):
    """-log p of every test frame under the rates of each note in the training frames."""
    frames = lambda a: a["x"][np.arange(a["x"].shape[1]) < a["length"][:, None]]
    return evaluation.independent_bernoulli(frames(trained.arrays("train")), frames(arrays))


def rolls(trained, num: int = 4):
    """Test pieces above samples of the model: time to the right, pitch upwards."""
    test = trained.arrays("test")
    drawn = np.asarray(trained.call(_samples, jax.random.key(1)))[:num]
    figure = new_figure(2.4 * num, 4.2, f"Test pieces, and samples: {trained.experiment.model}")
    axes = figure.subplots(2, num, squeeze=False)
    for row, pictures in zip(axes, (test["x"][:num], drawn)):
        for axis, picture in zip(row, pictures):
            axis.imshow(
                picture.T,
                origin="lower",
                aspect="auto",
                cmap="gray_r",
                vmin=0,
                vmax=1,
                interpolation="nearest",
            )
            axis.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("test: key")
    axes[1, 0].set_ylabel("sample: key")
    axes[1, 0].set_xlabel("frame")
    return figure


def _samples(model, key):
    return model.sample(key, (4,))
