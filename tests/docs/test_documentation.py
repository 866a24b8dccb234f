"""The documentation: every public name is on a page, tutorials run, and no link is broken."""

import inspect
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "papers.md")
TUTORIALS = sorted((DOCS / "tutorials").glob("[!i]*.md"))
HOWTO = [page for page in (DOCS / "howto").glob("*.md") if "```python" in page.read_text()]
ELSEWHERE = ("sharing", "runs", "own_experiment")
"""Pages whose code other tests run: those of sharing and sessions in `tests/lab`, the README."""


@pytest.fixture(scope="module", autouse=True)
def parts():
    """The folder of the generated pages, importable."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


def test_every_public_name_is_on_a_page_with_a_text_of_its_own():
    from dgmjax_pages import names, reference

    pages = "\n".join(reference.pages().values())
    every, bare = names.every_name(), []
    assert len(every) > 500
    for name in every:
        value = names.value_of(name)
        shown = value.__name__ if inspect.ismodule(value) else name.public
        assert re.search(rf":: {re.escape(shown)}$", pages, re.M), name.public
        text = getattr(value, "__doc__", None) if shared(value) else None
        bare += [] if text or reference.text_beside(name) else [name.public]
    assert not bare, bare


def test_docstrings_are_sound_markup():
    """As the build reads them, without the build and without the sections of arguments."""
    core = pytest.importorskip("docutils.core")
    from dgmjax_pages import names
    from dgmjax_pages.docstrings import plain_docstring

    wrong = []
    for name in names.every_name():
        value = names.value_of(name)
        parts = [value] if shared(value) else []
        if inspect.isclass(value) and value.__module__.startswith("dgmjax."):
            parts += [part for part in vars(value).values() if inspect.isfunction(part)]
        for part in parts:
            section = r"^(?:Args|Attributes|Returns|Raises|Warns|Yields):.*\n(?:(?: +.*)?(?:\n|$))*"
            text = re.sub(section, "\n", inspect.getdoc(part) or "", flags=re.M)
            text = plain_docstring(text, 4)
            told = io.StringIO()
            settings = {"warning_stream": told, "report_level": 2, "halt_level": 5}
            core.publish_doctree(text.replace(":py:obj:", ""), settings_overrides=settings)
            wrong += [f"{name.public}: {told.getvalue()}"] if told.getvalue() else []
    assert not wrong, "\n".join(wrong)


def shared(value):
    """Whether the text of a value is its own, and not that of its type."""
    return inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)


def test_every_paper_that_is_cited_is_in_the_index():
    from dgmjax_pages import papers

    found = papers.citations()
    assert len(found) > 100
    words, places = found["https://arxiv.org/abs/1705.07057"]
    assert "Masked Autoregressive Flow" in words and "2017" in words
    assert "dgmjax.models.flows.recipes.MAF" in places


def test_every_picture_has_a_command_and_a_record():
    from dgmjax_pages import gallery

    pictures = gallery.pictures()
    assert len(pictures) >= 12
    for picture in pictures:
        assert (gallery.FOLDER / picture.file).is_file(), picture.file
        assert (ROOT / "benchmarks" / "records" / picture.record).is_file(), picture.record
        assert picture.command.strip().startswith(("dgmjax train ", "python -m benchmarks."))
    unused = {path.name for path in gallery.FOLDER.glob("*.png")} - {p.file for p in pictures}
    assert not unused


def test_the_readme_is_short_and_its_pictures_have_the_commands_of_the_gallery():
    from dgmjax_pages import gallery

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120 and text.count("```python") == 3
    commands = {picture.file: picture.command for picture in gallery.pictures()}
    rows = [line for line in text.splitlines() if line.startswith("| ![") or "| `dgmjax" in line]
    shown = {}
    for pictures, told in zip(rows[::2], rows[1::2], strict=True):
        files = re.findall(r"\(docs/gallery/([^)]*)\)", pictures)
        shown |= dict(zip(files, re.findall("`([^`]*)`", told), strict=True))
    assert len(shown) == 6 and shown == {name: commands[name] for name in shown}


def test_every_page_of_a_folder_is_in_its_table_of_contents():
    for folder in (DOCS, DOCS / "tutorials", DOCS / "howto"):
        listed = re.search(r"```\{toctree\}\n(.*?)```", (folder / "index.md").read_text(), re.S)[1]
        pages = {page.stem for page in folder.glob("*.md")} - {"index", "papers"}
        assert pages <= set(listed.split()), pages - set(listed.split())


def test_links_between_pages_lead_somewhere():
    """Of the pages that are written by hand; the slow test follows those of the built pages."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" in target or "/api/" in target or target.startswith("api/"):
                continue
            made = target.endswith(("papers.md", "gallery/index.md"))
            assert made or (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_of_the_pages_exist():
    from dgmjax.cli.commands import COMMANDS

    for page in [*PAGES, ROOT / "README.md"]:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for command in re.findall(r"\bdgmjax (\w+)", block):
                assert command in COMMANDS, f"{page.name}: dgmjax {command}"


def code_of(page):
    """The blocks of Python of a page."""
    text = page.read_text(encoding="utf-8")
    kind = r"\{code-cell\} ipython3" if "code-cell" in text else "python"
    return re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)


def marked(page):
    """A page as a parameter; slow where other tests or the build of the site run its code."""
    marks = [pytest.mark.slow] if page.stem in ELSEWHERE or page in TUTORIALS else []
    return pytest.param(page, id=page.stem, marks=marks)


@pytest.mark.parametrize("page", [*map(marked, [*TUTORIALS, *HOWTO])])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """In miniature: few steps of training; the build runs the tutorials as they stand."""
    monkeypatch.chdir(tmp_path)
    blocks, names = code_of(page), {}
    assert blocks
    for block in blocks:
        short = re.sub(
            r"steps=\d+(?=[,)])", "steps=2", re.sub(r"n_train=[\d_]+", "n_train=500", block)
        )
        exec(compile(short, str(page), "exec"), names)


class _Links(HTMLParser):
    """Targets and anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors, self.without_words = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.targets += [found[name] for name in ("href", "src") if found.get(name)]
        if tag == "img" and not found.get("alt"):
            self.without_words.append(found.get("src"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_without_a_broken_link(tmp_path):
    """Tutorials are executed; nothing is loaded from elsewhere."""
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path: _Links(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html")}
    assert len(pages) > 40
    broken, elsewhere, count = [], [], 0
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            missing = not place.exists()
            anchor = unquote(parts.fragment)
            if not missing and anchor and place in pages:
                missing = anchor not in pages[place].anchors
            broken += [f"{path.relative_to(tmp_path)}: {target}"] if missing else []
        text = path.read_text(encoding="utf-8")
        elsewhere += re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?://[^"]*"', text)
    print(f"{len(pages)} pages, {count} links between them, {len(broken)} broken")
    assert not broken, broken[:20]
    assert not elsewhere, elsewhere[:5]
