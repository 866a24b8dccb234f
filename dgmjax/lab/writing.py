"""Files of samples. Importing this file imports no JAX."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgmjax.errors import require
from dgmjax.files import make_folder, write_atomically

if TYPE_CHECKING:
    from dgmjax.lab.trained import Trained

ENDINGS = (".png", ".txt", ".wav", ".npy", ".npz")


def check_ending(out: Path | None) -> None:
    """Raises `DgmjaxError` for a file of samples whose ending is none of `ENDINGS`."""
    known = out is None or out.suffix in ENDINGS
    require(known, "--out", f"must end in one of {', '.join(ENDINGS)}", out)


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
    require(num >= 1, "num", "must be at least 1", num)
    check_ending(out)
    folder = Path() if trained.folder is None else trained.folder.path
    path = folder / "samples.npy" if out is None else Path(out)
    write = {".png": _picture, ".txt": _text, ".wav": _sound}.get(path.suffix, _array)
    prepared = write(trained, path.suffix)  # before anything is drawn: the data may not fit
    make_folder(path.parent)
    write_atomically(path, prepared(trained.sample(num, seed, temperature, label)))
    return path


def _picture(trained: "Trained", ending: str) -> Any:
    from dgmjax.lab import figures
    from dgmjax.plotting import to_png

    return lambda x: to_png(figures.picture(trained, x))


def _text(trained: "Trained", ending: str) -> Any:
    from dgmjax.data.text import vocabulary

    symbols, rule = vocabulary(trained.experiment.dataset), f"\n{'-' * 60}\n"
    return lambda x: rule.join(symbols.decode(row) for row in x) + "\n"


def _sound(trained: "Trained", ending: str) -> Any:
    import numpy as np

    from dgmjax.data.audio import wav_bytes

    rate = int(trained.experiment.dataset.info.get("sample_rate_hz") or 0)
    rule = "must be sound, whose samples per second are known, for a .wav"
    require(rate > 0, "--out", rule, trained.experiment.dataset.name)

    def written(x: Any) -> bytes:
        pause = np.zeros((len(x), rate // 10), np.int16)
        return wav_bytes(np.concatenate([x, pause], 1).ravel(), rate)

    return written


def _array(trained: "Trained", ending: str) -> Any:
    import numpy as np

    def written(x: Any) -> bytes:
        content = io.BytesIO()
        if ending == ".npy":
            np.save(content, x, allow_pickle=False)
        else:
            np.savez_compressed(content, x=x)
        return content.getvalue()

    return written
