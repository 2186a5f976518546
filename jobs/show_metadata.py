"""Show the content of a metadata version, and the sources of each entry.

    python -m jobs.show_metadata --config c.yaml                                # its Wikipedias, their lists
    python -m jobs.show_metadata --config c.yaml --lang zh --origin bigram      # the best entries of a language
    python -m jobs.show_metadata --config c.yaml --entry "New York" --lang en   # the sources of an entry

Without `--lang` and `--entry` it prints, for every Wikipedia of the version, whether it has a list of its own, is
merged into another or into `other`, with the number of entries by origin. With `--complete` it prints all those of
the language table, and exits with 4 if the version lacks one.
Reads the published tables of the config's lake without Spark and writes to stdout.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc
from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.run import run_command
from curation.errors import InputError, OutputError, UsageError
from curation.lake.files import Snapshot
from curation.lake.parquet_read import find_rows, read_batches
from curation.matching.rules import normalize_entry
from curation.matching.store import MatcherStore
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from metadata.languages import LanguageTable
from metadata.lists.coverage import Coverage, coverage
from metadata.lists.statistics import ORIGINS, Origin

TOP = 20
NAMED = 5


class MetadataView:
    """One metadata version. Raises UsageError if the lake does not have it."""

    def __init__(self, context: Context) -> None:
        self._storage, self._lake = context.storage, context.lake
        self.table = LanguageTable.load()
        self.manifest = MatcherStore(self._storage, self._lake.root).read_manifest(context.config.metadata.version)
        self.of_version = {"metadata_version": self.manifest.version}

    def lists(self) -> list[tuple[Coverage, dict[str, int]]]:
        """Return the coverage of every Wikipedia, with the entries of its source list by origin."""
        files: dict[str, list[str]] = {}
        for file in self._lake.snapshot("source_lists", self.of_version).files:
            files.setdefault(file.partition["wikipedia"], []).append(file.path)
        covered = coverage(self.table, self.manifest.entries, files)
        return [(each, self._origins(files.get(each.code, []))) for each in covered]

    def _origins(self, paths: Sequence[str]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for path in paths:
            for batch in read_batches(self._storage, path, ["origin"]):
                counts.update(batch.column(0).to_pylist())
        return {origin: counts[origin] for origin in ORIGINS}

    def best(self, lang: str, origin: str | None, top: int) -> Iterator[dict[str, Any]]:
        """Yield the first entries of each origin in each source list of a key, in the order of that list."""
        for code in self.table.sources(self._check_key(lang)):
            left = Counter({name: top for name in ORIGINS if origin in (None, name)})
            for file in self._lake.snapshot("source_lists", {**self.of_version, "wikipedia": code}).files:
                for batch in read_batches(self._storage, file.path):
                    for row in batch.to_pylist():
                        if left[row["origin"]] > 0:
                            left[row["origin"]] -= 1
                            yield {"wikipedia": code, **row}

    def origins(self, text: str, lang: str | None) -> Iterator[dict[str, Any]]:
        """Yield the entry of a text in each key that has one, with every source list that contains it."""
        for key in [self._check_key(lang)] if lang else self.manifest.entries:
            for entry in self._entries(key, text):
                spellings = [entry["entry"], *entry["aliases"]]
                sources = [
                    {"wikipedia": code, **row}
                    for code in self.table.sources(key)
                    for row in self._rows(self._snapshot("source_lists", wikipedia=code), entry=spellings)
                ]
                yield {"lang": key, **entry, "sources": sources}

    def _entries(self, lang: str, text: str) -> Iterator[dict[str, Any]]:
        """Yield the entry that equals a text, or else those with the text among their aliases."""
        snapshot = self._snapshot("entries", lang=lang)
        if rows := self._rows(snapshot, entry=[text]):
            yield from rows
            return
        for file in snapshot.files if normalize_entry(text) else ():
            for batch in read_batches(self._storage, file.path):
                flat = pc.list_flatten(batch["aliases"])
                hits = pc.list_parent_indices(batch["aliases"]).filter(pc.equal(flat, text))
                yield from batch.take(hits).to_pylist()

    def _check_key(self, lang: str) -> str:
        if lang not in self.manifest.entries:
            raise UsageError(f"--lang: version {self.manifest.version} has no list {lang!r}")
        return lang

    def _snapshot(self, table: str, **partition: str) -> Snapshot:
        return self._lake.snapshot(table, {**self.of_version, **partition})

    def _rows(self, snapshot: Snapshot, **values: Sequence[Any]) -> list[dict[str, Any]]:
        return [row for file in snapshot.files for row in find_rows(self._storage, file.path, values).to_pylist()]


def list_lines(
    version: str, lists: Sequence[tuple[Coverage, dict[str, int]]], *, complete: bool = False
) -> Iterator[str]:
    """Yield one line per Wikipedia of the version (with `complete`, of the language table), and a summary."""
    yield "\t".join(("wikipedia", "list", *ORIGINS, "name"))
    for each, counts in (row for row in lists if complete or row[0].built):
        how = each.status if each.built else f"{each.status}: not built"
        yield "\t".join((each.code, how, *(str(counts[origin]) for origin in ORIGINS), each.name))
    kinds = Counter(each.status.split()[0] for each, _ in lists if each.built)
    parts = [
        f"{kinds['own']} with a list of their own",
        f"{kinds['merged']} merged into another",
        f"{kinds['in']} in other",
    ]
    yield f"version {version}: {len(lists)} Wikipedias: {', '.join(parts)}, {len(lists) - kinds.total()} not built"


def entry_lines(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the sources of one entry as lines."""
    also = f", also written {', '.join(entry['aliases'])}" if entry["aliases"] else ""
    yield f"{entry['entry']}: {entry['lang']} {entry['entry_id']}, from {entry['origin']}{_score(entry)}{also}"
    for row in entry["sources"]:
        yield f"  {row['wikipedia']}: {row['entry']}, {row['origin']}, place {row['place']}{_score(row)}"


def _score(row: dict[str, Any]) -> str:
    return "" if row["score"] is None else f", score {row['score']:.6g}"


class ShowOptions(CommandOptions):
    """Which part of the metadata to show."""

    entry: str | None = Field(None, description="show the sources of this entry")
    lang: str | None = Field(None, description="language key: show its best entries, or look up --entry there only")
    origin: Origin | None = Field(None, description="with --lang: show entries of this origin only")
    top: int = Field(TOP, ge=0, description="with --lang: number of entries per origin and Wikipedia")
    complete: bool = Field(
        False,
        description="without --lang and --entry: show all Wikipedias; exit with 4 if some are not built",
    )
    json_: bool = Field(False, alias="json", description="print JSON instead of lines")


COMMAND = Command("python -m jobs.show_metadata", __doc__ or "", ShowOptions, Config, required=("lake",))


def show(argv: Sequence[str]) -> None:
    """Write the requested part of the metadata to stdout."""
    options, config = COMMAND.parse(argv)
    view = MetadataView(Context(config, "show_metadata"))
    if options.entry is not None:
        entries = list(view.origins(options.entry, options.lang))
        if not entries:
            where = f"the list {options.lang}" if options.lang else "any list"
            raise InputError(
                f"show_metadata: {options.entry!r} is not an entry of {where} of version {view.manifest.version}"
            )
        write(entries, [line for entry in entries for line in entry_lines(entry)], as_json=options.json_)
    elif options.lang is not None:
        rows = list(view.best(options.lang, options.origin, options.top))
        write(
            rows,
            [f"{r['wikipedia']}\t{r['origin']}\t{r['score'] or ''}\t{r['entry']}" for r in rows],
            as_json=options.json_,
        )
    else:
        lists = view.lists()
        values = [{"wikipedia": f.code, "lang": f.lang, "built": f.built, **counts} for f, counts in lists]
        lines = list_lines(view.manifest.version, lists, complete=options.complete)
        write(values, list(lines), as_json=options.json_)
        if options.complete and (missing := [each.code for each, _ in lists if not each.built]):
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            raise OutputError(f"show_metadata: in no list: {', '.join(missing[:NAMED])}{more}: build them too")


def write(values: Sequence[dict[str, Any]], lines: Sequence[str], *, as_json: bool) -> None:
    """Write values as JSON, or as readable lines."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False, indent=1) + "\n" if as_json else "\n".join(lines) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(show, argv)


if __name__ == "__main__":
    sys.exit(main())
