"""The names in a lake: which are valid, and its recipes with what they are frozen to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curation.errors import UsageError
from curation.io.paths import normalize_path
from curation.io.storage import Storage
from curation.lake.delta.delta_paths import check_root
from curation.lake.layout import LakeLayout
from curation.lake.records import encode_record, read_record

PARTITION_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(key: str, name: str) -> None:
    """Raise UsageError, which names the config key, for a name that cannot be a partition value."""
    if not PARTITION_VALUE.fullmatch(name):
        raise UsageError(f"{key}: {name!r} must consist of letters, digits, '.', '_' and '-'")


class LakeNames:
    """The small files of a lake that give names their meaning.

    Args:
        root: the folder or `s3://bucket/prefix`.
        storage: access to its files.

    Raises UsageError if there cannot be a lake at `root`.
    """

    def __init__(self, root: str, storage: Storage) -> None:
        check_root(root)
        self.layout = LakeLayout(normalize_path(root))
        self.storage = storage

    @property
    def root(self) -> str:
        """The folder or prefix of the lake."""
        return self.layout.root

    def freeze_recipe(self, name: str, spec: Mapping[str, Any]) -> None:
        """Record the specification of a recipe on first use. Raises UsageError if it is frozen to another one."""
        path = self.layout.recipe(name)
        self.storage.put_if_absent(path, encode_record(spec))
        self.check_recipe(name, spec)

    def check_recipe(self, name: str, spec: Mapping[str, Any]) -> None:
        """Raise UsageError if the recipe is frozen to another specification; an unused name may have any."""
        check_name("recipe", name)
        if not self.knows_recipe(name):
            return
        frozen = self.recipe(name)
        differing = sorted(key for key in {*frozen, *spec} if frozen.get(key) != spec.get(key))
        if differing:
            changes = ", ".join(f"{key} {frozen.get(key)!r} -> {spec.get(key)!r}" for key in differing)
            hint = "keep the metadata (metadata.version), model and rules it was matched with, or "
            advice = (hint if "match_id" in differing else "") + "choose another name"
            raise UsageError(f"recipe: {name!r} already means something else ({changes}): {advice}")

    def knows_recipe(self, name: str) -> bool:
        """Return whether a recipe was used before."""
        return self.storage.exists(self.layout.recipe(name))

    def recipes(self) -> list[str]:
        """Return the names of the recipes that were used, sorted."""
        files = self.storage.list_files(self.layout.recipes)
        return sorted(file.path.rpartition("/")[2].removesuffix(".json") for file in files)

    def require_recipe(self, name: str) -> None:
        """Raise UsageError, which lists the recipes of the lake, if a recipe was never used."""
        if self.knows_recipe(name):
            return
        used = ", ".join(self.recipes())
        remedy = f"use one of {used}, or run jobs.balance first" if used else "run jobs.balance first"
        raise UsageError(f"recipe: {name!r} was never used in {self.root}: {remedy}")

    def recipe(self, name: str) -> dict[str, Any]:
        """Return the specification that a recipe is frozen to.

        Raises UsageError if it was never used, DamagedLakeError if its file is damaged.
        """
        self.require_recipe(name)
        return read_record(self.storage, self.layout.recipe(name), {})
