"""Brackets of wikitext: templates and tables are removed; links and language variants show their text.

Makes one pass with a stack of open brackets and takes time linear in the length of the text at any nesting. Markup with
unbalanced brackets gives imperfect text, but never the attributes of a table or the codes of language variants.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from metadata.dumps.language_variants import shown_variant, without_codes
from metadata.languages import LanguageTable

# Deeper nesting is a mistake; MediaWiki converts variants to a depth of 10.
MAX_DEPTH = {"[[": 20, "-{": 10}
# `-{{` starts a template and `-{{{` a variant that starts with a template. `|}}` ends a template.
BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]|\}-|\{\||\|\}(?=\}\}|[^}]|\Z)|-\{(?=(?:\{\{)*(?!\{))")
OPENS = {"}}": "{{", "]]": "[[", "|}": "{|", "}-": "-{"}
# Templates that write the characters of tables, which would end an argument of another template.
ESCAPED = re.compile(r"\{\{[ \t]*(\(!|!\)|!-|!!|!|=)[ \t]*\}\}")
CHARACTERS = {"!": "|", "(!": "{|", "!)": "|}", "!-": "|-", "!!": "||", "=": "="}
NEARBY = 8  # parts to look back for the start of a line
FILE_TYPE = re.compile(
    r"\.(?:jpe?g|png|gif|svg|tiff?|webp|xcf|pdf|djvu|og[gav]|opus|mp3|wav|flac|webm|mpe?g|midi?)\s*$", re.IGNORECASE
)


def resolve_brackets(text: str, hidden: Collection[str]) -> str:
    """Return a text without templates and tables, and with the text that links and language variants show.

    The `{|` of a table that is not closed stays at the start of its line, which marks the rows after it as such.
    `hidden` are the names of the namespaces whose links show no text.
    """
    scanner = _Scanner(ESCAPED.sub(lambda match: CHARACTERS[match[1]], text), hidden)
    return scanner.resolve()


class _Scanner:
    """The state of one pass: the parts of the result, and the open brackets with the number of parts before each."""

    def __init__(self, text: str, hidden: Collection[str]) -> None:
        self._text = text
        self._hidden = hidden
        self._parts: list[str] = []
        self._stack: list[tuple[str, int]] = []
        self._open = dict.fromkeys(OPENS.values(), 0)

    def resolve(self) -> str:
        """Return the resolved text.

        A closing bracket of a template or table also closes the brackets still open inside it. Brackets without a
        counterpart are dropped.
        """
        start = position = 0
        while bracket := BRACKET.search(self._text, position):
            kind, position = bracket[0], bracket.end()
            self._append(self._text[start : bracket.start()])
            start = position
            if kind == "}}" and self._ends_variant(position):
                kind, start, position = "}-", position + 1, position + 1
                self._append("}")
            if "|" in kind and not self._starts_line():
                self._append(kind[0])
                start = position = bracket.start() + 1
            elif kind not in OPENS:
                self._push(kind)
            else:
                self._close(kind)
        self._append(self._text[start:])
        while self._stack:
            self._drop()
        return "".join(self._parts)

    def _append(self, part: str) -> None:
        if part:
            self._parts.append(part)

    def _ends_variant(self, position: int) -> bool:
        """Return whether a `}}` is a brace and the end of a variant, `}` and `}-`."""
        in_variant = bool(self._stack) and self._stack[-1][0] == "-{"
        return in_variant and not self._open["{{"] and self._text.startswith("-", position)

    def _starts_line(self) -> bool:
        """Return whether only spaces, colons and removed templates precede on the line."""
        for part in reversed(self._parts[-NEARBY:]):
            if before := part[-64:].rstrip(" \t:"):
                return before.endswith("\n")
        return False

    def _push(self, kind: str) -> None:
        if self._open[kind] < MAX_DEPTH.get(kind, len(self._text)):
            self._stack.append((kind, len(self._parts)))
            self._open[kind] += 1
            if kind == "{|":
                self._parts.append(kind)  # removed with the table, if it is closed

    def _close(self, kind: str) -> None:
        opener = OPENS[kind]
        if kind in ("]]", "}-"):
            while kind == "]]" and self._open[opener] and self._stack[-1][0] == "-{":
                self._drop()
            if not self._stack or self._stack[-1][0] != opener:
                return
        if self._open[opener]:
            while True:
                opened, first = self._pop()
                if opened == opener:
                    break
            content = "".join(self._parts[first:])
            self._parts[first:] = [shown] if (shown := self._shown(kind, content)) else []

    def _pop(self) -> tuple[str, int]:
        opened, first = self._stack.pop()
        self._open[opened] -= 1
        return opened, first

    def _drop(self) -> None:
        """Close the innermost bracket, which has no counterpart."""
        opened, first = self._pop()
        if opened == "-{":
            self._parts[first:] = [without_codes("".join(self._parts[first:]))]

    def _shown(self, kind: str, content: str) -> str:
        """Return the text that the content of a pair of brackets shows."""
        if kind == "}-":
            return shown_variant(content)
        return shown_link(content, self._hidden) if kind == "]]" else ""


def shown_link(link: str, hidden: Collection[str]) -> str:
    """Return the text that a link `target|label` shows; empty for files, categories and links to other languages."""
    target, bar, label = link.partition("|")
    prefix, colon, _ = target.partition(":")
    if colon and prefix.strip():
        space = prefix.strip().replace("_", " ")
        if space.lower() in hidden or space in _sites() or FILE_TYPE.search(target):
            return ""
    return label.rpartition("|")[2] if bar and label.strip() else target.strip().removeprefix(":")


@cache
def _sites() -> frozenset[str]:
    return frozenset(LanguageTable.load().site_to_code)
