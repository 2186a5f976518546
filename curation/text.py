"""The default cleaning of texts: NFC, white space collapsed and trimmed, valid UTF-8."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import is_normalized, normalize


def clean(text: str) -> str:
    """Return a text in NFC, with runs of white space collapsed to one space, trimmed, lone surrogates as U+FFFD.

    White space is defined by `str.isspace`, which includes no-break and ideographic spaces. Cleaning is idempotent.
    """
    if not text.isascii() and not is_normalized("NFC", text := valid_unicode(text)):
        text = normalize("NFC", text)
    return " ".join(text.split())


def clean_all(values: Sequence[object]) -> list[str | None]:
    """Return each text cleaned, as `clean` does, and None for each value that is not a text.

    Most texts are already clean; checking all texts of a page at once is faster.
    """
    try:
        joined = " ".join(values)  # type: ignore[arg-type]  # a value that is not a text raises TypeError
    except TypeError:
        return [clean(value) if isinstance(value, str) else None for value in values]
    if "" in values:
        joined = " ".join(filter(None, values))  # type: ignore[arg-type]  # all values are texts here
    normal = is_normalized("NFC", joined)  # parts of an NFC text are NFC
    # The space is the only printable white space; surrogates are not printable.
    if normal and joined.isprintable() and "  " not in joined and joined[:1] != " " != joined[-1:]:
        return list(values)  # type: ignore[arg-type]
    if normal and valid_unicode(joined) is joined:
        return [" ".join(value.split()) for value in values]  # type: ignore[attr-defined]
    return [clean(value) for value in values]  # type: ignore[arg-type]


def valid_unicode(text: str) -> str:
    """Return a text that UTF-8 can encode: surrogate pairs become their character, lone surrogates U+FFFD."""
    try:
        text.encode()  # the fastest check
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
