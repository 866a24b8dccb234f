"""Exports that are copied: to folders, to the repositories of a model hub, and from there."""

from pathlib import Path

from dgmjax.files import make_folder, read_file, write_atomically
from dgmjax.lab.exported import FACTS, checked_file, folder_of, read_facts
from dgmjax.lazy import extras_named

HUB = "hf:"


def push(folder: str | Path, place: str) -> str:
    """Copies an export to a folder, or to a hub repository `hf:owner/name`; returns the place."""
    folder = Path(folder)
    facts = read_facts(folder)
    contents = {name: checked_file(folder, name, facts) for name in facts["sha256"]}
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
            checked_file(Path(folder), name, facts)
        return Path(folder)
    push(folder_of(place), str(folder))
    return Path(folder)
