"""Which Wikipedias' lists an earlier build has made already, from the same files with the same settings.

A source list depends on its own dumps, the page views, the wordnets of its language, its limits and its row of the
language table, and on nothing of any other Wikipedia. So each build notes in its run's row a fingerprint of these for
every list, and the next build reads and counts only what a changed list needs. A list made from a file that could not
be read to its end has no fingerprint, so it is made again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import pyarrow.compute as pc

from curation.io.storage import FileStat
from curation.lake.lake import DataFile, Lake
from jobs.runtime.stage import digest
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.wordnet import wikipedia_of, wordnet_files
from metadata.sources import Source


def files_of_lists(
    sources: Iterable[Source], codes: Sequence[str], table: LanguageTable, *, wiktionary: bool
) -> dict[str, list[FileStat]]:
    """Return the files that each Wikipedia's list is made from, in the order in which they are read."""
    files: dict[str, list[FileStat]] = {code: [] for code in codes}
    for source in sources:
        if source.kind == "wordnet":
            stats = {file.path: file for file in source.files}
            for file in wordnet_files(stats, wiktionary=wiktionary):
                if (code := wikipedia_of(file, table)) in files:
                    files[code].append(stats[file.path])
            continue
        for code in codes if source.kind == "views" else [source.code]:
            files[code].extend(source.files)
    return files


def fingerprint(files: Sequence[FileStat], limits: Limits, code: str, table: LanguageTable, algorithm: Any) -> str:
    """Return what a Wikipedia's list follows from: files by name, size and tag, limits, its row of the table."""
    row = asdict(table.languages[code])
    meaning = {key: row[key] for key in ("spacing", "segmenter", "sites", "wordnets")}
    content = [[PurePath(file.path).name, file.size, file.etag] for file in files]
    return digest({"files": content, "limits": asdict(limits), "row": meaning, "algorithm": algorithm})


def made_before(lake: Lake, fingerprints: Mapping[str, str]) -> dict[str, tuple[DataFile, ...]]:
    """Return the files of the lists that are published with these fingerprints, by Wikipedia code."""
    lists: dict[tuple[str, str], list[DataFile]] = {}
    for file in lake.snapshot("source_lists").files:
        lists.setdefault((file.run_id, file.partition["wikipedia"]), []).append(file)
    runs = lake.rows("runs")
    builds = runs.filter(pc.equal(runs["stage"], "build_metadata")).sort_by([("finished", "descending")])
    found: dict[str, tuple[DataFile, ...]] = {}
    for run in builds.select(["run_id", "totals"]).to_pylist():
        for code, same in json.loads(run["totals"]).get("fingerprints", {}).items():
            # the run's own list: another run may have published one for the same version from other files
            if fingerprints.get(code) == same and (files := lists.get((run["run_id"], code))):
                found.setdefault(code, tuple(files))
    return found


def sources_of(sources: Iterable[Source], codes: Collection[str]) -> list[Source]:
    """Return the sources to read when only these Wikipedias' lists are to be made."""
    return [source for source in sources if codes and (source.kind != "dump" or source.code in codes)]
