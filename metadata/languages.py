"""The language table: which Wikipedias, labels, wordnets and page-view sites belong to which list of entries.

`languages.tsv` beside this file is the one place that knows languages; its first lines explain its columns. The key
`lang` of every data set is a key of this table (a Wikipedia code), or `other`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Self

from curation.errors import UsageError

OTHER = "other"
TABLE = files("metadata").joinpath("languages.tsv")  # found inside a zip of --py-files too
COLUMNS = ("wikipedia", "name", "labels", "wordnets", "merged_into", "spacing", "segmenter", "sites", "iso639_3")
SPACING = ("space", "none")


@dataclass(frozen=True)
class Language:
    """One row of the table; `merged_into` is the key that takes its entries, or empty when it owns its list."""

    code: str
    name: str
    labels: tuple[str, ...]
    wordnets: tuple[str, ...]
    merged_into: str
    spacing: str
    segmenter: str
    sites: tuple[str, ...]
    iso_codes: tuple[str, ...]


class LanguageTable:
    """The languages and every mapping between their codes.

    `languages` holds the Wikipedias by code in the table's order, `keys` every key that owns a list, sorted, `other`
    among them. The four mappings lead from a label, an ISO 639-3 code (`srp`, or `srp_Latn` for one script), a wordnet
    code or a site name to where it belongs: the first two to a key (their texts are matched with that key's entries),
    the others to a Wikipedia, whose entries then go to `target`.
    """

    def __init__(self, rows: list[Language]) -> None:
        self.languages = MappingProxyType({row.code: row for row in rows if row.code != OTHER})
        self.keys = sorted(row.code for row in rows if not row.merged_into)
        self.label_to_lang = {label: row.merged_into or row.code for row in rows for label in row.labels}
        self.iso_to_lang = {code: row.merged_into or row.code for row in rows for code in row.iso_codes}
        self.wordnet_to_lang = {code: row.code for row in rows for code in row.wordnets}
        self.site_to_code = {site: row.code for row in self.languages.values() for site in _site_names(row)}

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a table, the packaged one by default. Raises UsageError with file and line where it is malformed."""
        source: Path | Traversable = path or TABLE
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the language table {source}: {error}") from error
        return cls(_checked(source, list(_rows(source, text))))

    def target(self, code: str) -> str:
        """Return the key whose list takes a Wikipedia's entries. Raises UsageError for a code not in the table."""
        if code == OTHER:
            return OTHER
        if code not in self.languages:
            raise UsageError(f"unknown language {code!r}: the language table has no such Wikipedia code")
        return self.languages[code].merged_into or code

    def sources(self, key: str) -> list[str]:
        """Return the Wikipedias whose lists make up a key's: its own first, then the others in the table's order."""
        merged = [code for code in self.languages if self.target(code) == key]
        return sorted(merged, key=lambda code: code != key)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what the table means: names of languages, the order of rows and remarks left out.

        ISO codes are left out too: what they make of a model's labels is part of `match_id` by itself.
        """
        meaning = {
            row.code: [*map(sorted, (row.labels, row.wordnets, row.sites)), row.merged_into, row.spacing, row.segmenter]
            for row in self.languages.values()
        }
        return sha256(json.dumps([meaning, self.label_to_lang], sort_keys=True).encode()).hexdigest()


def _site_names(row: Language) -> tuple[str, ...]:
    return (row.code.replace("_", "-"), *row.sites)


def _rows(path: Path | Traversable, text: str) -> Iterator[tuple[int, Language]]:
    """Yield each row with its line number; the first line that is no remark names the columns."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines or tuple(lines[0][1].split("\t")) != COLUMNS:
        number = lines[0][0] if lines else 1
        raise UsageError(f"{path}, line {number}: the first row must name the columns {' '.join(COLUMNS)}")
    for number, line in lines[1:]:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != len(COLUMNS):
            raise UsageError(f"{path}, line {number}: {len(fields)} columns where {len(COLUMNS)} belong")
        code, name, labels, wordnets, merged_into, spacing, segmenter, sites, iso = fields
        lists = (_list(labels), _list(wordnets), merged_into, spacing, segmenter, _list(sites), _list(iso))
        yield number, Language(code, name, *lists)


def _list(field: str) -> tuple[str, ...]:
    return tuple(part for part in (item.strip() for item in field.split(",")) if part)


def _checked(path: Path | Traversable, rows: list[tuple[int, Language]]) -> list[Language]:
    """Return the rows when every code stands once and every merge ends at a list. Raises UsageError if not."""
    owners = {row.code for _, row in rows if not row.merged_into}
    if OTHER not in owners:
        raise UsageError(f"{path}: the row {OTHER!r}, which takes every other language, is missing")
    reached = {row.merged_into or row.code for _, row in rows if row.labels}
    seen: dict[tuple[str, str], int] = {}
    for number, row in rows:
        if not (row.code and row.name and row.segmenter):
            raise UsageError(f"{path}, line {number}: a row needs a wikipedia code, a name and a segmenter")
        if row.spacing not in SPACING:
            raise UsageError(f"{path}, line {number}: spacing is {row.spacing!r}, not one of {', '.join(SPACING)}")
        if row.merged_into and row.merged_into not in owners:
            raise UsageError(f"{path}, line {number}: merged_into names {row.merged_into!r}, which owns no list")
        if not row.merged_into and row.code not in {OTHER, *reached}:
            raise UsageError(f"{path}, line {number}: no label leads to {row.code!r}: merge it into {OTHER!r}")
        named = {
            "code": (row.code,),
            "label": row.labels,
            "wordnet": row.wordnets,
            "site": _site_names(row),
            "ISO 639-3 code": row.iso_codes,
        }
        for kind, name in ((kind, name) for kind, names in named.items() for name in names):
            if (kind, name) in seen:
                earlier = seen[kind, name]
                raise UsageError(f"{path}, line {number}: the {kind} {name!r} stands already on line {earlier}")
            seen[kind, name] = number
    return [row for _, row in rows]
