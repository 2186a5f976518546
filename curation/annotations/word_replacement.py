"""Replace words of a text, separated by spaces, by other words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

MAX_WORDS: Final = 3  # of an entry of a dictionary

Value = TypeVar("Value")


@dataclass(frozen=True)
class Span:
    """A part of a text, without the punctuation around it."""

    start: int
    stop: int


def find_spans(text: str, entries: Mapping[str, Value]) -> Iterator[tuple[Span, Value]]:
    """Yield the parts of a text that are entries, as they are or in lower case, from left to right.

    Of several at the same place, the longest is yielded. An entry with capital letters is found only as it is: it is a
    name or an abbreviation.
    """
    words, position = list(_words(text)), 0
    while position < len(words):
        for stop in range(min(position + MAX_WORDS, len(words)), position, -1):
            span = Span(words[position].start, words[stop - 1].stop)
            part = text[span.start : span.stop]
            value = entries.get(part, entries.get(part.lower()))
            if value is not None:
                yield span, value
                position = stop
                break
        else:
            position += 1


def replace(
    text: str, entries: Mapping[str, Value], choose: Callable[[Span, Value], str | None], *, keep_capitals: bool = True
) -> str:
    """Return a text whose entries are replaced by what `choose` returns; None leaves one as it is.

    With `keep_capitals`, a replacement starts with a capital letter if the entry does.
    """
    parts, end = [], 0
    for span, value in find_spans(text, entries):
        chosen = choose(span, value)
        if chosen is not None:
            is_capital = keep_capitals and text[span.start].isupper()
            parts += [text[end : span.start], chosen[:1].upper() + chosen[1:] if is_capital else chosen]
            end = span.stop
    return "".join([*parts, text[end:]])


def _words(text: str) -> Iterator[Span]:
    """Yield the words of a text; a word is not split at the marks of scripts such as Devanagari."""
    start = 0
    for word in text.split(" "):
        first, stop = 0, len(word)
        while first < stop and _is_around(word[first]):
            first += 1
        while stop > first and _is_around(word[stop - 1]):
            stop -= 1
        if first < stop:
            yield Span(start + first, start + stop)
        start += len(word) + 1


def _is_around(char: str) -> bool:
    return unicodedata.category(char)[0] in "PSZC"
