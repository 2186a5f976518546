"""From ranked sources to a language's list of entries: order, caps, variants of one entry, and the version.

Each Wikipedia makes a source list of its own, with its own limits, in the order in which its sources add entries. The
list of a key is the source lists of its Wikipedias one after the other (`LanguageTable.sources`), the first occurrence
of an entry kept, sorted by code points: an entry's id is its place in it.
"""

from __future__ import annotations

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
from curation.matching.rules import entry_form
from metadata.limits import Limits

NUMBERS = tuple(map(str, range(100)))
MAX_LENGTH = 256
VERSION_DIGITS = 16

# A row of a source list with its entry form, and one of a merged list.
FORMED = pa.schema([("form", pa.string()), ("entry", pa.string()), ("origin", pa.string()), ("score", pa.float64())])
MERGED = pa.schema([*SCHEMAS["entries"]][1:])

Scored = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, where it came from (number, wordnet, unigram, bigram, title) and its score there.

    A unigram's score is its count, a bigram's the one it was ranked by, a title's its views; numbers and lemmas have
    none. `aliases` are other spellings of the same form, sorted.
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
    """Return one Wikipedia's source list: each source's candidates in their order, as far as its cap reaches.

    The first occurrence of an entry wins, and a cap counts only what its source adds. Entries are NFC with single
    spaces, of 1 to 256 characters that are not all punctuation.
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
    add("bigram", bigrams, limits.bigram_room(added))
    add("title", titles, limits.title_cap)
    return list(entries.values())


def _unscored(texts: Iterable[str]) -> Iterator[Scored]:
    return ((text, None) for text in texts)


def clean(text: str) -> str | None:
    """Return an entry in NFC with single spaces, or None where nothing but punctuation, or too much, is left."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if len(name) > MAX_LENGTH or all(map(_is_punctuation, name)):
        return None
    return name


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or char.isspace() or unicodedata.category(char).startswith("P")


def formed(entries: Sequence[Entry]) -> pa.Table:
    """Return a list's entries with their forms under the worldwide rules; those of which nothing is left to see go."""
    forms = [entry_form(entry.entry) for entry in entries]
    table = pa.table([forms, *columns_of(entries, FORMED.names[1:])], schema=FORMED)
    return table.filter(pc.not_equal(table["form"], ""))


def merge_formed(lists: Iterable[pa.Table]) -> list[Entry]:
    """Return entries from tables of `FORMED`, in the order in which they merge: distinct, sorted, one a form.

    Of entries with the same form the first in code-point order stays, the others become its aliases. Tables may be
    split by a hash of the form: what comes of each part, merged in order, is what comes of all.
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
    """Return the entries of lists that merge, as `merge_formed` does."""
    return merge_formed(map(formed, lists))


def _with_aliases(entries: Mapping[str, Entry], names: Sequence[str]) -> Entry:
    first, *rest = names
    return replace(entries[first], aliases=tuple(rest)) if rest else entries[first]


def columns_of(entries: Sequence[Entry], names: Iterable[str]) -> list[list[Any]]:
    """Return some fields of entries as columns."""
    return [list(map(attrgetter(name), entries)) for name in names]


def entries_table(entries: Sequence[Entry], first: int = 0) -> pa.Table:
    """Return entries, the first of which has the id `first`, as rows of the table `entries`; ids are places."""
    ids = range(first, first + len(entries))
    return pa.table([ids, *columns_of(entries, MERGED.names)], schema=SCHEMAS["entries"])


def digest_lines(entries: Iterable[Entry]) -> bytes:
    """Return what of entries a list's digest, a SHA-256, is made of: their texts in their order, a line each."""
    return "".join(f"{entry.entry}\n" for entry in entries).encode()


def list_digest(entries: Iterable[Entry]) -> str:
    """Return the digest (hex) of a whole list."""
    return sha256(digest_lines(entries)).hexdigest()


def version_of(digests: Mapping[str, str]) -> str:
    """Return the metadata version of languages whose lists have these digests: 16 hex digits."""
    lines = "".join(f"{lang}\t{digest}\n" for lang, digest in sorted(digests.items()))
    return sha256(lines.encode()).hexdigest()[:VERSION_DIGITS]


def metadata_version(entries_by_lang: Mapping[str, Iterable[Entry]]) -> str:
    """Return the metadata version of entry lists: a hash of every language, entry and the order of entries."""
    return version_of({lang: list_digest(entries) for lang, entries in entries_by_lang.items()})
