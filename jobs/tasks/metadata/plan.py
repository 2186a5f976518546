"""The plan of a metadata build: which Wikipedias, keys and limits, from which files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.runtime.context import Context
from jobs.tasks.metadata.lists import Keys
from jobs.tasks.metadata.reuse import Reuse, files_of_lists, fingerprint, made_before
from metadata.languages import LanguageTable
from metadata.limits import Limits, resolve_limits
from metadata.ngrams import segmenters
from metadata.sources import Source, check_known, find_sources, select_languages


@dataclass(frozen=True)
class BuildPlan:
    """The Wikipedias to build, the keys they merge into, limits, sources, and segmenters by Wikipedia."""

    table: LanguageTable
    codes: Sequence[str]
    keys: Keys
    limits: Mapping[str, Limits]
    sources: Sequence[Source]
    segmenters: Mapping[str, str]


def plan_build(context: Context) -> BuildPlan:
    """Plan the build that the config asks for. Raises UsageError for unknown names, InputError for missing files."""
    section, table = context.config.metadata, LanguageTable.load()
    codes = select_languages(section, table)
    overrides = limit_overrides(context)
    check_known("metadata.limits", [name for name in overrides if name not in ("default", "other")], table)
    limits = {code: resolve_limits(code, table.target(code), overrides, section.bigram_score) for code in codes}
    keys = {
        key: [code for code in table.sources(key) if code in limits]
        for key in sorted({table.target(code) for code in codes})
    }
    sources = find_sources(context.storage, section, codes, table)
    with_dumps = sorted({source.code for source in sources} - {""})
    by_wikipedia = {code: segmenters.fingerprint(table.languages[code]) for code in with_dumps}
    return BuildPlan(table, codes, keys, limits, sources, by_wikipedia)


def limit_overrides(context: Context) -> dict[str, dict[str, Any]]:
    """Return the limits that the config sets."""
    return {name: limits.model_dump(exclude_none=True) for name, limits in context.config.metadata.limits.items()}


def find_reuse(context: Context, plan: BuildPlan, algorithm: int) -> Reuse:
    """Find the lists that earlier builds in the lake made from the same files."""
    table = plan.table
    files = files_of_lists(plan.sources, plan.codes, table, wiktionary=context.config.metadata.wiktionary)
    fingerprints = {
        code: fingerprint(paths, plan.limits[code], code, table, [algorithm, plan.segmenters.get(code)])
        for code, paths in files.items()
    }
    return Reuse(files, fingerprints, made_before(context.lake, fingerprints))
