"""The language table: it maps Wikipedias, labels, wordnets and page-view sites to lists of entries.

The file `languages.tsv` in this folder is the single source of languages; its first lines explain the columns. The
column `lang` of every table has keys of the language table (Wikipedia codes) or `other`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Self

from curation.cli.lists import split_names
from curation.errors import UsageError

OTHER = "other"
TABLE = files("metadata").joinpath("languages.tsv")  # also works inside a zip of --py-files
COLUMNS = ("wikipedia", "name", "labels", "wordnets", "merged_into", "spacing", "segmenter", "sites", "iso639_3")
SPACING = ("space", "none")


@dataclass(frozen=True)
class Language:
    """One row of the table; `merged_into` is the key whose list takes its entries, empty if it has its own list."""

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
    """The languages and the mappings between their codes.

    `languages` has the Wikipedias by code, in the order of the table. `keys` are the sorted keys that have a list,
    including `other`. Two mappings lead to a key, with whose entries the texts are matched: from a label and from an
    ISO 639-3 code (`srp`, or `srp_Latn` for one script). Two lead to a Wikipedia, whose entries are in the list of
    `target`: from a wordnet code and from a site name.
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
        """Read a table, by default the packaged one. Raises UsageError, with file and line, if it is malformed."""
        source: Path | Traversable = path or TABLE
        try:
            text = source.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the language table {source}: {error}") from error
        return cls(_validate(source, list(_rows(source, text))))

    def target(self, code: str) -> str:
        """Return the key whose list has a Wikipedia's entries. Raises UsageError for a code not in the table."""
        if code == OTHER:
            return OTHER
        if code not in self.languages:
            raise UsageError(f"unknown language {code!r}: the language table has no such Wikipedia code")
        return self.languages[code].merged_into or code

    def sources(self, key: str) -> list[str]:
        """Return the Wikipedias with entries in the list of a key: its own first, then the others in table order."""
        merged = [code for code in self.languages if self.target(code) == key]
        return sorted(merged, key=lambda code: code != key)

    @property
    def names(self) -> dict[str, str]:
        """The English names of the languages by Wikipedia code."""
        return {code: language.name for code, language in self.languages.items()}

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the table without the names of languages, the order of rows and comments.

        ISO codes are left out too, because `match_id` already covers the mapping of the model's labels.
        """
        content = {
            row.code: [*map(sorted, (row.labels, row.wordnets, row.sites)), row.merged_into, row.spacing, row.segmenter]
            for row in self.languages.values()
        }
        return sha256(json.dumps([content, self.label_to_lang], sort_keys=True).encode()).hexdigest()


def _site_names(row: Language) -> tuple[str, ...]:
    return (row.code.replace("_", "-"), *row.sites)


def _rows(path: Path | Traversable, text: str) -> Iterator[tuple[int, Language]]:
    """Yield each row with its line number; the first line that is not a comment must name the columns."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines or tuple(lines[0][1].split("\t")) != COLUMNS:
        number = lines[0][0] if lines else 1
        raise UsageError(f"{path}, line {number}: the first row must name the columns {' '.join(COLUMNS)}")
    for number, line in lines[1:]:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != len(COLUMNS):
            raise UsageError(f"{path}, line {number}: {len(fields)} columns instead of {len(COLUMNS)}")
        code, name, labels, wordnets, merged_into, spacing, segmenter, sites, iso = fields
        of_models = split_names(labels), split_names(wordnets)
        of_wikis = split_names(sites), split_names(iso)
        yield number, Language(code, name, *of_models, merged_into, spacing, segmenter, *of_wikis)


def _validate(path: Path | Traversable, rows: list[tuple[int, Language]]) -> list[Language]:
    """Return the rows without line numbers. Raises UsageError, with file and line, at the first malformed row."""
    list_keys = {row.code for _, row in rows if not row.merged_into}
    if OTHER not in list_keys:
        raise UsageError(f"{path}: the row {OTHER!r}, which takes every other language, is missing")
    labeled_keys = {row.merged_into or row.code for _, row in rows if row.labels}
    first_lines: dict[tuple[str, str], int] = {}
    for number, row in rows:
        if problem := _find_problem(row, list_keys, labeled_keys) or _find_duplicate(row, number, first_lines):
            raise UsageError(f"{path}, line {number}: {problem}")
    return [row for _, row in rows]


def _find_problem(row: Language, list_keys: Collection[str], labeled_keys: Collection[str]) -> str:
    """Return the problem of a row on its own, or an empty string.

    Args:
        row: the row.
        list_keys: the keys that have a list.
        labeled_keys: the keys that a label maps to.
    """
    if not (row.code and row.name and row.segmenter):
        return "a row needs a wikipedia code, a name and a segmenter"
    if row.spacing not in SPACING:
        return f"spacing is {row.spacing!r}, not one of {', '.join(SPACING)}"
    if row.merged_into and row.merged_into not in list_keys:
        return f"merged_into names {row.merged_into!r}, which has no list of its own"
    if not row.merged_into and row.code != OTHER and row.code not in labeled_keys:
        return f"no label maps to {row.code!r}: merge it into {OTHER!r}"
    return ""


def _find_duplicate(row: Language, number: int, first_lines: dict[tuple[str, str], int]) -> str:
    """Return a description of the first name that an earlier row has too, or an empty string; record the names."""
    names_by_kind = {
        "code": (row.code,),
        "label": row.labels,
        "wordnet": row.wordnets,
        "site": _site_names(row),
        "ISO 639-3 code": row.iso_codes,
    }
    for kind, names in names_by_kind.items():
        for name in names:
            if (kind, name) in first_lines:
                return f"the {kind} {name!r} is already on line {first_lines[kind, name]}"
            first_lines[kind, name] = number
    return ""
