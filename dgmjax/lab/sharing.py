"""Trained models to share: arrays, facts, a card, and compiled functions; no pickle, no data.

    FOLDER/
      model.safetensors   the parameters
      model.json          arguments, records, data, versions, SHA-256 of each file
      README.md           the same in words: the card of a model hub
      log_prob.stablehlo  `(variables, x[n, *event], seed) -> nats[n]`, or `elbo.stablehlo`
      sample.stablehlo    `(variables, keys[n, 2]) -> x[n, *event]`

Reading needs jax, safetensors and flatbuffers: neither the data, nor the experiment, nor Flax.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import RunError, require
from dgmjax.files import make_folder, read_file, write_atomically
from dgmjax.lazy import extras_named
from dgmjax.runs import strict_json
from dgmjax.types import Array

if TYPE_CHECKING:
    from dgmjax.lab.trained import Trained

FORMAT = 1
WEIGHTS, FACTS, CARD = "model.safetensors", "model.json", "README.md"
PLATFORMS = ("cpu", "cuda", "tpu")


def export(trained: "Trained", folder: str | Path) -> Path:
    """Writes the folder of a trained model and returns it.

    Functions are lowered for CPU, CUDA and TPU, with a symbolic number of examples; `model.json`
    names those that could not be, with the reason.

    Raises:
      RunError: the folder cannot be written, or holds something else.
      MissingExtra: safetensors or flatbuffers is not installed.
    """
    with extras_named():
        from safetensors.numpy import save

    folder = Path(folder)
    empty = not folder.exists() or not any(folder.iterdir()) or (folder / FACTS).is_file()
    require(empty, "out", "must be a new folder, or one of an export", folder, "", RunError)
    make_folder(folder)
    variables = trained.learner.variables(trained.state)
    arrays = {name: np.asarray(leaf) for name, leaf in _flat(variables).items()}
    files = {WEIGHTS: save(arrays)}
    functions: dict[str, Any] = {}
    for name, (function, arguments, told) in _functions(trained).items():
        content, how = _lowered(function, variables, arguments)
        functions[name] = {**told, **how}
        if content is not None:
            files[f"{name}.stablehlo"] = content
    facts = _facts(trained, functions)
    files[CARD] = _card(facts).encode()
    facts["sha256"] = {name: _digest(content) for name, content in files.items()}
    files[FACTS] = (strict_json.dumps(facts, indent=2) + "\n").encode()
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _flat(tree: Any, above: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries by their path, joined by slashes."""
    if not isinstance(tree, Mapping):
        return {above: tree}
    parts = (_flat(tree[name], f"{above}/{name}" if above else name) for name in sorted(tree))
    return {name: leaf for part in parts for name, leaf in part.items()}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_flat`."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *above, last = path.split("/")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = leaf
    return tree


def _functions(trained: "Trained") -> dict[str, tuple[Callable, tuple[Any, ...], dict[str, Any]]]:
    """Name -> function of variables and arrays, the shapes of these arrays, and facts."""
    import jax
    from jax import export as exporting

    from dgmjax.contracts import is_latent_variable_model, offers
    from dgmjax.objectives import elbo, negative_log_likelihood

    experiment = trained.experiment
    module = experiment.module
    transform: Any = experiment.evaluation_transform or experiment.transform
    x = experiment.dataset.splits["train"]["x"]
    (n,) = exporting.symbolic_shape("n")
    latent = is_latent_variable_model(trained.model)
    objective = elbo if latent else negative_log_likelihood

    def log_prob(variables: Any, x: Array, seed: Array) -> Array:
        keys = jax.random.split(jax.random.key(seed))
        batch = transform({"x": x}, keys[0])
        loss, _ = module.apply(variables, batch, keys[1], method=objective)
        return -loss

    def sample(variables: Any, keys: Array) -> Array:
        draw = lambda key: module.apply(variables, key, (), method="sample")
        drawn = jax.vmap(draw)(jax.random.wrap_key_data(keys))
        return transform.inverse(drawn)

    found: dict[str, tuple[Callable, tuple[Any, ...], dict[str, Any]]] = {}
    if latent or offers(module, "log_prob"):
        shapes = (
            jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype),
            jax.ShapeDtypeStruct((), np.uint32),
        )
        told = {"unit": "nats", "is_bound": latent}
        found["elbo" if latent else "log_prob"] = (log_prob, shapes, told)
    if latent or offers(module, "sample"):
        found["sample"] = (sample, (jax.ShapeDtypeStruct((n, 2), np.uint32),), {})
    return found


def _lowered(
    function: Callable, variables: Any, arguments: tuple[Any, ...]
) -> tuple[bytes | None, dict[str, Any]]:
    """The serialised function, and its platforms; None and the reason where it has none."""
    import jax
    from jax import export as exporting

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)
    try:
        with _without_source_files():
            lowered = exporting.export(jax.jit(function), platforms=PLATFORMS)(shapes, *arguments)
    except Exception as problem:  # whatever a model does with a size that is not a number
        text = str(problem).strip().splitlines() or [""]
        return None, {"not_exported": f"{type(problem).__name__}: {text[0]}"}
    with extras_named():
        return bytes(lowered.serialize()), {"platforms": list(PLATFORMS)}


@contextmanager
def _without_source_files() -> Iterator[None]:
    """Compiled programs without the names of the source files, folders of this machine included."""
    import jax

    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _facts(trained: "Trained", functions: Mapping[str, Any]) -> dict[str, Any]:
    from dgmjax.runs.versions import package_versions

    experiment, folder = trained.experiment, trained.folder
    dataset = experiment.dataset
    data = {name: value for name, value in dataset.info.items() if name != "own"}
    return {
        "format": FORMAT,
        "experiment": folder.experiment if folder else experiment.model,
        "model": experiment.model,
        "arguments": dict(folder.arguments) if folder else {},
        "changed": folder.changed if folder else None,
        "seed": trained.seed,
        "step": trained.step,
        "dataset": {"name": dataset.name, "binarisation": experiment.binarisation, **data},
        "records": [record.to_json() for record in folder.read_records()] if folder else [],
        "functions": dict(functions),
        "versions": package_versions(),
    }


def _card(facts: Mapping[str, Any]) -> str:
    """The card, with the header that model hubs read."""
    from dgmjax.runs.record import Record
    from dgmjax.runs.record_table import as_flags

    data, changed = facts["dataset"], facts["changed"] or {}
    options = f"{as_flags(changed)} " if changed else ""
    command = f"dgmjax train {facts['experiment']} {options}--seed {facts['seed']}"
    records = [Record.from_json(entry) for entry in facts["records"]]
    rows = [
        f"| {r.metric} ({r.estimator}) | {r.split} ({r.num_examples}) | {r.formatted_value()} "
        f"{r.unit} | {f'{r.published.value:g}' if r.published else '-'} | {r.model} |"
        for r in records
    ]
    binarised = f", {data['binarisation']} binarisation" if data["binarisation"] else ""
    sizes = ", ".join(f"{name} {size}" for name, size in data["split_sizes"].items())
    return "\n".join(
        [
            *("---", "library_name: dgmjax", "license: other", f"datasets: [{data['name']}]"),
            *("tags: [jax, generative-model]", "---", ""),
            *(f"# {facts['model']}", "", f"Trained on {data['name']}{binarised} ({sizes}).", ""),
            *("```sh", command, "```", ""),
            *("| metric | split | value | published | model |", "| --- | --- | --- | --- | --- |"),
            *rows,
            *("", "```python", "from dgmjax.lab import load_export", ""),
            *('model = load_export("PATH OF THIS FOLDER")', "x = model.sample(seed=0, num=16)"),
            *("```", ""),
            "Needs jax, safetensors and flatbuffers; neither the data nor the training code. The "
            "licence of the weights is that of the data they were trained on; dgmjax itself is "
            "Apache 2.0.",
            "",
        ]
    )


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
        keys = jax.random.key_data(jax.random.split(jax.random.key(seed), num))
        return self._call("sample", np.asarray(keys))

    def _raw(self, x: Any) -> np.ndarray:
        data = self.facts["dataset"]
        x, shape = np.asarray(x), tuple(data["event_shape"])
        rule = f"must have shape [n, {', '.join(map(str, shape))}]"
        require(x.ndim >= 1 and x.shape[1:] == shape, "x", rule, x.shape)
        dtype = np.dtype(data["dtype"])
        if not np.can_cast(x.dtype, dtype, "same_kind"):
            with np.errstate(invalid="ignore"):
                same = np.array_equal(x.astype(dtype), x)
            require(same, "x", f"must hold numbers of the raw data, {dtype}", f"dtype {x.dtype}")
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
            lowered = exporting.deserialize(bytearray(_checked(self._folder, file, self.facts)))
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
    variables = _nested(load(_checked(folder, WEIGHTS, facts)))
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


def _checked(folder: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    """A file of the folder, with the checksum of `model.json`."""
    content = read_file(folder / name)
    right = _digest(content) == facts["sha256"].get(name)
    require(right, "folder", f"must hold {name} as it was exported", folder, "", RunError)
    return content


HUB = "hf:"


def push(folder: str | Path, place: str) -> str:
    """Copies an export to a folder, or to a hub repository `hf:owner/name`; returns the place."""
    folder = Path(folder)
    facts = read_facts(folder)
    contents = {name: _checked(folder, name, facts) for name in facts["sha256"]}
    if place.startswith(HUB):
        with extras_named():
            import huggingface_hub as hub

        repository = place.removeprefix(HUB)
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(
            repo_id=repository, folder_path=str(folder), allow_patterns=[*contents, FACTS]
        )
        return place
    target = make_folder(Path(place))
    # Last, so that a folder with facts is complete.
    for name, content in {**contents, FACTS: read_file(folder / FACTS)}.items():
        write_atomically(target / name, content)
    return str(target)


def pull(place: str, folder: str | Path) -> Path:
    """Copies an export from a folder, `hf:owner/name` or `gallery:name`; compares all checksums."""
    if place.startswith(HUB):
        with extras_named():
            import huggingface_hub as hub

        hub.snapshot_download(repo_id=place.removeprefix(HUB), local_dir=str(folder))
        facts = read_facts(Path(folder))
        for name in facts["sha256"]:
            _checked(Path(folder), name, facts)
        return Path(folder)
    push(folder_of(place), str(folder))
    return Path(folder)
