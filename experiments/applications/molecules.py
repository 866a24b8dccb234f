"""Molecules as SMILES strings of a file of your own: valid, new and different ones are drawn.

    dgmjax train molecules --dataset molecules.smi
    dgmjax train molecules --dataset molecules.smi --model vae --validity

The file has a molecule in each line; what follows its first blank (a name, a property) is left out.
A recurrent network over characters, or a VAE with one as its decoder, whose codes are smooth
coordinates of molecules. Whether a string is a molecule is RDKit's judgement: `--validity` asks for
it, and needs `pip install 'dgmjax[molecules]'`. No number is published for a file that is yours.
Sources: Segler,
Kogej, Tyrchan & Waller, "Generating Focused Molecule Libraries for Drug Discovery with Recurrent
Neural Networks", 2018, https://arxiv.org/abs/1701.01329; Gomez-Bombarelli et al., "Automatic
Chemical Design Using a Data-Driven Continuous Representation of Molecules", 2018,
https://arxiv.org/abs/1610.02415.
"""

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import data, evaluation, lab, models, objectives
from dgmjax.distributions import families
from dgmjax.errors import DataError, DgmjaxError, require, require_sizes
from dgmjax.nn import MLP, Dense, Recurrent, Table
from dgmjax.plotting import text
from dgmjax.types import Array

from ..shared import common
from ..shared.options import Epochs


class Reader(nn.Module):
    """Strings `x[..., T]` -> `[..., *output]`, of an LSTM's last state.

    Numbers of characters come as a VAE hands values of several levels to its encoder, in [-1, 1].
    """

    output: tuple[int, ...]
    levels: int
    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        numbers = jnp.round(0.5 * (x + 1.0) * (self.levels - 1))
        h = Recurrent(self.features)(Table(self.levels, self.features)(numbers))[..., -1, :]
        size = int(np.prod(self.output))
        return Dense(size)(h).reshape(*h.shape[:-1], *self.output)


def molecules(
    *,
    dataset: str | None = None,
    model: Literal["lstm", "vae"] = "lstm",
    features: int = 256,
    layers: int = 1,
    latent: int = 32,
    longest: int = 100,
    dropout: float = 0.1,
    warm_up: int = 5,
    validity: bool = False,
    samples: int = 1000,
    shared: Epochs = Epochs(learning_rate=2e-3, epochs=20, batch_size=50, ema_decay=0.999),
) -> lab.Experiment:
    """A density of strings, exact or by a bound.

    Args:
      dataset: file of SMILES, one in each line.
      model: a recurrent network, or a VAE whose decoder is one.
      features: units of each layer.
      layers: of the recurrent network.
      latent: dimensions of the VAE's z.
      longest: characters of a molecule; longer ones are left out.
      dropout: rate, in training.
      warm_up: epochs in which the weight of the VAE's KL term rises from 0 to 1.
      validity: measure how many samples are molecules.
      samples: that are drawn for it.
    """
    require_sizes(samples=samples, longest=longest)
    if validity:
        _chemistry()
    if shared.tiny:
        features, latent, samples, warm_up = 8, 2, 12, 0
        shared = replace(shared, epochs=1, batch_size=20)
    strings = data.lines_dataset(
        _lines(dataset, shared.tiny),
        name="small molecules" if dataset is None else Path(dataset).stem,
        longest=longest,
    )
    levels, shape = len(data.vocabulary(strings)), strings.event_shape
    require(levels > 2, "dataset", "must have at least two different characters", levels - 1)
    conditional = latent if model == "vae" else 0
    decoder = models.CharRNN(
        shape[0], levels, features, layers=layers, dropout=dropout, context_features=conditional
    )
    drawn = [_drawn(samples, "different", _different), _drawn(samples, "new", _new)]
    if validity:
        drawn.append(_drawn(samples, "valid", _valid))
    if model == "lstm":
        nll = objectives.negative_log_likelihood
        return common.experiment(
            shared,
            model=f"LSTM, {layers} x {features}",
            module=decoder,
            loss=nll,
            adam={"clip": 10.0},
            dataset=strings,
            validation=nll,
            estimators=(common.exact_likelihood(), *drawn),
            figures={"samples": some_samples},
        )
    vae = models.VAE(
        latent,
        encoder=Reader((latent, 2), levels, features),
        decoder=MLP((), (latent,), nn.relu),
        observation=families.Categorical(levels),
        likelihood_model=decoder,
        event_ndims=1,
    )
    return common.experiment(
        shared,
        model=f"VAE {latent}, LSTM {layers} x {features}",
        module=vae,
        loss=common.warmed_up(objectives.elbo, strings, warm_up, shared),
        adam={"clip": 10.0},
        dataset=strings,
        validation=objectives.elbo,
        estimators=(
            common.importance_estimator(common.evaluation_samples(shared, 100), chunk=10),
            lab.Estimator("nll_bound_k1", "ELBO", lab.averaged(objectives.elbo)),
            *common.rate_and_distortion(),
            *drawn,
        ),
        figures={"samples": some_samples, "between": between},
    )


def _lines(path: str | None, tiny: bool) -> list[str]:
    """Strings of the file; small alkanes, alcohols and amines in miniature."""
    if path is None:
        rule = "must be a file of SMILES, one in each line"
        require(tiny, "dataset", rule, "none", "Name it: `--dataset molecules.smi`.")
        chains = ["C" * n for n in range(1, 13)]
        rings = [f"C1{'C' * n}C1" for n in range(1, 6)]
        return [c + end for c in chains + rings for end in ("", "O", "N", "C(C)C", "=O")]
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`dataset` must be a text file; got {path} ({error}).") from error
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _chemistry():
    """RDKit's `Chem`.

    Raises:
      DgmjaxError: it is not installed.
    """
    try:
        from rdkit import Chem

        return Chem
    except ImportError as error:
        remedy = "Install it with `pip install 'dgmjax[molecules]'`, or leave out `--validity`."
        raise DgmjaxError(f"`validity` needs RDKit, which is not installed. {remedy}") from error


@lru_cache(2)
def drawn_strings(trained, num: int) -> tuple[str, ...]:
    """Samples up to their first line break."""
    symbols = data.vocabulary(trained.experiment.dataset)
    return tuple(symbols.decode(row).partition("\n")[0] for row in trained.sample(num))


def _drawn(samples: int, name: str, right):
    def measure(trained, arrays):
        strings = drawn_strings(trained, samples)
        found = evaluation.average(np.asarray(right(trained, strings), np.float64))
        # Whether a string is the first of its kind depends on all others.
        return found if right is not _different else found._replace(standard_error=None)

    return lab.Estimator(f"{name}_samples", f"of {samples} samples", measure, unit="fraction")


def _different(trained, strings):
    """The first of each kind."""
    return [string not in strings[:place] for place, string in enumerate(strings)]


def _new(trained, strings):
    """Those that are not in the training split."""
    dataset = trained.experiment.dataset
    symbols = data.vocabulary(dataset)
    known = {symbols.decode(row).partition("\n")[0] for row in dataset.splits["train"]["x"]}
    return [string not in known for string in strings]


def _valid(trained, strings):
    """Those that RDKit reads as molecules."""
    chemistry = _chemistry()
    return [bool(string) and chemistry.MolFromSmiles(string) is not None for string in strings]


def some_samples(trained, num: int = 30):
    """Samples, one in each line."""
    return text(["\n".join(drawn_strings(trained, num))])


def between(trained, rows: int = 4, columns: int = 5):
    """Strings on the line between the codes of two test molecules."""
    x = jnp.asarray(trained.arrays("test")["x"][: 2 * rows])
    made = trained.call(partial(_between, columns), x, jax.random.key(1))
    symbols = data.vocabulary(trained.experiment.dataset)
    lines = [symbols.decode(row).partition("\n")[0] for row in np.asarray(made)]
    return text(["\n".join(lines[i : i + columns]) for i in range(0, len(lines), columns)])


def _between(columns: int, model, x, key):
    z = model.posterior(x).mean()
    first, last = jnp.split(z[: 2 * (len(z) // 2)], 2)
    share = jnp.linspace(0.0, 1.0, columns)[:, None]
    codes = first[:, None] + share * (last - first)[:, None]
    likelihood = model.likelihood(codes.reshape(-1, codes.shape[-1]))
    return likelihood.sample(seed=key)
