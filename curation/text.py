"""The default cleaning of texts: NFC, white space collapsed and trimmed, nothing that UTF-8 cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import is_normalized, normalize


def clean(text: str) -> str:
    """Return a text in NFC, each run of white space one space, trimmed, lone surrogates replaced by U+FFFD.

    White space is what `str.isspace` says, the no-break and ideographic spaces included. Cleaning twice changes
    nothing more.
    """
    if not text.isascii() and not is_normalized("NFC", text := valid_unicode(text)):
        text = normalize("NFC", text)
    return " ".join(text.split())


def clean_all(values: Sequence[object]) -> list[str | None]:
    """Return each text cleaned, as `clean` does, and None for what is no text.

    Most texts are clean already, which is seen faster of all of a page together.
    """
    try:
        joined = " ".join(values)  # type: ignore[arg-type]  # what is no text is refused here
    except TypeError:
        return [clean(value) if isinstance(value, str) else None for value in values]
    if "" in values:
        joined = " ".join(filter(None, values))  # type: ignore[arg-type]  # all are texts, from here on
    normal = is_normalized("NFC", joined)  # parts of an NFC text are NFC
    # The space is the only white space that is printable, and surrogates are not.
    if normal and joined.isprintable() and "  " not in joined and joined[:1] != " " != joined[-1:]:
        return list(values)  # type: ignore[arg-type]
    if normal and valid_unicode(joined) is joined:
        return [" ".join(value.split()) for value in values]  # type: ignore[attr-defined]
    return [clean(value) for value in values]  # type: ignore[arg-type]


def valid_unicode(text: str) -> str:
    """Return a text that encodes to UTF-8: surrogate pairs become their character, lone surrogates U+FFFD."""
    try:
        text.encode()  # the fastest way to look
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
