"""Find the source lists that an earlier build made from the same files with the same settings.

A source list depends on its own dumps, the page views, the wordnets of its language, its limits and its row of the
language table. It does not depend on other Wikipedias. The run's row of a build has a fingerprint of these inputs for
every list. The next build reads and counts only the sources of lists whose fingerprint has changed. A list made from a
file that could not be read to its end has no fingerprint, so it is made again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from curation.io.backend import FileStat
from curation.lake.files import DataFile
from curation.lake.lake import Lake
from curation.lake.presence import file_problems
from jobs.runtime.ledger import LedgerRow
from jobs.runtime.runs import digest
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.wordnet import find_wikipedia, wordnet_files
from metadata.sources import Source


@dataclass(frozen=True)
class Reuse:
    """Which lists need not be made: the files of each list, the fingerprint of each, and the lists made earlier."""

    files: Mapping[str, Sequence[FileStat]]
    fingerprints: Mapping[str, str]
    made: Mapping[str, Sequence[DataFile]]

    def sound(self, failed: Iterable[LedgerRow]) -> dict[str, str]:
        """Return the fingerprints of the lists to which none of the failed files belongs."""
        unread = {row.path for row in failed}
        return {
            code: fingerprint
            for code, fingerprint in self.fingerprints.items()
            if unread.isdisjoint(file.path for file in self.files[code])
        }


def files_of_lists(
    sources: Iterable[Source], codes: Sequence[str], table: LanguageTable, *, wiktionary: bool
) -> dict[str, list[FileStat]]:
    """Return the files of each Wikipedia's list, in the order in which they are read."""
    files: dict[str, list[FileStat]] = {code: [] for code in codes}
    for source in sources:
        if source.kind == "wordnet":
            stats = {file.path: file for file in source.files}
            for file in wordnet_files(stats, wiktionary=wiktionary):
                if (code := find_wikipedia(file, table)) in files:
                    files[code].append(stats[file.path])
            continue
        for code in codes if source.kind == "views" else [source.code]:
            files[code].extend(source.files)
    return files


def fingerprint(files: Sequence[FileStat], limits: Limits, code: str, table: LanguageTable, algorithm: Any) -> str:
    """Return the fingerprint of a Wikipedia's list: files by name, size and tag, limits, its row of the table."""
    row = asdict(table.languages[code])
    row_keys = {key: row[key] for key in ("spacing", "segmenter", "sites", "wordnets")}
    content = [[PurePath(file.path).name, file.size, file.etag] for file in files]
    return digest({"files": content, "limits": asdict(limits), "row": row_keys, "algorithm": algorithm})


def made_before(lake: Lake, fingerprints: Mapping[str, str]) -> dict[str, tuple[DataFile, ...]]:
    """Return the files of the lists that are published with these fingerprints, by Wikipedia code."""
    lists: dict[tuple[str, str], list[DataFile]] = {}
    published = lake.snapshot("source_lists").files
    for file in published:
        lists.setdefault((file.run_id, file.partition["wikipedia"]), []).append(file)
    lost = file_problems(lake.storage, published).keys()
    lists = {key: files for key, files in lists.items() if lost.isdisjoint(file.path for file in files)}
    builds = lake.rows("runs", {"stage": ["build_metadata"]}).sort_by([("finished", "descending")])
    found: dict[str, tuple[DataFile, ...]] = {}
    for run in builds.select(["run_id", "totals"]).to_pylist():
        for code, same in json.loads(run["totals"]).get("fingerprints", {}).items():
            # of this run: another run may have published a list for the same version from other files
            if fingerprints.get(code) == same and (files := lists.get((run["run_id"], code))):
                found.setdefault(code, tuple(files))
    return found


def sources_of(sources: Iterable[Source], codes: Collection[str]) -> list[Source]:
    """Return the sources to read if only the lists of these Wikipedias are to be made."""
    return [source for source in sources if codes and (source.kind != "dump" or source.code in codes)]
