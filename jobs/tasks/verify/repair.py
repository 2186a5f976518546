"""Repairs a lake as far as it can be without a copy: marks partitions for rebuilding and restores small files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from curation.lake.lake import Lake
from curation.lake.records import encode_record
from curation.lake.schemas import PARTITIONS
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with
from jobs.runtime.runs import mark_incomplete, recover_run
from jobs.runtime.spec import recipe_keys
from jobs.tasks.verify.problems import Problem

BALANCE_ALGORITHMS: Final = range(1, 50)  # of `jobs.balance`: the fingerprint of a run says which one it was


def repair(context: Context, problems: Sequence[Problem]) -> tuple[list[str], list[Problem]]:
    """Repair what can be repaired; return what was done, one line each, and the problems that remain."""
    done, left = [], []
    by_run: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        if problem.remedy:
            left.append(problem)
        elif problem.table and PARTITIONS[problem.table]:
            by_run.setdefault((problem.run_id, problem.table), []).append(problem)
        elif line := _repair_file(context, problem):
            done.append(line)
        else:
            left.append(replace(problem, restored=False))
    for (run_id, table), found in by_run.items():
        if recover_run(context.lake, run_id, table) is None:
            left += found
            continue
        lost = {p.partition["wikipedia"] for p in found if "wikipedia" in p.partition}
        mark_incomplete(context.lake, run_id, forget_lists=lost)
        done.append(f"run {run_id} is marked incomplete: run {found[0].job}")
    return done, left


def only_jobs_are_left(lake: Lake, problems: Sequence[Problem]) -> bool:
    """Return whether a repair has nothing to do: the jobs that the problems name make everything again.

    That holds for files that are missing and for partitions whose runs are marked incomplete.
    """
    marked = set(lake.rows("runs", {"complete": [False]})["run_id"].to_pylist())
    return all(each.job and (each.run_id in marked if each.table else each.what == "missing") for each in problems)


def _repair_file(context: Context, problem: Problem) -> str | None:
    """Repair a file beside the tables; return what was done, None if nothing can be."""
    lake, path = context.lake, problem.where
    name = path.rpartition("/")[2].removesuffix(".json")
    if path == lake.layout.recipe(name):
        return _restore_recipe(lake, name)
    if path == lake.layout.latest_matchers:
        return _restore_latest(lake)
    if problem.job:  # a manifest or a matcher
        lake.storage.delete_files([path])
        return f"{path} is removed: run {problem.job}"
    return None


def _restore_recipe(lake: Lake, name: str) -> str | None:
    """Restore a recipe from a run that balanced a batch under it; remove it if nothing is published under it."""
    path = lake.layout.recipe(name)
    if keys := next(_frozen_keys(lake, name), None):
        lake.storage.write_bytes(path, encode_record(keys))
        return f"{path} is restored"
    if lake.snapshot("curated", {"recipe": name}).files:
        return None
    lake.storage.delete_files([path])
    return f"{path} is removed: nothing is published under it"


def _frozen_keys(lake: Lake, name: str) -> Iterator[dict[str, Any]]:
    """Yield the keys of a recipe from its runs; the fingerprint of the run proves that they are the same."""
    for row in lake.rows("runs", {"stage": ["balance"]}).to_pylist():
        totals = json.loads(row["totals"])
        if totals.get("recipe") != name:
            continue
        try:
            config = Config.model_validate_json(row["config"])
        except ValidationError:  # a config of another version
            continue
        keys = recipe_keys(config, totals["match_id"])
        for algorithm in BALANCE_ALGORITHMS:
            hashed = {"recipe": keys, "bucket_bytes": config.balance.bucket_bytes, "algorithm": algorithm}
            if made_with(row, "balance", hashed):
                yield keys


def _restore_latest(lake: Lake) -> str | None:
    """Restore the file that names the metadata version built last, from the runs."""
    builds = lake.rows("runs", {"stage": ["build_metadata"]}).to_pylist()
    if not builds:
        return None
    version = json.loads(max(builds, key=lambda row: row["finished"])["totals"])["version"]
    lake.storage.write_bytes(lake.layout.latest_matchers, encode_record({"version": version}))
    return f"{lake.layout.latest_matchers} is restored: it names version {version}, that of the last build"
