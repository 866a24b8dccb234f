"""Files of samples. Importing this file imports no JAX."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dgmjax.errors import require
from dgmjax.files import make_folder, write_atomically

if TYPE_CHECKING:
    from dgmjax.lab.exported import Exported
    from dgmjax.lab.trained import Trained

ENDINGS = (".png", ".txt", ".wav", ".npy", ".npz")


def check_ending(out: Path | None) -> None:
    """Raises `DgmjaxError` for a file of samples whose ending is none of `ENDINGS`."""
    known = out is None or out.suffix in ENDINGS
    require(known, "--out", f"must end in one of {', '.join(ENDINGS)}", out)


class Source(NamedTuple):
    """What files of samples know of a model.

    Attributes:
      model: its name.
      info: facts of the data that it was trained on.
      draw: `(num, seed)` to samples in the units of the raw data.
      picture: samples to a figure.
      folder: of a file that has no name.
    """

    model: str
    info: Mapping[str, Any]
    draw: Callable[[int, int], Any]
    picture: Callable[[Any], Any]
    folder: Path


def write_samples(
    trained: "Trained",
    *,
    num: int = 64,
    out: Path | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    label: int | None = None,
) -> Path:
    """Writes `num` samples and returns the file.

    A `.png` is a picture (images, or points of the plane), a `.txt` is text, one sample after
    another between lines of dashes, for models of characters; a `.wav` is sound, one sample after
    another with a tenth of a second between; `.npy` and `.npz` hold the array `x` in the units of
    the raw data. Without `out`, `samples.npy` goes to the run folder.

    Args:
      label: class of the samples, of a model that was trained with classes.
    """
    from dgmjax.lab import figures

    source = Source(
        trained.experiment.model,
        trained.experiment.dataset.info,
        lambda num, seed: trained.sample(num, seed, temperature, label),
        lambda x: figures.picture(trained, x),
        Path() if trained.folder is None else trained.folder.path,
    )
    return _write(source, num, out, seed)


def write_samples_of_export(
    model: "Exported", *, num: int = 64, out: Path | None = None, seed: int = 0
) -> Path:
    """The same of a model of `load_export`; without `out`, `samples.npy` in the current folder."""
    from dgmjax.lab import figures

    name, info = model.facts["model"], model.facts["dataset"]
    picture = lambda x: figures.picture_of(x, name, info)
    source = Source(name, info, lambda num, seed: model.sample(seed, num), picture, Path())
    return _write(source, num, out, seed)


def _write(source: Source, num: int, out: Path | None, seed: int) -> Path:
    require(num >= 1, "num", "must be at least 1", num)
    check_ending(out)
    path = source.folder / "samples.npy" if out is None else Path(out)
    write = {".png": _picture, ".txt": _text, ".wav": _sound}.get(path.suffix, _array)
    prepared = write(source, path.suffix)  # before anything is drawn: the data may not fit
    make_folder(path.parent)
    write_atomically(path, prepared(source.draw(num, seed)))
    return path


def _picture(source: Source, ending: str) -> Callable[[Any], bytes]:
    from dgmjax.plotting import to_png

    return lambda x: to_png(source.picture(x))


def _text(source: Source, ending: str) -> Callable[[Any], bytes]:
    from dgmjax.data.text import vocabulary_of

    symbols, rule = vocabulary_of(source.info), f"\n{'-' * 60}\n"
    return lambda x: (rule.join(symbols.decode(row) for row in x) + "\n").encode()


def _sound(source: Source, ending: str) -> Callable[[Any], bytes]:
    import numpy as np

    from dgmjax.data.audio import wav_bytes

    rate = int(source.info.get("sample_rate_hz") or 0)
    rule = "must be sound, whose samples per second are known, for a .wav"
    require(rate > 0, "--out", rule, source.model)

    def written(x: Any) -> bytes:
        pause = np.zeros((len(x), rate // 10), np.int16)
        return wav_bytes(np.concatenate([x, pause], 1).ravel(), rate)

    return written


def _array(source: Source, ending: str) -> Callable[[Any], bytes]:
    import numpy as np

    def written(x: Any) -> bytes:
        content = io.BytesIO()
        if ending == ".npy":
            np.save(content, x, allow_pickle=False)
        else:
            np.savez_compressed(content, x=x)
        return content.getvalue()

    return written
