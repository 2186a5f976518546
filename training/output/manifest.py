"""The list of a checkpoint's files with their sizes and checksums, by which a damaged one is recognized."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from curation.errors import InputError

MANIFEST = "manifest.json"


class Entry(TypedDict):
    """What a manifest states about a file: its size in bytes and its SHA-256."""

    size: int
    sha256: str


class DamagedCheckpointError(InputError):
    """A file of a checkpoint is missing or damaged; a retry cannot help (exit 4)."""

    exit_code = 4


def file_entry(path: Path) -> Entry:
    """Return the entry of a file as it is read back."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def write_manifest(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the entries of a folder's files, by their paths in it, to its manifest."""
    (folder / MANIFEST).write_text(json.dumps(dict(sorted(entries.items())), indent=1), encoding="utf-8")


def check_manifest(folder: Path, source: str | None = None) -> None:
    """Compare every file with the manifest.

    Raises DamagedCheckpointError that names the first difference, and the source of the folder if it is a download.
    """
    source = source or str(folder)
    try:
        entries = read_manifest((folder / MANIFEST).read_bytes(), source)
    except FileNotFoundError:
        raise _damaged(source, f"{MANIFEST} is missing, so it was never completed") from None
    for name, entry in entries.items():
        try:
            size = (folder / name).stat().st_size
            problem = f"has {size} bytes, not {entry['size']}" if size != entry["size"] else None
            if not problem and file_entry(folder / name) != entry:
                problem = "has changed since it was saved"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if problem:
            raise _damaged(source, f"{name} {problem}")


def read_manifest(data: bytes, folder: str) -> dict[str, Entry]:
    """Return the entries of a manifest by file name. Raises DamagedCheckpointError if it is broken."""
    try:
        entries: dict[str, Entry] = json.loads(data)
    except ValueError:
        raise _damaged(folder, f"{MANIFEST} is broken") from None
    return entries


def _damaged(folder: str, problem: str) -> DamagedCheckpointError:
    parent = folder.rpartition("/")[0]
    return DamagedCheckpointError(
        f"resume: {folder} is damaged: {problem}: set resume to an earlier checkpoint in {parent}"
    )
