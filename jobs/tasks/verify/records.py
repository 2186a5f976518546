"""Checks the files beside the tables: recipes, and the manifests and matchers of the metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from curation.errors import InputError, WorldcurateError
from curation.io.paths import join
from curation.lake.lake import Lake
from curation.lake.records import read_record
from curation.matching.store import RELEASE, MatcherStore
from jobs.runtime.context import Context
from jobs.tasks.verify.check import CheckFiles, StoredFile, units_of
from jobs.tasks.verify.problems import Problem

BUILD: Final = "jobs.build_metadata"


def check_records(context: Context, *, read: bool) -> list[Problem]:
    """Check all small files and, with `read`, the bytes of the matchers."""
    lake, store = context.lake, MatcherStore(context.storage, context.lake.root)
    problems = list(_check_recipes(lake))
    matchers: dict[str, StoredFile] = {}
    for path in manifests(lake):
        version = path.split("/")[-2]
        try:
            files = store.read_manifest(version).files
        except WorldcurateError as error:
            problems.append(Problem(path, _what(path, error), BUILD))
            continue
        matchers |= {
            lake.layout.matcher(version, name): StoredFile(lake.layout.matcher(version, name), 0, sha256)
            for name, sha256 in files.items()
        }
    problems += _check_latest(lake, store)
    stored = {file.path: file.size for file in lake.storage.list_files(join(lake.root, "matchers"))}
    problems += [Problem(path, "missing", BUILD) for path in matchers if path not in stored]
    units = [StoredFile(path, stored[path], file.sha256) for path, file in matchers.items() if path in stored]
    if read:
        for damaged in context.run_tasks("verify: matchers", list(units_of(units)), CheckFiles(lake.storage)):
            problems += [Problem(path, what, BUILD) for path, what in damaged.items()]
    return problems


def manifests(lake: Lake) -> list[str]:
    """Return the paths of the manifests that this release reads."""
    files = lake.storage.list_files(join(lake.root, "matchers"))
    return [file.path for file in files if file.path.endswith(f"/manifest.{RELEASE}.json")]


def _check_recipes(lake: Lake) -> Iterator[Problem]:
    recipes = {file.path for file in lake.storage.list_files(join(lake.root, "recipes"))}
    used = {lake.layout.recipe(file.partition["recipe"]) for file in lake.snapshot("curated").files}
    for path in sorted(recipes | used):
        try:
            read_record(lake.storage, path, {})
        except InputError as error:
            yield Problem(path, "missing" if path not in recipes else _what(path, error), restored=True)


def _check_latest(lake: Lake, store: MatcherStore) -> Iterator[Problem]:
    if not lake.storage.exists(store.latest_path):
        if manifests(lake):
            yield Problem(store.latest_path, "missing", BUILD)
        return
    try:
        version = read_record(lake.storage, store.latest_path, {"version": str})["version"]
    except InputError as error:
        yield Problem(store.latest_path, _what(store.latest_path, error), BUILD)
        return
    if not store.has_manifest(version):
        yield Problem(store.manifest_path(version), "missing", BUILD)


def _what(path: str, error: Exception) -> str:
    """Return the problem that an error names, without the path and the remedy."""
    return str(error).removeprefix(f"{path}: ").rpartition(": ")[0] or str(error)
