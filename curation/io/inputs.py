"""List the files an ingest reads: paths, folders, globs, URLs, and lists such as Common Crawl's `wat.paths.gz`.

A list is a text file, plain or gzip, named `*.paths` or `*.paths.gz`, with one path per line: an absolute path, a URL,
or a path relative to a base. A crawl's list has tens of thousands of paths, so several threads request their sizes.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from curation.errors import InputError, UsageError
from curation.hashing import u64, uniform
from curation.io.backend import FileStat
from curation.io.paths import absolute, is_http, is_s3
from curation.io.storage import Storage

log = logging.getLogger(__name__)

LISTS = (".paths", ".paths.gz")
MAX_LIST = 1 << 30  # bytes of the file


def list_inputs(
    storage: Storage, patterns: Sequence[str], base_url: str | None = None, *, connections: int = 16
) -> list[FileStat]:
    """Return the files that patterns and lists name, each once, by absolute path and sorted.

    Image references, and so image ids, contain these paths: they must not depend on the working directory.

    A listed file whose size cannot be determined gets an empty tag, so that reading it fails and the others are read.
    Raises InputError when a pattern matches nothing or a list cannot be read, UsageError for a relative path without
    `base_url`.
    """
    files: dict[str, FileStat] = {}
    listed: set[str] = set()
    for pattern in patterns:
        for file in storage.expand(absolute(pattern)):
            if file.path.endswith(LISTS):
                listed.update(_paths_of(storage, file, base_url))
            else:
                files[file.path] = file
    with ThreadPoolExecutor(connections, thread_name_prefix="list") as pool:
        files.update((file.path, file) for file in pool.map(partial(_stat, storage), sorted(listed - files.keys())))
    return [files[path] for path in sorted(files)]


def sampled(files: Sequence[FileStat], share: float, seed: int) -> list[FileStat]:
    """Return a share of the files, chosen by a hash of their paths; a larger share contains every smaller one."""
    return [file for file in files if uniform(u64(seed, "sample", file.path)) < share]


def _paths_of(storage: Storage, file: FileStat, base_url: str | None) -> list[str]:
    with storage.open_stream(file) as stream:
        data = stream.read(MAX_LIST)
    try:
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {file.path}: {error}") from error
    return [_absolute(line.strip(), base_url, file.path) for line in text.splitlines() if line.strip()]


def _absolute(path: str, base_url: str | None, list_path: str) -> str:
    if is_s3(path) or is_http(path) or path.startswith("/"):
        return path
    if base_url is None:
        raise UsageError(f"ingest.base_url is missing: {list_path} names {path}, which is relative")
    return absolute(f"{base_url.rstrip('/')}/{path}")


def _stat(storage: Storage, path: str) -> FileStat:
    try:
        return storage.stat(path)
    except InputError as error:
        log.warning("%s", error)
        return FileStat(path, 0, "")
