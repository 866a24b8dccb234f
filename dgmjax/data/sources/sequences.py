"""Sets of sequences: text, speech and piano rolls."""

import io
import re
import struct
import wave
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.data.dataset import Arrays, Dataset, describe, set_apart
from dgmjax.data.reading.archives import open_zip, read_member, require_size
from dgmjax.data.reading.files import damaged
from dgmjax.data.reading.folders import find
from dgmjax.data.text import text_dataset
from dgmjax.errors import DataError, require

ROLLS = {"JSB": "JSB_Chorales", "Nottingham": "Nottingham", "MuseData": "MuseData"}
ROLLS |= {"Piano-midi": "Piano_midi"}
_RECORDING = re.compile(r"(\d)_([a-z]{1,32})_(\d{1,4})\.wav", re.ASCII)
_ARCHIVE = (zipfile.BadZipFile, NotImplementedError, OverflowError, wave.Error, struct.error)


def pad(sequences: Sequence[np.ndarray], length: int | None) -> dict[str, np.ndarray]:
    """`x [N, length, ...]`, padded at the end with 0 or cut, and the true `length [N]`, int32.

    Without a `length` it is that of the longest sequence.
    """
    size = max(map(len, sequences)) if length is None else length
    require(size >= 1, "length", "must be at least 1", length, "", DataError)
    first = sequences[0]
    x = np.zeros((len(sequences), size, *first.shape[1:]), first.dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence[:size]
    return {"x": x, "length": np.array([min(len(s), size) for s in sequences], np.int32)}


def load_tinyshakespeare(
    name: str,
    folder: Path,
    *,
    length: int = 64,
    validation: float = 0.05,
    test: float = 0.05,
    stride: int | None = None,
) -> Dataset:
    """Blocks of `length` characters, int32 indices of the sorted 65 symbols; see `text_dataset`."""
    path = find(
        folder, "tinyshakespeare/input.txt", "`dgmjax data get tinyshakespeare` downloads it."
    )
    require_size(path, path.stat().st_size, None)
    try:
        text = path.read_bytes().decode("ascii")
    except UnicodeDecodeError as error:
        raise damaged(path, error) from error
    return text_dataset(text, length, name=name, validation=validation, test=test, stride=stride)


def load_spoken_digits(
    name: str, folder: Path, *, length: int = 8192, validation: int = 300, split_seed: int = 0
) -> Dataset:
    """Free Spoken Digit Dataset: int16 `[N, length]` at 8 kHz; takes 0 to 4 are the test split.

    Recordings are padded or cut to `length` samples, of which `length[N]` are sound (98% are
    shorter than 8192). `label` is the digit, `speaker` an index into `info["speakers"]`.
    """
    path = find(folder, "fsdd/recordings.zip", "Put recordings.zip there.")
    found = _recordings(path)
    speakers = sorted({speaker for _, speaker, _, _ in found})
    splits: dict[str, Arrays] = {}
    for split, is_test in {"train": False, "test": True}.items():
        rows = [row for row in found if (row[2] < 5) == is_test]
        require(len(rows) > 0, "name", f"must have recordings for {split}", path, "", DataError)
        splits[split] = {
            **pad([sound for *_, sound in rows], length),
            "label": np.array([digit for digit, *_ in rows], np.int32),
            "speaker": np.array([speakers.index(speaker) for _, speaker, *_ in rows], np.int32),
        }
    splits, made = set_apart(splits, validation, split_seed)
    facts: dict[str, Any] = {"source": "Free Spoken Digit Dataset", "version": "takes 0-4 are test"}
    facts |= {"sample_rate_hz": 8000, "speakers": speakers, "splits": made}
    return Dataset(name, splits, describe(splits, **facts))


def _recordings(path: Path) -> list[tuple[int, str, int, np.ndarray]]:
    """Digit, speaker, take and sound of every `{digit}_{speaker}_{take}.wav` of the archive."""
    found = []
    try:
        with open_zip(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".wav")]
            for member in sorted(members, key=lambda m: m.filename):
                name = _RECORDING.fullmatch(member.filename.rpartition("/")[2])
                if name is None:
                    raise damaged(path, f"{member.filename!r} is not digit_speaker_take.wav")
                sound = _sound(read_member(archive, member))
                found.append((int(name[1]), name[2], int(name[3]), sound))
    except DataError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, *_ARCHIVE) as error:
        raise damaged(path, error) from error
    return found


def _sound(content: bytes) -> np.ndarray:
    """The samples of a recording, int16 `[T]`."""
    with wave.open(io.BytesIO(content)) as sound:
        form = (sound.getframerate(), sound.getsampwidth(), sound.getnchannels())
        if form != (8000, 2, 1):
            raise ValueError("a recording is not 8 kHz 16-bit mono")
        frames = sound.readframes(sound.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.int16, copy=False)


def load_polymusic(name: str, folder: Path, *, length: int | None = None) -> Dataset:
    """`polymusic/<JSB|Nottingham|MuseData|Piano-midi>`: rolls, uint8 0/1 `[N, T, 88]`.

    The splits are the published ones. Without `length`, pieces are padded to the longest piece of
    all splits; with it, each is cut into windows of `length` steps, the last one padded.
    `length[N]` says how many steps are music.

    Source: Boulanger-Lewandowski, Bengio & Vincent, "Modeling Temporal Dependencies in
    High-Dimensional Sequences", 2012, https://arxiv.org/abs/1206.6392.
    """
    from scipy.io import loadmat

    file = ROLLS[name.removeprefix("polymusic/")]
    path = find(folder, f"polymusic/{file}.mat", f"Put {file}.mat there.")
    try:
        raw = loadmat(path)
        keys = {"train": "traindata", "validation": "validdata", "test": "testdata"}
        rolls = {split: [*raw[key].ravel()] for split, key in keys.items()}
        shapes = {roll.shape[1:] for pieces in rolls.values() for roll in pieces}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise damaged(path, error) from error
    require(shapes == {(88,)}, "name", "must hold rolls [T, 88]", shapes, "", DataError)
    if length is not None:
        require(length >= 1, "length", "must be at least 1", length, "", DataError)
        rolls = {k: [w for roll in v for w in _windows(roll, length)] for k, v in rolls.items()}
    size = length or max(len(roll) for pieces in rolls.values() for roll in pieces)
    splits = {split: pad(pieces, size) for split, pieces in rolls.items()}
    facts = {"source": f"{file} piano rolls", "version": "Boulanger-Lewandowski 2012"}
    return Dataset(name, splits, describe(splits, **facts, splits="as published"))


def _windows(roll: np.ndarray, length: int) -> list[np.ndarray]:
    return [roll[start : start + length] for start in range(0, len(roll), length)]
