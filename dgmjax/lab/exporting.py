"""Trained models to share: arrays, facts, a card, and compiled functions; see `lab.exported`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.errors import RunError, require
from dgmjax.files import make_folder, write_atomically
from dgmjax.lab.exported import CARD, FACTS, FORMAT, KEYS, WEIGHTS, digest
from dgmjax.lazy import extras_named
from dgmjax.runs import strict_json
from dgmjax.types import Array

if TYPE_CHECKING:
    from dgmjax.lab.trained import Trained

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
    facts["sha256"] = {name: digest(content) for name, content in files.items()}
    files[FACTS] = (strict_json.dumps(facts, indent=2) + "\n").encode()
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def _flat(tree: Any, above: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries by their path, joined by slashes.

    Those in names are written as JSON Pointer does (RFC 6901): ~ is ~0 and / is ~1.
    """
    if not isinstance(tree, Mapping):
        return {above: tree}
    escaped = lambda name: name.replace("~", "~0").replace("/", "~1")
    step = lambda name: f"{above}/{escaped(name)}" if above else escaped(name)
    parts = (_flat(tree[name], step(name)) for name in sorted(tree))
    return {name: leaf for part in parts for name, leaf in part.items()}


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
        keys = jax.random.split(jax.random.key(seed, impl=KEYS))
        batch = transform({"x": x}, keys[0])
        loss, _ = module.apply(variables, batch, keys[1], method=objective)
        return -loss

    def sample(variables: Any, keys: Array) -> Array:
        draw = lambda key: module.apply(variables, key, (), method="sample")
        drawn = jax.vmap(draw)(jax.random.wrap_key_data(keys, impl=KEYS))
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
