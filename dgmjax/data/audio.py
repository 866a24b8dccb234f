"""Sound: mu-law codes with exact quantisation, and `.wav` files in and out."""

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgmjax.data.dataset import Dataset, describe, split_rows
from dgmjax.data.transform import with_x
from dgmjax.errors import DataError, require
from dgmjax.files import write_atomically
from dgmjax.types import Array, Key

LEVELS_16_BIT = 2**16


def mu_law_encode(x: np.ndarray, levels: int = 256) -> np.ndarray:
    """Codes 0 .. levels - 1 of int16 samples, int32.

    f(x) = sign(x) log(1 + mu |x|) / log(1 + mu) for x in [-1, 1] and mu = levels - 1; the code is
    f's cell among `levels` equal ones. In float64, so that every sample has one code whatever the
    device.

    Sources: ITU-T, "G.711: Pulse Code Modulation (PCM) of Voice Frequencies", 1988,
    https://www.itu.int/rec/T-REC-G.711; van den Oord et al., "WaveNet: A Generative Model for Raw
    Audio", 2016, section 2.2, https://arxiv.org/abs/1609.03499.

    >>> mu_law_encode(np.array([-32768, -1, 0, 1, 32767], np.int16)).tolist()
    [0, 127, 128, 128, 255]
    """
    x = np.asarray(x)
    require(x.dtype == np.int16, "x", "must be int16 samples", f"dtype {x.dtype}", "", DataError)
    _check_levels(levels)
    mu = levels - 1.0
    scaled = x.astype(np.float64) / 32768.0
    squeezed = np.sign(scaled) * np.log1p(mu * np.abs(scaled)) / np.log1p(mu)
    # f = 1 would be in a cell of its own; `clip` puts it into the last.
    codes = np.floor((squeezed + 1.0) / 2.0 * levels)
    return np.clip(codes, 0, levels - 1).astype(np.int32)


def mu_law_decode(codes: np.ndarray, levels: int = 256) -> np.ndarray:
    """The int16 sample in the middle of each code's cell: the inverse up to quantisation.

    Encoding it gives the code again, for up to 256 levels.

    >>> mu_law_encode(mu_law_decode(np.arange(256))).tolist() == list(range(256))
    True
    """
    codes = np.asarray(codes)
    _check_levels(levels)
    _check_codes("codes", codes, levels)
    mu = levels - 1.0
    squeezed = 2.0 * (codes.astype(np.float64) + 0.5) / levels - 1.0
    scaled = np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log1p(mu)) / mu
    samples = np.round(scaled * 32768.0)
    return np.clip(samples, -32768, 32767).astype(np.int16)


def _check_levels(levels: int) -> None:
    require(2 <= levels <= 256, "levels", "must be in 2 .. 256", levels, "", DataError)


def _check_codes(name: str, codes: np.ndarray, levels: int) -> None:
    inside = codes.size == 0 or (codes.min() >= 0 and codes.max() < levels)
    whole = inside and bool((codes == np.round(codes)).all())
    rule = f"must be whole numbers in 0 .. {levels - 1}"
    require(whole, name, rule, _range(codes), "", DataError)


def _range(x: np.ndarray) -> str:
    return f"{x.min()} .. {x.max()}" if x.size else "nothing"


@lru_cache
def _tables(levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Code of every int16 sample, from -32768, and sample of every code."""
    # The logarithm is taken here once, in float64 on the host: devices round it differently, and a
    # code at the border of two cells would depend on them.
    every = np.arange(-32768, 32768).astype(np.int16)
    return mu_law_encode(every, levels), mu_law_decode(np.arange(levels), levels)


@dataclass(frozen=True)
class MuLaw:
    """int16 samples to mu-law codes 0 .. levels - 1, by a table of all 65,536 samples.

    There is no `log_det`: the codes themselves are modelled. `inverse` gives int16 again.
    """

    levels: int = 256

    def __post_init__(self) -> None:
        _check_levels(self.levels)

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        x = jnp.asarray(batch["x"]).astype(jnp.int32)
        table = jnp.asarray(_tables(self.levels)[0])
        return with_x(batch, jnp.take(table, x + 32768, axis=0))

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        _check_16_bit(arrays)

    def inverse(self, x: Array) -> Array:
        return jnp.take(jnp.asarray(_tables(self.levels)[1]), jnp.asarray(x, jnp.int32), axis=0)


@dataclass(frozen=True)
class SixteenBit:
    """int16 samples to the levels 0 .. 65,535, for a discretised mixture of logistics."""

    def __call__(self, batch: Mapping[str, Any], key: Key) -> dict[str, Any]:
        return with_x(batch, jnp.asarray(batch["x"]).astype(jnp.int32) + 32768)

    def check(self, arrays: Mapping[str, np.ndarray]) -> None:
        _check_16_bit(arrays)

    def inverse(self, x: Array) -> Array:
        return (jnp.asarray(x).astype(jnp.int32) - 32768).astype(jnp.int16)


def _check_16_bit(arrays: Mapping[str, np.ndarray]) -> None:
    x = np.asarray(arrays["x"])
    require(
        x.dtype == np.int16 and x.ndim == 2,
        "x",
        "must be int16 samples [N, T] of one channel",
        f"{x.dtype} of shape {x.shape}",
        "Average the channels of stereo sound; read files with `read_wav`.",
        DataError,
    )


def read_wav(path: str | Path, rate: int) -> np.ndarray:
    """The samples of a 16-bit mono `.wav` file, int16 `[T]`.

    Raises:
      DataError: not a `.wav` file, a truncated one, stereo sound, another sample width, or another
        rate than `rate` samples per second.
    """
    path = Path(path)
    try:
        with wave.open(str(path), "rb") as sound:
            found = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            announced = sound.getnframes() * sound.getnchannels() * sound.getsampwidth()
            frames = sound.readframes(sound.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"`path` must be a readable .wav file; got {path}: {error}.") from error
    rule, given = f"must hold the {announced} bytes of sound that it announces", len(frames)
    remedy = "Copy or write the file again."
    require(given == announced, "path", rule, f"{given} bytes in {path}", remedy, DataError)
    channels, width, found_rate = found
    remedy = "Average its channels first."
    require(channels == 1, "path", "must be mono", f"{channels} channels", remedy, DataError)
    bits, remedy = f"{8 * width} bits", "Convert it first."
    require(width == 2, "path", "must have 16-bit samples", bits, remedy, DataError)
    remedy = "Resample it first."
    require(
        found_rate == rate, "path", f"must have {rate} Hz", f"{found_rate} Hz", remedy, DataError
    )
    return np.frombuffer(frames, "<i2").astype(np.int16, copy=False)


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """int16 samples `[T]` as the bytes of a 16-bit mono `.wav` file."""
    samples = np.asarray(samples)
    require(
        samples.dtype == np.int16 and samples.ndim == 1,
        "samples",
        "must be int16 [T]",
        f"{samples.dtype} of shape {samples.shape}",
        error=DataError,
    )
    whole = rate >= 1 and rate == int(rate)
    require(whole, "rate", "must be a whole number of Hz, at least 1", rate, "", DataError)
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(int(rate))
        sound.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def write_wav(path: str | Path, samples: np.ndarray, rate: int) -> Path:
    """Writes int16 samples `[T]` as a 16-bit mono `.wav` file and returns its path."""
    path, content = Path(path), wav_bytes(samples, rate)
    folder = path.parent
    require(folder.is_dir(), "path", "must be in a folder that exists", folder, "", DataError)
    write_atomically(path, content, DataError)
    return path


def built_in_tones(
    num: int = 400, length: int = 64, classes: int = 10, rate: int = 8000, seed: int = 0
) -> Dataset:
    """Noisy sine tones, one frequency per class, shaped like spoken digits; needs no files.

    `x` int16 `[N, length]`, zero after `length[N]`; `label` is the class.
    """
    generator = np.random.default_rng(seed)
    label = np.arange(num) % classes
    t, phase = np.arange(length), generator.uniform(0, 2 * np.pi, num)
    frequency = 200.0 * (1 + label) / rate
    lengths = generator.integers(length // 2, length + 1, num)
    wave_ = 8000 * np.sin(2 * np.pi * frequency[:, None] * t + phase[:, None])
    wave_ = wave_ + generator.normal(0, 300, wave_.shape)
    x = np.where(t < lengths[:, None], wave_, 0).astype(np.int16)
    arrays: dict[str, np.ndarray] = {
        "x": x,
        "label": label.astype(np.int32),
        "length": lengths.astype(np.int32),
    }
    splits = split_rows(arrays, seed=seed)
    facts = {"source": "synthetic sine tones", "version": "1", "sample_rate_hz": rate}
    return Dataset("tones", splits, describe(splits, **facts, splits=f"random, seed {seed}"))


def unigram_bits(train: np.ndarray, test: np.ndarray, levels: int = 256) -> float:
    """Bits per code of `test` under the frequencies of `train` (Laplace's rule): the baseline.

    >>> round(unigram_bits(np.array([0, 1]), np.array([1, 0]), 2), 3)
    1.0
    """
    train, test = np.asarray(train).ravel(), np.asarray(test).ravel()
    _check_codes("train", train, levels)
    _check_codes("test", test, levels)
    # One more of each: a code that training never shows would cost infinitely many bits.
    counts = np.bincount(train, minlength=levels) + 1.0
    log_probability = np.log2(counts / counts.sum())
    return float(-log_probability[test].mean())
