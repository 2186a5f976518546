"""Locations: local paths, `s3://bucket/key` URIs and http(s) URLs, and globs over them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from typing import Literal

from curation.errors import UsageError

GLOB = frozenset("*?[")
DESCRIPTIONS = frozenset({"readme", "license", "licence", "notice", "changelog"})

Scheme = Literal["file", "s3", "http"]


def scheme_of(path: str) -> Scheme:
    """Return the kind of a location; https counts as http."""
    if is_s3(path):
        return "s3"
    return "http" if is_http(path) else "file"


def is_s3(path: str) -> bool:
    """Return whether a location is on S3."""
    return path.startswith("s3://")


def is_http(path: str) -> bool:
    """Return whether a location is a file on an http(s) server."""
    return path.startswith(("http://", "https://"))


def split_s3(path: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key. Raises UsageError without a bucket."""
    bucket, _, key = path.removeprefix("s3://").partition("/")
    if not bucket:
        raise UsageError(f"{path} names no bucket: write s3://bucket/prefix")
    return bucket, key


def key_of(path: str) -> str:
    """Return the path in the form of pyarrow's file systems: without `s3://`."""
    return path.removeprefix("s3://")


def normalize_path(location: str) -> str:
    """Return a location in the form of listings: without `./`, doubled slashes or a trailing slash."""
    if is_http(location):
        return location
    if is_s3(location):
        return "s3://" + "/".join(part for part in location.removeprefix("s3://").split("/") if part)
    return os.path.normpath(location)


def absolute(location: str) -> str:
    """Return a location that means the same in any working directory."""
    return location if is_s3(location) or is_http(location) else os.path.abspath(location)  # noqa: PTH100 - keeps links


def folder_of(path: str) -> str | None:
    """Return the folder or prefix of a file; None for a URL, whose server has no folders."""
    if is_http(path):
        return None
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


def join(base: str, *parts: str) -> str:
    """Join path parts with single slashes, local and S3 alike."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def is_glob(path: str) -> bool:
    """Return whether a path contains a wildcard."""
    return not GLOB.isdisjoint(path)


def split_glob(pattern: str, is_folder: Callable[[str], bool]) -> tuple[str, str]:
    """Split a glob into the folder that contains all matches and the glob below it, which is empty without wildcards.

    A folder that exists under its own name has no wildcards: `data[1]/*.gz` names the files in `data[1]`.
    """
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if is_glob(part) and not is_folder("/".join(parts[: index + 1])):
            folder = "/".join(parts[:index])
            return folder or ("/" if index else "."), "/".join(parts[index:])
    return pattern, ""


def is_hidden(path: str, glob: str = "") -> bool:
    """Return whether a path below a folder is hidden, as Spark hides it: a part of it starts with `_` or `.`.

    Such are `_SUCCESS`, `_metadata` and `.part-0.crc`. A partition (`_day=1`) is not hidden, nor is what a glob such as
    `_*` names.
    """
    named = {part[:1] for part in glob.split("/")}
    return any(part.startswith(("_", ".")) and part[:1] not in named and "=" not in part for part in path.split("/"))


def is_about_data(path: str, glob: str = "") -> bool:
    """Return whether a file describes the data beside it, by its name: `README`, `LICENSE.txt`, `card.md`.

    What a glob such as `*.md` or `README*` names is data.
    """
    name, pattern = (text.rpartition("/")[2].lower() for text in (path, glob))
    stem = name.partition(".")[0]
    describes = name.endswith(".md") or (stem in DESCRIPTIONS and name.removeprefix(stem) in ("", ".txt", ".rst"))
    return describes and not pattern.endswith(".md") and not pattern.startswith(stem)


def matches_glob(path: str, pattern: str) -> bool:
    """Return whether a path matches a glob. As in a shell, `*` stays within a path segment; `**` crosses them."""
    if "**" not in pattern and path.count("/") != pattern.count("/"):
        return False
    return fnmatch.fnmatchcase(path, pattern.replace("**/", "*").replace("**", "*"))
