"""Loading a run, a checkpoint or a file never runs code: what the source may not contain.

The source is read, not run. A rule that a fixture breaks on purpose is tested to find it.
"""

import ast
import io
import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import dgmjax
from dgmjax.data.reading.archives import open_zip, tar_member
from dgmjax.data.sources.own_files import load_path
from dgmjax.devices.environment import compile_cache
from dgmjax.errors import DataError, DgmjaxError
from dgmjax.runs.folder import RunFolder

ROOT = Path(dgmjax.__file__).parents[1]
FOLDERS = ("dgmjax", "experiments", "launch")
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))

MODULES = {
    "pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code",
    "imp", "runpy", "torch", "yaml", "xml", "xmlrpc", "telnetlib", "ftplib",
    "urllib", "urllib3", "requests", "httpx", "aiohttp", "http", "smtplib",
}  # fmt: skip
"""That run what they read, or fetch it."""

CALLS = {
    "eval", "exec", "compile", "execfile", "__import__", "os.system", "os.popen", "os.execv",
    "os.execvp", "os.spawnv", "np.fromregex", "numpy.fromregex", "deserialize",
    "pd.read_pickle", "codecs.escape_decode", "sys.settrace", "types.FunctionType",
    "types.CodeType", "importlib.reload", "extractall", "extract", "urlretrieve", "urlopen",
    "unpack_archive", "download_and_prepare", "loadpickle", "load_pickle", "read_pickle",
}  # fmt: skip
"""By their name, or by the last part of it; `re.compile` is none of them."""

IMPORTERS = {
    "dgmjax/lab/catalogue.py": 2,  # a name of the catalogue; a file that the user names
    "dgmjax/data/sources/registry.py": 1,  # a row of the table of sources
}
"""The only files that import by a computed name, and in how many places they do."""


ALLOWED = {
    # Downloads named by the user, which count only with the checksum in the table.
    "dgmjax/data/sources/downloads.py": {
        *("imports urllib.error", "imports urllib.request", "calls urllib.request.urlopen"),
    },
    # `yaml.safe_load`, which makes plain values only.
    "dgmjax/cli/configuration.py": {"imports yaml"},
    # Compiled programs of a folder that the user names, with the checksum that it states.
    "dgmjax/lab/exported.py": {"calls exporting.deserialize"},
}
"""What the rules forbid and a file may do."""


def dotted(node):
    """`a.b.c` of an expression of names, or its last part."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "?")
    return ".".join(reversed(parts))


def keyword(call, name):
    found = [k.value for k in call.keywords if k.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def offences(text):
    """What is forbidden in a source, as `(line, what)`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in MODULES:
                yield node.lineno, f"imports {name}"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _offences_of_call(node))


def _offences_of_call(call):
    name = dotted(call.func)
    last = name.rpartition(".")[2]
    if name in CALLS or ("." in name and last in CALLS - {"compile", "eval"}):
        yield f"calls {name}"
    if name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
        yield f"calls {name} without allow_pickle=False"
    if keyword(call, "allow_pickle") is True:
        yield f"calls {name} with allow_pickle=True"
    if keyword(call, "shell") is True:
        yield f"calls {name} with shell=True"
    if last == "literal_eval":
        yield "calls literal_eval"


def computed_imports(text):
    """Calls that import a module whose name is not written there."""
    wanted = {"import_module", "exec_module", "spec_from_file_location", "load_module"}
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    names = [dotted(call.func).rpartition(".")[2] for call in calls]
    return sum(name in wanted - {"spec_from_file_location"} for name in names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source(path):
    text = path.read_text(encoding="utf-8")
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    assert {what for _, what in offences(text)} == allowed
    assert computed_imports(text) <= IMPORTERS.get(str(path.relative_to(ROOT)), 0)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "import urllib.request as u", "eval('1')",
        "exec(x)", "compile(x, '', 'exec')", "import numpy as np\nnp.load(p)",
        "np.load(p, allow_pickle=True)", "np.savez(p, allow_pickle=True)", "import yaml",
        "subprocess.run('ls', shell=True)", "archive.extractall('.')", "os.system('ls')",
        "__import__(name)", "builder.download_and_prepare()", "shutil.unpack_archive(p)",
    ],
)  # fmt: skip
def test_the_rules_find_what_they_forbid(text):
    assert list(offences(text))
    assert not list(offences("import re\nre.compile('a')\nnp.load(p, allow_pickle=False)"))


def test_imports_by_a_computed_name_are_found():
    assert computed_imports("importlib.import_module(f'dgmjax.experiments.{name}')") == 1
    assert computed_imports("s.loader.exec_module(m)") == 1


def test_a_stored_experiment_name_imports_nothing(tmp_path, monkeypatch):
    """Neither a module nor a file that a run folder names is imported."""
    from dgmjax.lab import catalogue

    (tmp_path / "planted.py").write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in (
        "planted",
        "planted.py",
        "os",
        "common",
        "..planted",
        str(tmp_path / "planted.py"),
    ):
        with pytest.raises(DgmjaxError):
            catalogue.experiment_of(name)


def test_features_that_name_a_class_to_import(tmp_path, monkeypatch):
    """TFDS imports the class of each feature by its stored name: only its own are let through."""
    from dgmjax.data.sources.tfds import load_tfds

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted.py").write_text("raise SystemExit('code was run')")
    home = tmp_path / "mine" / "1.0.0"
    home.mkdir(parents=True)
    info = {"name": "mine", "fileFormat": "array_record", "splits": [{"name": "train"}]}
    (home / "dataset_info.json").write_text(json.dumps(info))
    for features in ({"type": "planted.Feature"}, {"a": [{"pythonClassName": "planted.X"}]}, "["):
        text = features if isinstance(features, str) else json.dumps(features)
        (home / "features.json").write_text(text)
        with pytest.raises(DataError, match=r"features\.json"):
            load_tfds("mine", tmp_path)


def test_runs_have_the_users_umask_and_the_cache_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "cache"))
    old = os.umask(0o027)
    try:
        run = RunFolder.create(tmp_path / "runs", "vae", {}, 0)
        folders = [run.path, run.path.parent, run.checkpoints("latest").parent, run.figures]
        cache = compile_cache()
        run.write_metrics(1, loss=1.0)
        run.close()
    finally:
        os.umask(old)
    for folder in [*folders, run.path / "events"]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750, folder
    for path in (run.path / "config.json", run.path / "metrics.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def tar_with(path, info, content=b""):
    with tarfile.open(path, "w:xz") as archive:
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


def test_members_of_a_tar_that_are_not_plain_files(tmp_path):
    path = tmp_path / "a.tar.xz"
    link = tarfile.TarInfo("table")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("table")
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    device = tarfile.TarInfo("table")
    device.type = tarfile.CHRTYPE
    for info in (link, hard, device):
        tar_with(path, info)
        with pytest.raises((DataError, tarfile.TarError)):
            tar_member(path, "table")
    tar_with(path, tarfile.TarInfo("../table"), b"1")
    with pytest.raises((DataError, tarfile.TarError)):
        tar_member(path, "../table")
    tar_with(path, tarfile.TarInfo("table"), b"1,2")
    assert tar_member(path, "table") == b"1,2"


def test_names_in_an_archive_lead_nowhere(tmp_path):
    """Arrays are read into memory; a name such as `../x` writes nothing."""
    path = tmp_path / "inner" / "a.npz"
    path.parent.mkdir()
    np.savez(path, **{"../x": np.zeros((20, 2)), "x": np.ones((20, 2))})
    before = sorted(tmp_path.rglob("*"))
    load_path("a.npz", path.parent)
    assert sorted(tmp_path.rglob("*")) == before
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", b"1")
    with pytest.raises(zipfile.BadZipFile, match="neither stored nor deflated"), open_zip(path):
        pass
