"""`report.html`: a run on one self-contained page, without scripts or network access."""

import base64
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from dgmjax.files import read_file, write_output
from dgmjax.runs import record_table, strict_json
from dgmjax.runs.captions import caption, place
from dgmjax.runs.diagnostics import remarks
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Published, Record
from dgmjax.runs.verdict import is_reference, reached

_PNG = b"\x89PNG\r\n\x1a\n"
_WIDE = 1500  # pixels from which on a figure has a row of its own
_MOST_CARDS = 4

HIDDEN = ("changed", "execution", "in_code", "earlier")
OVERRIDES = ("steps", "tiny", "compute_dtype")
"""What makes a run another one than the experiment of its name, if it is not at the default."""


def write_report(run: RunFolder, out: Path | None = None) -> Path:
    """Writes `report.html` of a run, finished or not, or the file `out`, and returns its path.

    The verdict comes first: the values beside baselines and published numbers, and remarks. Then
    the figures of `figures/`, the records, learning curves drawn from the metrics, the arguments,
    and the system that the run used. All text is escaped.

    Raises:
      RunError: the metrics or records are damaged, or the file cannot be written.
      MissingExtra: jinja2 is not installed.
    """
    records = run.read_records()
    page = template("report.html.jinja").render(
        title=f"{run.experiment}, seed {run.seed}" + (" (tiny)" if run.tiny else ""),
        about=str(run.path),
        verdicts=verdicts(records),
        judged=any(reached(record) is not None for record in records),
        remarks=[*overrides(run), *remarks(records)],
        figures=figures(run),
        columns=record_table.COLUMNS,
        records=[
            list(zip(record_table.COLUMNS, row, strict=True)) for row in record_table.rows(records)
        ],
        curves=_curves(run),
        arguments=_named(run.arguments),
        origin=list(_origin(run)),
    )
    return write_output(out, run.path / "report.html", page)


@lru_cache
def template(name: str) -> Any:
    """A template of this folder, in which all text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def verdicts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The numbers that matter: those with a published counterpart first, four at most."""
    own = [record for record in records if not is_reference(record)]
    own.sort(key=lambda record: record.published is None)  # stable: the experiment's order
    return [
        {
            "metric": f"{r.metric} ({r.estimator}), {r.model}",
            "value": f"{r.formatted_value()} {r.unit}",
            "published": _of_published(r.published) if r.published else "",
            "reached": reached(r),
            "baselines": [
                f"{other.model}: {other.formatted_value()} {other.unit}"
                for other in records
                if is_reference(other) and _comparable(other, r)
            ],
        }
        for r in own[:_MOST_CARDS]
    ]


def _of_published(published: Published) -> str:
    differs = f"; differs: {published.differs}" if published.differs else ""
    return f"{published.value:g} ({published.source}{differs})"


def _comparable(one: Record, other: Record) -> bool:
    """Whether two numbers measure the same thing; a bound on a likelihood and a likelihood do."""
    likelihoods = all(re.match(r"nll_|bits_per_", record.metric) for record in (one, other))
    return one.unit == other.unit and (likelihoods or one.metric == other.metric)


def overrides(run: RunFolder) -> list[str]:
    """A sentence about options by which the run is not the experiment as it stands."""
    changed = run.changed or {}
    found = {name: changed[name] for name in OVERRIDES if name in changed}
    for call in run.options.get("earlier", []):  # steps in another precision stay in the result
        before = (call.get("execution") or {}).get("compute_dtype")
        found |= {"compute_dtype": before} if before else {}
    if not found:
        return []
    told = ", ".join(f"{name} {value}" for name, value in _named(found))
    return [
        f"This is the experiment with {told}, not as it stands. No published number stands beside "
        "a run of fewer steps than the experiment has; another one is that of the experiment."
    ]


def figures(run: RunFolder) -> list[dict[str, Any]]:
    """The pictures of a run, samples first, each with a caption and an alternative text."""
    folder = run.path / "figures"
    found = []
    for file in sorted(folder.glob("*.png"), key=lambda file: place(file.stem)):
        content = read_file(file)
        if content.startswith(_PNG):
            found.append(picture(content, file.stem.replace("_", " "), caption(file.stem)))
    return found


def picture(png: bytes, name: str, text: str) -> dict[str, Any]:
    """What the template needs of a picture."""
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    return {
        "data": base64.b64encode(png).decode(),
        "name": name,
        "caption": text,
        "alt": f"{name}: {text or 'a figure of the run'}",
        "wide": width > _WIDE and width > 1.6 * height,
    }


def _curves(run: RunFolder) -> dict[str, Any] | None:
    metrics = run.read_metrics()
    if not any(len(line) > 1 for line in metrics):
        return None
    from dgmjax.plotting import curves, to_png

    last = f"Logged to step {metrics[-1]['step']}. Training is blue, validation red."
    return {**picture(to_png(curves(metrics, title="")), "curves", last), "wide": True}


def _origin(run: RunFolder) -> Iterable[tuple[str, str]]:
    yield "device", run.config["device"]
    yield "git commit", str(run.config.get("git_commit") or "not in a git checkout")
    options = {name: value for name, value in run.options.items() if name not in HIDDEN}
    of_call = lambda call: (call.get("execution") or {}) | (call.get("in_code") or {})
    yield from _named({**options, **of_call(run.options)})
    for call in run.options.get("earlier", []):
        shown = {"steps": call.get("steps"), **of_call(call)}
        told = ", ".join(f"{name} {value}" for name, value in _named(shown))
        yield "earlier call", told or "no options"
    yield "versions", ", ".join(f"{name} {text}" for name, text in run.config["versions"].items())


def _named(values: dict) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else strict_json.dumps(value))
        for name, value in values.items()
        if value is not None
    ]
