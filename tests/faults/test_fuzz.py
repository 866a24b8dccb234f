"""Mutated files: only errors of our own, and little memory, whatever a reader is given.

A reader here is the whole way that a file of the user or of a run folder takes: `load(path)`, a
data set's loader, or the run folder's own files. Half of the inputs of a container are damaged
inside and then packed with right checksums, so that the damage reaches what lies behind them.
"""

import io
import json
import shutil
import struct
import time
import tracemalloc
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mutations import gz, mutated, mutated_json, tarred, xz, zipped

from dgmjax.data.sources.own_files import load_path
from dgmjax.data.sources.sequences import load_spoken_digits
from dgmjax.data.sources.tables import load_uci
from dgmjax.errors import DgmjaxError
from dgmjax.runs.configuration import check_same
from dgmjax.runs.folder import RunFolder, run_name
from dgmjax.runs.metrics import MetricsFile
from dgmjax.runs.record import read_records

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 3, 2)).astype(np.uint8)
TABLE = RNG.normal(size=(20, 3)).astype(np.float32)
LIMIT = 64 * 2**20


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def wav(length):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(RNG.integers(-99, 99, length).astype("<i2").tobytes())
    return stream.getvalue()


ARRAYS = {
    "x_train.npy": npy(TABLE[:12]),
    "label_train.npy": npy(np.arange(12)),
    "x_test.npy": npy(TABLE[12:]),
    "label_test.npy": npy(np.arange(8)),
}
CSV = "a,b,c\n" + "\n".join(f"{i % 3},{i},{i / 7:.3f}" for i in range(12)) + "\n"
UCI = "\n".join(f"{i}.5,{i % 4},{'?' if i == 3 else i},c{i % 2}" for i in range(12)) + "\n"
WAVS = {f"{i}_{who}_{take}.wav": wav(9) for i in (0, 1) for who in ("ann", "bo") for take in (0, 7)}
CONFIG = {
    "format": 1, "experiment": "vae", "arguments": {"latent": 20, "hidden": [200, 200]},
    "seed": 0, "tiny": False, "options": {"data_dir": None}, "versions": {"jax": "0.10"},
    "device": "cpu x 1", "git_commit": None,
}  # fmt: skip
RECORD = {
    "experiment": "vae", "model": "VAE", "dataset": "mnist", "binarisation": "dynamic",
    "split": "test", "num_examples": 10, "metric": "nll_bound_k5000", "estimator": "bound",
    "value": 86.8, "standard_error": 0.2, "unit": "nats", "seed": 0, "step": 5,
    "published": {"value": 86.76, "source": "somebody, 2016"}, "device": "cpu x 1",
    "versions": {"jax": "0.10"}, "seconds": 1.5,
}  # fmt: skip
LINES = [{"step": i, "loss": 1.0 / (i + 1), "skipped": 0} for i in range(6)]


def damaged_member(rng, members, pack):
    """An archive that is damaged itself, or one of whose members is."""
    if rng.integers(2):
        return mutated(rng, pack(members))
    names = list(members)
    chosen = names[rng.integers(len(names))]
    return pack({n: mutated(rng, d) if n == chosen else d for n, d in members.items()})


def damaged_text(rng, tree):
    return mutated_json(rng, tree) if rng.integers(2) else mutated(rng, json.dumps(tree).encode())


def damaged_lines(rng):
    lines = [json.dumps(line).encode() for line in LINES]
    at = rng.integers(len(lines))
    lines[at] = damaged_text(rng, LINES[at])
    return b"\n".join(lines) + b"\n"


def read_own(path):
    data = load_path(path.name, path.parent)
    for part in data.splits.values():
        assert np.isfinite(np.asarray(part["x"], np.float64)).all()


def read_labelled(path):
    load_path(path.name, path.parent, label=0)


def read_config(path):
    run = RunFolder(path.parent)
    run_name(run.arguments, {}, run.seed, run.tiny)
    assert f"{run.experiment}{run.options}{run!r}"
    check_same(path.parent, run.config, CONFIG)


def read_results(path):
    for record in read_records(path):
        assert record.summary() and json.dumps(record.to_json())


def read_metrics(path):
    metrics = MetricsFile(path)
    for line in metrics.read():
        assert line["step"] >= -(2**63)
    metrics.truncate(3)
    metrics.write(7, {"loss": 1.0})


READERS = {  # name of the file, its damaged content, what reads it
    "a.npy": (lambda rng: mutated(rng, npy(TABLE)), read_own),
    "a.npz": (lambda rng: damaged_member(rng, ARRAYS, zipped), read_own),
    "a-ubyte": (lambda rng: mutated(rng, idx(IMAGES)), read_own),
    "a.gz": (lambda rng: mutated(rng, gz(idx(IMAGES))), read_own),
    "b.gz": (lambda rng: gz(mutated(rng, idx(IMAGES))), read_own),
    "a.csv": (lambda rng: mutated(rng, CSV.encode()), read_own),
    "b.csv": (lambda rng: mutated(rng, CSV.encode()), read_labelled),
    "uci/uci.tar.xz": (
        lambda rng: mutated(rng, xz(tarred({"jbrownlee/iris.csv": UCI.encode()}))),
        lambda path: load_uci("uci/iris", path.parent.parent),
    ),
    "uci2/uci/uci.tar.xz": (
        lambda rng: xz(damaged_member(rng, {"jbrownlee/iris.csv": UCI.encode()}, tarred)),
        lambda path: load_uci("uci/iris", path.parent.parent),
    ),
    "fsdd/recordings.zip": (
        lambda rng: damaged_member(rng, WAVS, zipped),
        lambda path: load_spoken_digits("spoken_digits", path.parent.parent, validation=1),
    ),
    "config.json": (lambda rng: damaged_text(rng, CONFIG), read_config),
    "results.json": (lambda rng: damaged_text(rng, [RECORD, RECORD]), read_results),
    "metrics.jsonl": (damaged_lines, read_metrics),
}


def fuzz(folder, count, seed, sample):
    """Reads `count` mutated files; returns tallies and the largest memory above a file's size."""
    rng = np.random.default_rng(seed)
    tally, escaped, largest = Counter(), {}, 0
    for name in READERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        name = list(READERS)[i % len(READERS)]
        make, read = READERS[name]
        content, path = make(rng), folder / name
        path.write_bytes(content)
        measured = i // len(READERS) % sample == 0
        if measured:
            tracemalloc.start()
        try:
            read(path)
            tally["read"] += 1
        except DgmjaxError:
            tally["refused"] += 1
        except Exception as error:
            tally["escaped"] += 1
            escaped.setdefault((name, type(error).__name__, str(error)[:80]), content)
        if measured:
            largest = max(largest, tracemalloc.get_traced_memory()[1] - len(content))
            tracemalloc.stop()
    return tally, escaped, largest


def check(folder, count, seed, sample):
    for name, (_, read) in READERS.items():  # what is mutated can be read
        assert callable(read), name
    tally, escaped, largest = fuzz(folder, count, seed, sample)
    assert not escaped, "\n".join(map(str, list(escaped)[:20]))
    assert largest < LIMIT
    assert tally["read"] > count // 50 and tally["refused"] > count // 5
    return tally, largest


@pytest.mark.parametrize("name", READERS)
def test_each_reader_reads_what_is_not_mutated(name, tmp_path, monkeypatch):
    """Otherwise every mutation would be refused for the wrong reason."""
    for function in ("mutated", "damaged_text"):
        same = lambda rng, data: data if isinstance(data, bytes) else json.dumps(data).encode()
        monkeypatch.setitem(globals(), function, same)
    make, read = READERS[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make(np.random.default_rng(0)))
    read(path)


def test_only_our_own_errors(tmp_path):
    check(tmp_path, 2_000, seed=0, sample=4)


@pytest.mark.fault
def test_a_hundred_thousand_mutated_files(tmp_path, capsys):
    started = time.perf_counter()
    tally, largest = check(tmp_path, 100_000, seed=1, sample=20)
    with capsys.disabled():
        print(
            f"\n100,000 mutated files: {tally['refused']} refused by errors of our own, "
            f"{tally['read']} read, {tally['escaped']} other errors; at most "
            f"{largest / 2**20:.1f} MiB above the file's size "
            f"({time.perf_counter() - started:.0f} s)"
        )


def peak(read, path):
    """The largest memory while `path` is refused, above its size."""
    tracemalloc.start()
    try:
        with pytest.raises(DgmjaxError):
            read(path)
        return tracemalloc.get_traced_memory()[1] - path.stat().st_size
    finally:
        tracemalloc.stop()


BOMBS = {
    "zeros.npz": lambda: zipped({"x.npy": npy(np.zeros(2**26, np.uint8))}),
    "members.npz": lambda: zipped({f"{i}.npy": b"" for i in range(21_000)}),
    "zeros.gz": lambda: gz(idx(np.zeros((2**26,), np.uint8))),
    "header.npy": lambda: b"\x93NUMPY\x02\0" + (2**31).to_bytes(4, "little") + bytes(100),
    "uci/uci.tar.xz": lambda: xz(bytes(2**26)),
    "config.json": lambda: b"[" + b"[]," * 2**21 + b"[]]",
    "deep.json": lambda: b"[" * 2**20,
}


@pytest.mark.parametrize("name", BOMBS)
def test_files_made_to_exhaust_memory(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(BOMBS[name]())
    readers = {".npz": read_own, ".gz": read_own, ".npy": read_own, ".json": read_results}
    readers[".xz"] = lambda path: load_uci("uci/iris", path.parent.parent)
    assert peak(readers[path.suffix], path) < LIMIT


def test_an_xz_file_that_asks_for_a_large_dictionary(tmp_path):
    import lzma

    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    content = lzma.compress(tarred({"jbrownlee/iris.csv": UCI.encode()}), filters=filters)
    folder = tmp_path / "uci"
    folder.mkdir()
    (folder / "uci.tar.xz").write_bytes(content)
    assert peak(lambda path: load_uci("uci/iris", tmp_path), folder / "uci.tar.xz") < LIMIT
    shutil.rmtree(Path(folder))
