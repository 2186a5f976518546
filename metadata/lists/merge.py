"""Merge ranked sources into a language's list of entries: order, caps, aliases and the metadata version.

Each Wikipedia has a source list with its own limits, in the order in which its sources add entries. The list of a key
concatenates the source lists of its Wikipedias (`LanguageTable.sources`), keeps the first occurrence of each entry and
is sorted by code points. The id of an entry is its index in the list.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.lake.schemas import SCHEMAS
from curation.matching.rules import normalize_entry
from metadata.limits import Limits

NUMBERS = tuple(map(str, range(100)))
MAX_LENGTH = 256
# Letters, symbols and unassigned code points that do not show: fillers, the blank Braille pattern, ignorable ranges.
UNSEEN = re.compile("[\u115f\u1160\u2065\u2800\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")
VERSION_DIGITS = 16

# A row of a source list with its normalized form, and a row of a merged list.
ENTRY_FORMS = pa.schema(
    [("form", pa.string()), ("entry", pa.string()), ("origin", pa.string()), ("score", pa.float64())]
)
MERGED = pa.schema([*SCHEMAS["entries"]][1:])

Scored = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, its origin (number, wordnet, unigram, bigram, title) and its score there.

    The score of a unigram is its count, that of a bigram the score by which it was ranked, that of a title its views;
    numbers and lemmas have none. `aliases` are the other spellings with the same form, sorted.
    """

    entry: str
    origin: str
    score: float | None = None
    aliases: tuple[str, ...] = ()


def merge_sources(
    numbers: Iterable[str],
    wordnet: Iterable[str],
    unigrams: Iterable[Scored],
    bigrams: Iterable[Scored],
    titles: Iterable[Scored],
    limits: Limits,
) -> list[Entry]:
    """Return one Wikipedia's source list: the candidates of each source in order, up to its cap.

    The first occurrence of an entry wins, and a cap counts only the entries that its source adds. Entries are as
    `clean` returns them.
    """
    entries: dict[str, Entry] = {}

    def add(origin: str, candidates: Iterable[Scored], cap: int | None) -> int:
        before = len(entries)
        for text, score in candidates if cap != 0 else ():
            name = clean(text)
            if name is not None and name not in entries:
                entries[name] = Entry(name, origin, score)
                if len(entries) - before == cap:
                    break
        return len(entries) - before

    add("number", _unscored(numbers), None)
    add("wordnet", _unscored(wordnet), limits.wordnet_cap)
    added = add("unigram", unigrams, limits.unigram_cap)
    add("bigram", bigrams, limits.max_bigrams(added))
    add("title", titles, limits.title_cap)
    return list(entries.values())


def _unscored(texts: Iterable[str]) -> Iterator[Scored]:
    return ((text, None) for text in texts)


def clean(text: str) -> str | None:
    """Return an entry in NFC with single spaces, or None if it cannot be an entry.

    An entry has up to 256 characters, no control characters, and a character that shows and is not punctuation.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if len(name) > MAX_LENGTH or has_controls(name) or not any(map(_is_content, name)):
        return None
    return name


def has_controls(text: str) -> bool:
    """Return whether a text has control characters (Unicode category Cc)."""
    return not text.isprintable() and any(unicodedata.category(char) == "Cc" for char in text)


def is_blank(text: str) -> bool:
    """Return whether a text has no character that shows: only white space, zero-width characters, marks without a base.

    Characters of the Unicode categories C, M and Z do not show by themselves.
    """
    return all(unicodedata.category(char)[0] in "CMZ" or UNSEEN.match(char) for char in text)


def _is_content(char: str) -> bool:
    is_punctuation = char in string.punctuation or unicodedata.category(char).startswith("P")
    return not is_punctuation and not is_blank(char)


def entry_forms(entries: Sequence[Entry]) -> pa.Table:
    """Return entries with their forms under the worldwide rules as `ENTRY_FORMS`, without entries of an empty form."""
    forms = [normalize_entry(entry.entry) for entry in entries]
    table = pa.table([forms, *entry_columns(entries, ENTRY_FORMS.names[1:])], schema=ENTRY_FORMS)
    return table.filter(pc.not_equal(table["form"], ""))


def merge_entry_forms(lists: Iterable[pa.Table]) -> list[Entry]:
    """Return the entries of tables of `ENTRY_FORMS`, given in merge order: distinct, sorted, one per form.

    Among entries with the same form, the first in code-point order stays and the others become its aliases. The tables
    may be partitioned by a hash of the form: the sorted union of the results equals the result for all tables.
    """
    distinct: dict[str, Entry] = {}
    spellings: dict[str, list[str]] = {}
    for table in lists:
        for form, name, origin, score in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if name not in distinct:
                distinct[name] = Entry(name, origin, score)
                spellings.setdefault(form, []).append(name)
    merged = [_with_aliases(distinct, sorted(names)) for names in spellings.values()]
    return sorted(merged, key=attrgetter("entry"))


def merge_lists(lists: Iterable[Sequence[Entry]]) -> list[Entry]:
    """Return the entries of source lists, merged as by `merge_entry_forms`."""
    return merge_entry_forms(map(entry_forms, lists))


def _with_aliases(entries: Mapping[str, Entry], names: Sequence[str]) -> Entry:
    first, *rest = names
    return replace(entries[first], aliases=tuple(rest)) if rest else entries[first]


def entry_columns(entries: Sequence[Entry], names: Iterable[str]) -> list[list[Any]]:
    """Return the named fields of entries as columns."""
    return [list(map(attrgetter(name), entries)) for name in names]


def entries_table(entries: Sequence[Entry], first: int = 0) -> pa.Table:
    """Return entries as rows of the table `entries`, with consecutive ids from `first`."""
    ids = range(first, first + len(entries))
    return pa.table([ids, *entry_columns(entries, MERGED.names)], schema=SCHEMAS["entries"])


def digest_lines(entries: Iterable[Entry]) -> bytes:
    """Return the bytes that a list's SHA-256 digest covers: the texts of its entries in order, one per line."""
    return "".join(f"{entry.entry}\n" for entry in entries).encode()


def list_digest(entries: Iterable[Entry]) -> str:
    """Return the digest (hex) of a whole list."""
    return sha256(digest_lines(entries)).hexdigest()


def version_from_digests(digests: Mapping[str, str]) -> str:
    """Return the metadata version (16 hex digits) of lists with the given digests per language."""
    lines = "".join(f"{lang}\t{digest}\n" for lang, digest in sorted(digests.items()))
    return sha256(lines.encode()).hexdigest()[:VERSION_DIGITS]


def metadata_version(entries_by_lang: Mapping[str, Iterable[Entry]]) -> str:
    """Return the metadata version of entry lists: a hash of the languages, the entries and their order."""
    return version_from_digests({lang: list_digest(entries) for lang, entries in entries_by_lang.items()})
