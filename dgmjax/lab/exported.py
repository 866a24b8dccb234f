"""Exports of trained models, as they are read: arrays, facts and compiled functions.

    FOLDER/
      model.safetensors   the parameters
      model.json          arguments, records, data, versions, SHA-256 of each file
      README.md           the same in words: the card of a model hub
      log_prob.stablehlo  `(variables, x[n, *event], seed) -> nats[n]`, or `elbo.stablehlo`
      sample.stablehlo    `(variables, keys[n, 2]) -> x[n, *event]`

`dgmjax.lab.exporting` writes them. There is no pickle, and no data. Reading needs jax, safetensors
and flatbuffers: neither the data, nor the experiment, nor Flax.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgmjax.errors import RunError, require
from dgmjax.files import read_file
from dgmjax.lazy import extras_named
from dgmjax.runs import strict_json

FORMAT = 1
KEYS = "threefry2x32"
"""Kind of the keys that `sample` takes, two words each."""
WEIGHTS, FACTS, CARD = "model.safetensors", "model.json", "README.md"


class Exported:
    """A model of `load_export`.

    Attributes:
      facts: the content of `model.json`.
      variables: the parameters, nested dictionaries of arrays.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], variables: Any):
        self._folder, self.facts, self.variables = folder, facts, variables
        self._compiled: dict[str, Callable] = {}

    def log_prob(self, x: Any, seed: int = 0) -> np.ndarray:
        """log p(x) of raw data `[n, *event]` in nats, `[n]`; `seed` of any noise of the transform.

        Raises:
          RunError: the model has a bound only (`elbo`), or neither.
        """
        return self._call("log_prob", self._raw(x), np.uint32(seed))

    def elbo(self, x: Any, seed: int = 0) -> np.ndarray:
        """The evidence lower bound of raw data, one posterior sample, in nats `[n]`."""
        return self._call("elbo", self._raw(x), np.uint32(seed))

    def sample(self, seed: int = 0, num: int = 1) -> np.ndarray:
        """`num` samples in the units of the raw data; each has a key of its own."""
        import jax

        require(num >= 1, "num", "must be at least 1", num)
        # Whatever kind of keys JAX is set to: the compiled function takes these.
        key = jax.random.key(seed, impl=KEYS)
        keys = jax.random.key_data(jax.random.split(key, num))
        return self._call("sample", np.asarray(keys))

    def _raw(self, x: Any) -> np.ndarray:
        data = self.facts["dataset"]
        x, shape = np.asarray(x), tuple(data["event_shape"])
        rule = f"must have shape [n, {', '.join(map(str, shape))}]"
        require(x.ndim >= 1 and x.shape[1:] == shape, "x", rule, x.shape)
        require(len(x) >= 1, "x", "must hold at least one example", x.shape)
        dtype = np.dtype(data["dtype"])
        whole = dtype.kind in "biu"
        if whole or not np.can_cast(x.dtype, dtype, "same_kind"):
            with np.errstate(invalid="ignore"):
                same = np.array_equal(x.astype(dtype), x)
            require(same, "x", f"must hold numbers of the raw data, {dtype}", f"dtype {x.dtype}")
        if dtype == np.uint8 and data.get("value_range"):  # counts of wider types have no end
            low, high = data["value_range"]
            inside = low <= x.min() and x.max() <= high
            rule = f"must hold levels of the raw data, {low:g} to {high:g}"
            require(inside, "x", rule, f"{x.min()} to {x.max()}")
        return x.astype(dtype)

    def _call(self, name: str, *arguments: Any) -> np.ndarray:
        if name not in self._compiled:
            self._compiled[name] = self._read(name)
        return np.asarray(self._compiled[name](self.variables, *arguments))

    def _read(self, name: str) -> Callable:
        import jax
        from jax import export as exporting

        known = self.facts["functions"]
        file = f"{name}.stablehlo"
        rule = f"must have been exported with `{name}`"
        given = known.get(name, {}).get("not_exported", f"functions {sorted(known)}")
        require(file in self.facts["sha256"], "folder", rule, given, "", RunError)
        with extras_named():
            lowered = exporting.deserialize(bytearray(checked_file(self._folder, file, self.facts)))
        return jax.jit(lowered.call)


GALLERY = "gallery:"
"""What the names of models that come with the package begin with."""


def gallery() -> dict[str, Path]:
    """The trained models that come with the package: name -> folder of an export."""
    from importlib import resources

    folder = Path(str(resources.files("dgmjax"))) / "gallery"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{FACTS}"))}


def is_export(place: str | Path) -> bool:
    """Whether a place names an export: a model of the gallery, or a folder that holds one."""
    return str(place).startswith(GALLERY) or (Path(place) / FACTS).is_file()


def folder_of(place: str | Path) -> Path:
    """The folder of an export, which may be one of the gallery: "gallery:pixelcnn"."""
    if not str(place).startswith(GALLERY):
        return Path(place)
    from dgmjax.lab.catalogue import nearest

    known, name = gallery(), str(place).removeprefix(GALLERY)
    rule = f"must be one of {', '.join(GALLERY + each for each in known)}"
    require(name in known, "model", rule, place, nearest(name, list(known)).strip(), RunError)
    return known[name]


def load_export(folder: str | Path) -> Exported:
    """The model that `export` wrote; each file is compared with its SHA-256.

    Models of the gallery come with the package: `load_export("gallery:pixelcnn")`. The functions
    are compiled programs: like any program, run those of people you trust.

    Raises:
      RunError: no such folder, a later format, or a file that was altered.
    """
    with extras_named():
        from safetensors.numpy import load

    folder = folder_of(folder)
    facts = read_facts(folder)
    variables = _nested(load(checked_file(folder, WEIGHTS, facts)))
    return Exported(folder, facts, variables)


def read_facts(folder: Path) -> dict[str, Any]:
    """`model.json`, checked."""
    there = (folder / FACTS).is_file()
    remedy = "`dgmjax export RUN --out FOLDER` makes one."
    require(there, "folder", f"must hold {FACTS}", folder, remedy, RunError)
    facts = strict_json.read(folder / FACTS)
    sound = isinstance(facts, dict) and isinstance(facts.get("sha256"), dict)
    sound = sound and all(Path(name).name == name for name in facts["sha256"])
    require(sound, "folder", "must be an export of dgmjax", folder, "", RunError)
    rule = f"must be of format {FORMAT} or older"
    require(facts.get("format") in range(1, FORMAT + 1), "folder", rule, facts.get("format"))
    return facts


def checked_file(folder: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    """A file of the folder, with the checksum of `model.json`."""
    content = read_file(folder / name)
    right = digest(content) == facts["sha256"].get(name)
    require(right, "folder", f"must hold {name} as it was exported", folder, "", RunError)
    return content


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries of leaves by path: the inverse of what `exporting` writes."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        # Names of singular vectors have slashes of their own, written as ~1.
        names = [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")]
        *above, last = names
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = leaf
    return tree
