"""Compares the files of published partitions with those in storage, by name and size, without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from curation.io.storage import Storage
from curation.lake.files import DataFile


def file_problems(storage: Storage, files: Iterable[DataFile]) -> dict[str, str]:
    """Return a problem by path for the files that are missing or have another size than published.

    The folder that contains all of the files is listed once.
    """
    published = {file.path: file.size for file in files}
    if not published:
        return {}
    stored = {file.path: file.size for file in storage.list_files(common_folder(published))}
    return {
        path: "missing" if path not in stored else f"it has {stored[path]} of {size} bytes"
        for path, size in published.items()
        if stored.get(path) != size
    }


def common_folder(paths: Iterable[str]) -> str:
    """Return the deepest folder that contains all of some paths."""
    first, *others = (path.split("/")[:-1] for path in paths)
    for folder in others:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(first, folder, strict=False))
        first = [name for name, _ in same]
    return "/".join(first)
