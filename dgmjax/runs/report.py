"""`report.html`: a run on one self-contained page, without scripts or network access."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from dgmjax.files import read_file, write_output
from dgmjax.runs import record_table, strict_json
from dgmjax.runs.diagnostics import remarks
from dgmjax.runs.folder import RunFolder
from dgmjax.runs.record import Record

_PNG = b"\x89PNG\r\n\x1a\n"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.about { color: #666; margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e3e3e3;
         vertical-align: top; }
th { color: #666; font-weight: 600; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; font-weight: 600; }
.remark { border-left: 3px solid #c60; padding-left: .8rem; }
figure { display: inline-block; margin: 0 1.2rem 1.2rem 0; vertical-align: top; }
figcaption { color: #666; font-size: .85rem; }
img { max-width: 100%; height: auto; }
"""

HIDDEN = ("changed", "execution", "earlier")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(run: RunFolder, out: Path | None = None) -> Path:
    """Writes `report.html` of a run, finished or not, or the file `out`, and returns its path.

    It holds the records beside the published numbers, the figures of `figures/`, learning curves
    drawn from the metrics, the arguments, and the system that the run used. All text is escaped.

    Raises:
      RunError: the metrics or records are damaged, or the file cannot be written.
    """
    title = f"{run.experiment}, seed {run.seed}" + (" (tiny)" if run.tiny else "")
    sections = [
        _results(run.read_records()),
        _figures(run),
        _curves(run),
        _section("Arguments", _table(("argument", "value"), _named(run.arguments))),
        _section("Ran on", _table(("", ""), _origin(run))),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="about">{escape(str(run.path))}</p>\n'
        + "".join(sections)
        + "</body>\n</html>\n"
    )
    return write_output(out, run.path / "report.html", page)


def _results(records: Sequence[Record]) -> str:
    if not records:
        return _section("Results", "<p>None yet: the run has not been evaluated.</p>")
    table = _table(record_table.COLUMNS, record_table.rows(records))
    notes = "".join(f'<p class="remark">{escape(text)}</p>' for text in remarks(records))
    return _section("Results", table + notes)


def _figures(run: RunFolder) -> str:
    folder = run.path / "figures"
    pictures = []
    for file in sorted(folder.glob("*.png")) if folder.is_dir() else []:
        content = read_file(file)
        if content.startswith(_PNG):
            pictures.append(_image(content, file.stem.replace("_", " ")))
    return _section("Figures", "\n".join(pictures)) if pictures else ""


def _curves(run: RunFolder) -> str:
    metrics = run.read_metrics()
    if not any(len(line) > 1 for line in metrics):
        return ""
    from dgmjax.plotting import curves, to_png

    last = f"Logged to step {metrics[-1]['step']}."
    return _section("Learning curves", _image(to_png(curves(metrics, title="")), last))


def _origin(run: RunFolder) -> Iterable[tuple[str, str]]:
    yield "device", run.config["device"]
    yield "git commit", str(run.config.get("git_commit") or "not in a git checkout")
    options = {name: value for name, value in run.options.items() if name not in HIDDEN}
    yield from _named({**options, **(run.options.get("execution") or {})})
    for call in run.options.get("earlier", []):
        shown = {"steps": call.get("steps"), **(call.get("execution") or {})}
        told = ", ".join(f"{name} {value}" for name, value in _named(shown))
        yield "earlier call", told or "no options"
    yield "versions", ", ".join(f"{name} {text}" for name, text in run.config["versions"].items())


def _named(values: dict) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else strict_json.dumps(value))
        for name, value in values.items()
        if value is not None
    ]


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{body}\n"


def _image(png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>\n" for row in rows)
    header = f"<tr>{head}</tr>\n" if any(columns) else ""
    return f'<div class="wide"><table>\n{header}{body}</table></div>'


def _cells(columns: Sequence[str], row: Sequence[str]) -> str:
    cells = []
    for column, cell in zip(columns, row, strict=True):
        number = "published" in columns and column in ("value", "published")
        opening = '<td class="number">' if number else "<td>"
        cells.append(f"{opening}{escape(cell)}</td>")
    return "".join(cells)
