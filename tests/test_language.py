"""The language of docstrings: every work that is cited can be opened, and in one form."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for room in ("dgmjax", "experiments") for path in (ROOT / room).rglob("*.py"))

WITHOUT_A_LINK = ("Numerical Recipes", "Pattern Recognition and Machine Learning")
"""Books, which have no page of their own that will last."""


def docstrings(path: Path) -> list[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    return [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]


def sources(docstring: str) -> list[str]:
    """References of the paragraphs that begin with `Source`, one an element."""
    paragraphs = [
        " ".join(text.split())
        for text in re.split(r"\n\s*\n|\n(?=Sources?(?: of the \w+)?: )", docstring)
    ]
    found = [text for text in paragraphs if re.match(r"Sources?\b", text)]
    return [part for text in found for part in re.split(r"; (?![^(]*\))", text)]


def faults(docstring: str) -> list[str]:
    """What is wrong with the references of a docstring."""
    without = [
        part
        for part in sources(docstring)
        if not re.search("https?://", part) and not any(title in part for title in WITHOUT_A_LINK)
    ]
    spelled = r"\b(?:eqs?\.|Eqs\.|[Ee]quations?|Section|Appendix) [A-Z]?\d|Eq\. \d+-\d"
    return without + re.findall(spelled, " ".join(docstring.split()))


@pytest.mark.parametrize("room", ["dgmjax", "experiments"])
def test_every_source_has_a_link(room):
    paths = [path for path in FILES if room in path.relative_to(ROOT).parts[:1]]
    assert sum(len(sources(text)) for path in paths for text in docstrings(path)) > 20
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in paths
        if (wrong := [fault for text in docstrings(path) for fault in faults(text)])
    }
    assert not found


@pytest.mark.parametrize(
    "docstring, wrong",
    [
        ("Source: A & B, 2014, https://arxiv.org/abs/1410.8516.", 0),
        ("Source: A & B, 2014.", 1),
        ("Sources: A, 2014, https://arxiv.org/abs/1410.8516; B, 2015.", 1),
        ('Source: C, "Numerical Recipes", 2007.', 0),
        ("As in equation 3.", 1),
    ],
)
def test_the_test_sees_a_source_without_a_link(docstring, wrong):
    assert len(faults(docstring)) == wrong
