"""Decides which files an image reference may name: rows of an input are written by strangers, who may name any file.

A reference is allowed if its file is an input itself, or is below one of the roots: by default the folders of the
inputs. Ingest compares names only, so that a refused row is counted with its input and nothing is opened. The fetch
compares again, with links resolved, and opens regular files and S3 objects only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from curation.images.failures import FetchError
from curation.images.refs.read import CONTAINED
from curation.io.paths import absolute, folder_of, is_http, is_s3, normalize_path
from curation.redaction import redact

REFUSED = "ref_refused"


@dataclass(frozen=True)
class RefRoots:
    """The folders and S3 prefixes whose files image references may name, and the inputs, which may always be named.

    Attributes:
        roots: local folders or `s3://bucket/prefix`.
        inputs: the location of each input, by the name that references to its members and rows use.
    """

    roots: Sequence[str]
    inputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_inputs(cls, configured: Sequence[str] | None, paths: Iterable[str]) -> RefRoots:
        """Return the configured roots, or the folders of the input files at `paths`."""
        inputs = {name_of(path): path for path in paths}
        folders = sorted({folder for path in inputs.values() if (folder := folder_of(path)) is not None})
        return cls(folders if configured is None else tuple(configured), inputs)

    def allows(self, reference: str) -> bool:
        """Return whether the name of a reference's file is allowed; nothing is opened, and links are not resolved."""
        contained = CONTAINED.fullmatch(reference)
        path = contained["path"] if contained else reference
        if path in self.inputs:
            return True
        if ".." in path.split("/") or ("://" in path and not is_s3(path)):
            return False
        if is_s3(path):
            return _is_below(path, self._s3_roots)
        return _is_below(absolute(path), self._named_roots)

    def guard(self, open_binary: Callable[[str], BinaryIO]) -> Callable[[str], BinaryIO]:
        """Return a function that opens the files of references as `open_binary` does, if they are allowed.

        It raises FetchError (ref_refused) for another file, and for one that is not a regular file.
        """

        def open_allowed(path: str) -> BinaryIO:
            if path in self.inputs:
                return open_binary(self.inputs[path])
            if not self.allows(path):
                raise FetchError(REFUSED)
            if not is_s3(path):
                path = os.path.realpath(path)
                if not _is_below(path, self._real_roots) or not stat.S_ISREG(Path(path).stat().st_mode):
                    raise FetchError(REFUSED)
            return open_binary(path)

        return open_allowed

    @cached_property
    def _s3_roots(self) -> list[str]:
        return [normalize_path(root) for root in self.roots if is_s3(root)]

    @cached_property
    def _real_roots(self) -> list[str]:
        return [os.path.realpath(root) for root in self.roots if not is_s3(root)]

    @cached_property
    def _named_roots(self) -> list[str]:
        return [absolute(root) for root in self.roots if not is_s3(root)] + self._real_roots


def name_of(path: str) -> str:
    """Return the name of an input in references and messages: a URL without its signature, any other path itself."""
    return redact(path) if is_http(path) else path


def _is_below(path: str, roots: Sequence[str]) -> bool:
    return any(path.startswith(root.rstrip("/") + "/") for root in roots)
