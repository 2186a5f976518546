"""The folder of an export: the plan that is written first, a receipt per finished file, the manifest written last.

    FOLDER/_export/plan.json           what is exported; a run that continues the export must ask for the same
    FOLDER/_export/parts/<file>.json   receipt of a finished file
    FOLDER/README.md                   the card
    FOLDER/manifest.json               the plan and all receipts; `_export` is then removed

Files become visible when they are complete, so a run that was killed leaves nothing that a later run could mistake.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import file_digest
from typing import Any, Final

import msgspec

from curation.errors import InputError, UsageError
from curation.export.part import Part
from curation.io.paths import join
from curation.io.storage import Storage

MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"


class ExportFolder:
    """The folder or prefix of an export.

    Args:
        storage: access to its files.
        root: a local folder or `s3://bucket/prefix`.
    """

    def __init__(self, storage: Storage, root: str) -> None:
        self.storage, self.root = storage, root
        self._plan = join(root, "_export", "plan.json")
        self._parts = join(root, "_export", "parts")
        self.manifest_path = join(root, MANIFEST)

    # The plan

    def recorded(self) -> dict[str, Any] | None:
        """Return the plan of the export in this folder; None if there is none.

        Raises InputError if its file is damaged.
        """
        for path in (self.manifest_path, self._plan):
            if self.storage.exists(path):
                try:
                    return dict(json.loads(self.storage.read_bytes(path))["plan"])
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path}: damaged: delete the folder and export again") from error
        return None

    def begin(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Record a plan, unless the folder holds an export with the same request; return the recorded plan.

        Only `plan["request"]` is compared; the rest is taken from the first run. Raises UsageError if the folder holds
        something else.
        """
        recorded = self.recorded()
        if recorded is None:
            if next(self.storage.list_files(self.root), None):
                raise UsageError(f"--output: {self.root}: not empty, and not an export: give another folder")
            self.storage.put_if_absent(self._plan, _encode({"plan": plan}))
            recorded = self.recorded() or {}
        self._check(recorded.get("request", {}), plan["request"])
        return recorded

    def _check(self, recorded: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        differing = sorted(key for key in {*recorded, *request} if recorded.get(key) != request.get(key))
        if differing == ["tombstones"]:
            raise UsageError(
                f"--output: {self.root}: its export was begun before the last takedown: delete the folder, and "
                f"export again"
            )
        if differing:
            changes = ", ".join(f"{key} {recorded.get(key)!r} -> {request.get(key)!r}" for key in differing)
            raise UsageError(f"--output: {self.root}: holds another export ({changes}): give another folder")

    # Finished files

    def receipt(self, name: str) -> str:
        """Return the path of the receipt of a file."""
        return join(self._parts, f"{name.replace('/', '+')}.json")

    def finished(self) -> dict[str, Part]:
        """Return the finished files, by name: those with a receipt, or in the manifest, whose bytes are those recorded.

        All of them are read.
        """
        stored = {file.path: file.size for file in self.storage.list_files(self.root)}
        parts = self._manifest_parts() if self.manifest_path in stored else []
        for path in stored:
            if path.startswith(f"{self._parts}/"):
                parts.append(msgspec.json.decode(self.storage.read_bytes(path), type=Part))
        return {part.name: part for part in parts if self._is_intact(part, stored)}

    def _is_intact(self, part: Part, sizes: Mapping[str, int]) -> bool:
        """Return whether a file has the recorded bytes; `sizes` are those of all files, by path."""
        path = join(self.root, part.name)
        if sizes.get(path) != part.size:
            return False
        with self.storage.open_input(path) as file:
            return file_digest(file, "sha256").hexdigest() == part.sha256

    def is_complete(self) -> bool:
        """Return whether the manifest is written and no working file is left."""
        return self.storage.exists(self.manifest_path) and not self.storage.exists(self._plan)

    def _manifest_parts(self) -> list[Part]:
        manifest = json.loads(self.storage.read_bytes(self.manifest_path))
        return [msgspec.convert(part, Part) for part in manifest["files"]]

    def finish(
        self, plan: Mapping[str, Any], parts: Sequence[Part], more: Mapping[str, bytes], *, started: datetime
    ) -> None:
        """Write the other files of the export, then the manifest, and remove working files.

        `started` is when this run began: files that killed runs before it left unfinished are removed.
        """
        for name, content in more.items():
            self.storage.write_bytes(join(self.root, name), content)
        self.storage.write_bytes(self.manifest_path, _encode(manifest_of(plan, parts)))
        unfinished = self.storage.older_files(self.root, started)
        names = {part.name.rpartition("/")[2] for part in parts}
        self.storage.delete_files([path for path in unfinished if _finished_name(path) in names])
        self.storage.delete_folder(join(self.root, "_export"))


def _finished_name(path: str) -> str:
    """Return the name that a file would have got when it was complete (see `curation.io.local_files`)."""
    name = path.rpartition("/")[2]
    return name[1:].rpartition(".")[0] if name.startswith(".") else ""


def manifest_of(plan: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, Any]:
    """Return the manifest of an export: the plan, sums over all files, and the files."""
    return {
        "plan": plan,
        "rows": sum(part.rows for part in parts),
        "drops": {"tombstone": sum(part.hidden for part in parts)},
        "bytes": sum(part.size for part in parts),
        "languages": languages_of(parts),
        "files": [msgspec.to_builtins(part) for part in parts],
    }


def languages_of(parts: Sequence[Part]) -> dict[str, int]:
    """Return the rows of each language, those with the most first."""
    counts: dict[str, int] = {}
    for part in parts:
        for lang, rows in part.languages.items():
            counts[lang] = counts.get(lang, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _encode(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
