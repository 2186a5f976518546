"""Locations of tables in the form that the package `deltalake` can open.

`deltalake` resolves links in local paths and then misreads names with `%41`, `[`, `#`, `?` or a backslash: it looks in
another folder, or ends the process. Such a table is opened through a folder of this process, below that of temporary
files, that holds a link to each entry of the table. `deltalake` only reads and writes `_delta_log` there, and lists and
deletes data files; new data files are written to the table itself.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

from curation.errors import UsageError
from curation.io.paths import is_s3, split_s3

LOG = "_delta_log"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://?")
MISREAD_ON_S3 = re.compile(r"%[0-9A-Fa-f]{2}|[#?\\\x00-\x1f\x7f]")
SAFE = frozenset(" !\"$&'()*+,-./:;=@_`{}~")  # in addition to letters, digits and marks


def check_root(root: str) -> None:
    """Raise UsageError for a location at which there cannot be a lake."""
    scheme = SCHEME.match(root)
    if scheme and scheme[1] != "s3":
        raise UsageError(f"lake: {root!r} is neither a folder nor s3://bucket/prefix: use one of these")
    if is_s3(root) and (misread := MISREAD_ON_S3.search(split_s3(root)[1])):
        raise UsageError(f"lake: {root!r} contains {misread[0]!r}, which tables on S3 cannot have: use another prefix")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in root):
        raise UsageError(f"lake: {root!r} is not UTF-8: use another folder")


def delta_location(table: str, *, create: bool = False) -> str:
    """Return the location at which `deltalake` opens a table; with `create`, the table may be created there."""
    if is_s3(table):
        bucket, key = split_s3(table)
        return f"s3://{bucket}/{quote(key)}"
    real = os.path.realpath(table)
    if _is_safe(real):
        return table
    if create:
        Path(real, LOG).mkdir(parents=True, exist_ok=True)
    links = _links_folder(os.getpid()) / hashlib.sha256(real.encode()).hexdigest()
    links.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (links / LOG).symlink_to(Path(real, LOG))
    return str(links)


def link_entries(table: str) -> None:
    """Link the entries that a table has now, if `deltalake` opens it through links."""
    links = Path(delta_location(table))
    if is_s3(table) or str(links) == table:
        return
    for entry in os.scandir(table):
        with suppress(FileExistsError):
            (links / entry.name).symlink_to(Path(os.path.realpath(table), entry.name))


def _is_safe(path: str) -> bool:
    return all(char in SAFE or unicodedata.category(char)[0] in "LMN" for char in path)


@cache
def _links_folder(_pid: int) -> Path:
    """Return the folder of links of this process, which is removed when it ends."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - a fresh folder is made in it
        if _is_safe(os.path.realpath(parent)) and os.access(parent, os.W_OK):
            folder = tempfile.mkdtemp(prefix="worldcurate-", dir=parent)
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return Path(folder)
    raise UsageError("TMPDIR: no folder for temporary files has a plain name: set it to one without % [ ] # ? and \\")
