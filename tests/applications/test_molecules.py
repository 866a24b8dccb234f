"""Strings of a file as data, and what is counted of samples."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from dgmjax.experiments.applications import molecules as experiment
from dgmjax.experiments.shared.options import Epochs

from dgmjax import data
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.lab import catalogue

LINES = [f"{'C' * n}{end}" for n in range(1, 9) for end in ("O", "N", "Cl")]


def test_lines_are_rows_that_end_in_breaks():
    found = data.lines_dataset([*LINES, *LINES[:3], "", "C" * 200], longest=50)
    symbols = data.vocabulary(found)
    rows = np.concatenate([arrays["x"] for arrays in found.splits.values()])
    assert rows.shape == (len(LINES), 1 + max(map(len, LINES)))
    assert {symbols.decode(row).rstrip("\n") for row in rows} == set(LINES)
    assert all(symbols.decode(row).endswith("\n") for row in rows)
    assert found.info["left_out"] == 1 and set(found.splits) == {"train", "validation", "test"}
    with pytest.raises(DataError, match="`lines` must hold at least ten"):
        data.lines_dataset(LINES[:9])
    with pytest.raises(DataError, match="`lines` must have no line breaks"):
        data.lines_dataset(["C\nN", *LINES])


def test_samples_are_counted(monkeypatch):
    found = data.lines_dataset(LINES)
    trained = SimpleNamespace(experiment=SimpleNamespace(dataset=found))
    symbols = data.vocabulary(found)
    known = symbols.decode(found.splits["train"]["x"][0]).rstrip("\n")
    strings = (known, "CCCCCCCCCCCCN", known, "")
    assert experiment._different(trained, strings) == [True, True, False, True]
    assert experiment._new(trained, strings) == [False, True, False, True]
    chemistry = ModuleType("rdkit.Chem")
    chemistry.MolFromSmiles = lambda string: object() if "N" not in string else None
    package = ModuleType("rdkit")
    package.Chem = chemistry
    monkeypatch.setitem(sys.modules, "rdkit", package)
    judged = experiment._valid(trained, ("CCO", "CCN", ""))
    assert judged == [True, False, False]


def test_a_file_is_read_up_to_the_first_blank(tmp_path):
    file = tmp_path / "some.smi"
    file.write_text("\n".join(f"{line} name-{i}" for i, line in enumerate(LINES)) + "\n\n")
    given = {"dataset": str(file), "model": "vae"}
    built = catalogue.build(experiment.molecules, given, seed=0, tiny=True, data_dir=None)
    assert built.dataset.name == "some"
    assert sum(built.dataset.info["split_sizes"].values()) == len(LINES)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(DgmjaxError, match="`dataset` must be a file of SMILES"):
        experiment.molecules()
    with pytest.raises(DataError, match="`dataset` must be a text file"):
        experiment.molecules(dataset=str(tmp_path / "absent.smi"))
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(DgmjaxError, match=r"pip install 'dgmjax\[molecules\]'"):
        experiment.molecules(validity=True, shared=Epochs(tiny=True))
