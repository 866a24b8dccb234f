"""Sphinx extension: generated pages, docstrings as they are written here, and equations as MathML.

Equations need neither scripts nor other fonts.
"""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import inspect as sphinx_inspect

from . import gallery, papers, reference
from .docstrings import plain_docstring
from .names import ROOT

_ARRAYS = "Array | ndarray | bool | number | bool | int | float | complex"
_AT_AN_ADDRESS = re.compile(r"<(?:function|class|object) ?'?([\w.<>]*)[^<>]*?(?: at 0x\w+)?>")


def write_pages(app: Any) -> None:
    """Writes the pages that are made from the code and the records."""
    api = ROOT / "docs" / "api"
    texts = {api / file: text for file, text in reference.pages().items()}
    texts[ROOT / "docs" / "papers.md"] = papers.page()
    texts[gallery.FOLDER / "index.md"] = gallery.page()
    api.mkdir(exist_ok=True)
    for file in api.glob("*.rst"):
        if file not in texts:
            file.unlink()
    for file, text in texts.items():
        # Only what changed: a page with a new time is read again.
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def on_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Makes reStructuredText of a docstring, in place."""
    indent = {"module": 0, "data": 0, "class": 4, "function": 4}.get(what, 8)
    lines[:] = plain_docstring("\n".join(lines), indent).split("\n")


def on_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str | None, str | None]:
    """A signature without the arguments that every Flax module has, and without addresses."""
    if signature is None:
        return None
    if what == "class" and signature.startswith("(*args"):  # of a metaclass
        own = sphinx_inspect.signature(obj.__init__, bound_method=True)
        signature = sphinx_inspect.stringify_signature(
            own, unqualified_typehints=True, show_return_annotation=False
        )
    signature = re.sub(r", parent: .*?(?=\))", "", signature).replace(_ARRAYS, "ArrayLike")
    return re.sub(_AT_AN_ADDRESS, r"\1", signature), returned


def visit_math(self: Any, node: nodes.math) -> None:
    """An equation within a line."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.math_block) -> None:
    """An equation of its own."""
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Registers the parts."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", on_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", on_signature)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
