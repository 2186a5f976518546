"""Reads the images and hosts that a takedown names, and refuses those that no image can have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from curation.errors import UsageError
from curation.io.storage import Storage
from curation.urls import UrlError, image_id, normalize_host, normalize_url

HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
IMAGE_ID = re.compile(r"[0-9a-f]{24}")


@dataclass
class TakedownNames:
    """Image ids, normalized URLs by their image id, and normalized hosts."""

    image_ids: set[str] = field(default_factory=set)
    urls: dict[str, str] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)

    def add(self, kind: str, text: str, source: str) -> None:
        """Add one name of a kind (image_id, url or host). Raises UsageError that names the source if it is invalid."""
        if kind == "image_id":
            if not IMAGE_ID.fullmatch(text):
                raise UsageError(f"{source}: {text!r}: an image id has 24 digits of 0-9 and a-f")
            self.image_ids.add(text)
            return
        try:
            if kind == "url":
                url = normalize_url(text, None)
                self.urls[image_id(url)] = url
            else:
                self.hosts.add(_exact_host(text))
        except UrlError as error:
            expected = "an absolute http(s) URL" if kind == "url" else "a host alone, without scheme, port or path"
            raise UsageError(f"{source}: {text!r} ({error.reason}): give {expected}") from None

    @property
    def all_image_ids(self) -> frozenset[str]:
        """The ids of all images, those of URLs too."""
        return frozenset(self.image_ids | self.urls.keys())


def read_names(
    storage: Storage,
    *,
    image_ids: Iterable[str] = (),
    urls: Iterable[str] = (),
    hosts: Iterable[str] = (),
    files: Iterable[str] = (),
) -> TakedownNames:
    """Return the names given as flags and in files, one per line: an image id, a URL or a host.

    Lines that are empty or start with `#` are skipped. Raises UsageError for the first name that is invalid, before
    anything is changed.
    """
    names = TakedownNames()
    for kind, texts in (("image_id", image_ids), ("url", urls), ("host", hosts)):
        for text in texts:
            names.add(kind, text.strip(), f"--{kind}")
    for path in files:
        for number, line in enumerate(_lines(storage, path), 1):
            text = line.strip()
            if text and not text.startswith("#"):
                names.add(kind_of(text), text, f"{path}: line {number}")
    if not (names.all_image_ids or names.hosts):
        raise UsageError("--image_id, --url, --host, --file: give at least one image or host")
    return names


def _exact_host(text: str) -> str:
    """Return the normal form of a host. Raises UrlError for anything else, a pattern such as `*.example.com` too."""
    name = normalize_host(text)
    if not HOST.fullmatch(name):
        raise UrlError("unresolvable")
    return name


def kind_of(text: str) -> str:
    """Return which kind of name a line of a file is."""
    if IMAGE_ID.fullmatch(text):
        return "image_id"
    return "url" if "://" in text else "host"


def _lines(storage: Storage, path: str) -> list[str]:
    try:
        return storage.read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--file: {path} is not UTF-8: convert it") from None
