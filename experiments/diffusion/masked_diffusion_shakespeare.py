"""Masked diffusion over characters of Shakespeare: a bound beside the transformer's exact bits.

    dgmjax train masked_diffusion_shakespeare --validation 0 --data-dir DATA

A transformer without direction predicts the hidden characters of a block from those that are left.
Text, split and length of a block are those of `char_rnn_shakespeare`, whose numbers are exact; the
bound here is the mean over all orders of the characters. With `--validation 0` the result is that
of the last epoch, after training on nine tenths of the text. There is no published number for this
split.
Source: Sahoo et al., "Simple and Effective Masked Diffusion Language Models", 2024,
https://arxiv.org/abs/2406.07524.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from dgmjax import data, lab, models, nn, noising, objectives

from ..shared import common
from ..shared.options import Epochs


def masked_diffusion_shakespeare(
    *,
    features: int = 128,
    layers: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
    length: int = 256,
    stride: int | None = None,
    validation: float = 0.05,
    replacement: Literal["absorbing", "uniform"] = "absorbing",
    steps_of_samples: int = 256,
    evaluation_samples: int = 32,
    shared: Epochs = Epochs(learning_rate=2e-3, ema_decay=0.999, epochs=30, batch_size=8),
) -> lab.Experiment:
    """Characters under masks, or replaced at random, predicted by attention in both directions.

    Args:
      features: of a character.
      layers: blocks of attention and MLP.
      heads: of the attention.
      dropout: rate, of what each layer adds.
      length: characters of a block.
      stride: characters from the start of a training block to that of the next; `length` where not
        given.
      validation: share of the text, before the last tenth, that chooses the epoch; with 0 the last
        epoch of training on nine tenths counts.
      replacement: noise is a mask, or any character.
      steps_of_samples: network calls of a sample.
      evaluation_samples: noisy copies of each test block, spread evenly over time.
    """
    if shared.tiny:
        dataset = data.text_dataset(data.built_in_text(), 16, name="descriptions of data sets")
        features, layers, heads, shared = 16, 1, 2, replace(shared, epochs=1, batch_size=16)
        steps_of_samples, evaluation_samples = 4, 2
    else:
        dataset = data.load(
            "tinyshakespeare",
            data_dir=shared.data_dir,
            length=length,
            stride=stride,
            validation=validation,
            test=0.1,
        )
    process = noising.DiscreteProcess(len(data.vocabulary(dataset)), replacement)
    network = nn.DiT(
        features,
        layers,
        heads,
        event_ndims=1,
        num_outputs=process.levels,
        embed=nn.Table(process.num_states, features),
        dropout=dropout,
    )
    bound = objectives.discrete_diffusion
    return common.experiment(
        shared,
        model=f"{replacement} diffusion, transformer {layers} x {features}",
        module=models.DiscreteDiffusion(
            dataset.event_shape, process, network, steps=steps_of_samples
        ),
        loss=bound,
        adam={"clip": 1000.0},
        dataset=dataset,
        validation=bound if "validation" in dataset.splits else None,
        estimators=(
            lab.Estimator(
                "bits_per_character_bound_k1",
                f"bound in continuous time, {evaluation_samples} noisy copies of each block",
                lab.averaged(
                    partial(bound, num_samples=evaluation_samples), batch_size=4, bits=True
                ),
                unit="bits/character",
            ),
        ),
        figures={"text": lab.figures.text},
        previews=("text",),
        evaluation_batch_size=32,
    )
