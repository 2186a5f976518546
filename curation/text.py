"""The default cleaning of texts: NFC, white space collapsed and trimmed, nothing that UTF-8 cannot hold."""

from __future__ import annotations

import re
import unicodedata

_surrogate = re.compile("[\ud800-\udfff]").search


def clean(text: str) -> str:
    """Return a text in NFC, each run of white space one space, trimmed, lone surrogates replaced by U+FFFD.

    White space is what `str.isspace` says, the no-break and ideographic spaces included. Cleaning twice changes
    nothing more.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", valid_unicode(text))
    return " ".join(text.split())


def valid_unicode(text: str) -> str:
    """Return a text that encodes to UTF-8: surrogate pairs become their character, lone surrogates U+FFFD."""
    if text.isascii() or not _surrogate(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
