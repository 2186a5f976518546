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

import pyarrow as pa

from curation.schemas import SCHEMAS
from curation.spacing import entry_form
from metadata.limits import Limits

NUMBERS = tuple(map(str, range(100)))
MAX_LENGTH = 256
VERSION_DIGITS = 16

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


def merge_lists(lists: Iterable[Sequence[Entry]]) -> list[Entry]:
    """Return a key's entries from its source lists: distinct, sorted by code points, one an entry form.

    Of entries with the same form under the worldwide rules the first in code-point order stays, the others become its
    aliases. An entry of which those rules leave nothing to see is dropped.
    """
    distinct: dict[str, Entry] = {}
    for entries in lists:
        for entry in entries:
            distinct.setdefault(entry.entry, entry)
    spellings: dict[str, list[str]] = {}
    for name in sorted(distinct):
        if form := entry_form(name):
            spellings.setdefault(form, []).append(name)
    # Insertion order is the order of first spellings, so the result is sorted.
    return [replace(distinct[first], aliases=tuple(rest)) for first, *rest in spellings.values()]


def entries_table(entries: Sequence[Entry]) -> pa.Table:
    """Return a list of entries as rows of the table `entries`; ids are positions."""
    columns = [
        range(len(entries)),
        [entry.entry for entry in entries],
        [entry.origin for entry in entries],
        [entry.score for entry in entries],
        [entry.aliases for entry in entries],
    ]
    return pa.table(columns, schema=SCHEMAS["entries"])


def list_digest(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 (hex) of a list's entries in their order."""
    digest = sha256()
    for entry in entries:
        digest.update(entry.entry.encode() + b"\n")
    return digest.hexdigest()


def version_of(digests: Mapping[str, str]) -> str:
    """Return the metadata version of languages whose lists have these digests: 16 hex digits."""
    lines = "".join(f"{lang}\t{digest}\n" for lang, digest in sorted(digests.items()))
    return sha256(lines.encode()).hexdigest()[:VERSION_DIGITS]


def metadata_version(entries_by_lang: Mapping[str, Iterable[Entry]]) -> str:
    """Return the metadata version of entry lists: a hash of every language, entry and the order of entries."""
    return version_of({lang: list_digest(entries) for lang, entries in entries_by_lang.items()})
