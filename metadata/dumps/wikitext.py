"""The readable text of a wiki page.

Templates, tables, references, files, categories, comments and the contents of tags without running text (math, gallery
…) are removed; the words of links, headings, lists, styled text and language variants are kept. Every step takes time
linear in the length of the page at any nesting. General wikitext parsers do not guarantee this, and anybody can write
the pages of a dump. Malformed input gives imperfect text, never an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

from metadata.dumps.brackets import resolve_brackets
from metadata.dumps.namespaces import HIDDEN

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Tags that are removed with their contents. `<references>` and similar tags are often unclosed or self-closing.
DROPPED = (
    r"ref|references|math|chem|ce|gallery|timeline|score|syntaxhighlight|source|pre|graph|mapframe|maplink|imagemap|"
    r"hiero|templatedata|templatestyles|inputbox|categorytree|indicator|section|table|style|script|includeonly"
)
ISLAND = re.compile(rf"<(/?)({DROPPED}|nowiki)\b([^<>]*)>", re.IGNORECASE)
ADDRESS = r"(?:https?:|ftp:|mailto:)[^\s\[\]<>\"]+"
LABELLED = re.compile(rf"\[(?:{ADDRESS}|//[^\s\[\]<>\"]+)[ \t]*([^\[\]\n]{{0,500}})\]", re.IGNORECASE)
# A letter, then a lookbehind: a pattern that starts with `\b` or ignores case is tried at every position.
BARE = re.compile(
    r"[hHfFmM](?<!\w.)(?:(?<=[hH])[tT][tT][pP][sS]?|(?<=[fF])[tT][pP]|(?<=[mM])[aA][iI][lL][tT][oO]):[^\s\[\]<>\"|]+"
)
BLOCK_TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|dl|dd|dt|td|th|tr|hr|h[1-6]|blockquote|center|poem)\b[^<>]*>", re.IGNORECASE
)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
SWITCH = re.compile(r"__[A-Z]{3,}__")
QUOTES = re.compile(r"'{2,}")
INVISIBLE = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
MARKUP = str.maketrans({char: f"&#{ord(char)};" for char in "[]{}|<>'=*_-"})
# Header cells of a table start with `!`; these have attributes, or an empty list of them: `! scope="col" | Name`.
HEADER = re.compile(r"![ \t]*(?:[a-zA-Z-]+[ \t]*=[^|]*)?\|")
ATTRIBUTES = re.compile(r"""(?:\s*[\w-]+\s*=\s*(?:"[^"]*"|'[^']*'))+\s*""")


def plain_text(wikitext: str, hidden: Collection[str] = frozenset()) -> str:
    """Return the readable text of a page, one line per paragraph, heading or list item.

    `hidden` has the wiki's names, in lower case, of the namespaces whose links show no text (files and categories), in
    addition to the names known for all wikis.
    """
    text = COMMENT.sub("", INVISIBLE.sub("", f"\n{wikitext}"))  # so that every line follows a newline
    text = "".join(_without_islands(text))
    text = resolve_brackets(text, HIDDEN.union(hidden))
    text = BARE.sub("", LABELLED.sub(r"\1", text))
    text = TAG.sub("", BLOCK_TAG.sub("\n", text))
    text = html.unescape(SWITCH.sub("", "\n".join(_lines(text))))
    return INVISIBLE.sub("", text)  # characters that were entities


def _without_islands(text: str) -> Iterator[str]:
    """Yield the text without dropped tags and their contents; the contents of `<nowiki>` are escaped."""
    last_close = {tag[2].lower(): tag.start() for tag in ISLAND.finditer(text) if tag[1]}
    start, inside = 0, ""
    for tag in ISLAND.finditer(text):
        closes, name, attributes = tag[1], tag[2].lower(), tag[3]
        if inside:
            if not (closes and name == inside):
                continue
            if inside == "nowiki":
                yield text[start : tag.start()].translate(MARKUP)
            inside = ""
        else:
            yield text[start : tag.start()]
            if not closes and not attributes.endswith("/") and last_close.get(name, -1) > tag.start():
                inside = name
        start = tag.end()
    yield text[start:]


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are not rows of tables, without the markup of headings, lists and styles.

    The rows are those of tables that are not closed, or that a template opens or closes.
    """
    for line in _without_rows([line for line in map(str.strip, text.splitlines()) if line]):
        if line.startswith("----"):
            continue
        if line.startswith("=") and line.endswith("="):
            line = line.strip("= \t")
        line = _without_quotes(line.lstrip("*#:; \t")) if "''" in line else line.lstrip("*#:; \t")
        if line:
            yield line


def _without_rows(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that do not belong to a row of a table.

    Lines that start with `!` may be text: they are header cells after an open table, next to other rows, or if `|`
    separates attributes from the cell, which may be none. Attributes may continue on the next line.
    """
    groups = [(kind, list(group)) for kind, group in groupby(lines, _row_start)]
    kinds = ["", *(kind for kind, _ in groups), ""]
    is_open = False
    for (kind, group), before, after in zip(groups, kinds, kinds[2:], strict=False):
        is_open = is_open or any(map(_opens_table, group))
        if kind == "|" or (kind == "!" and (is_open or "|" in (before, after))):
            continue
        for line in group:
            if not (kind and HEADER.match(line)) and not (is_open and ATTRIBUTES.fullmatch(line)):
                yield line


def _row_start(line: str) -> str:
    """Return `|` for a row of a table, `!` for a line that may be a header cell, and nothing for other lines."""
    return "|" if line.startswith("|") or _opens_table(line) else "!" if line.startswith("!") else ""


def _opens_table(line: str) -> bool:
    return line.lstrip(": \t").startswith("{|")


def _without_quotes(line: str) -> str:
    """Return a line without the quotes of bold and italic text.

    As in MediaWiki, if both are unbalanced, one bold mark is read as an apostrophe before an italic mark
    (l'''Iliade''): the first one after a single letter, or otherwise the first one.
    """
    marks = list(QUOTES.finditer(line))
    bold = [mark.start() for mark in marks if len(mark[0]) == 3]
    apostrophe = -1
    if bold and sum(len(mark[0]) != 2 for mark in marks) % 2 and sum(len(mark[0]) not in (3, 4) for mark in marks) % 2:
        apostrophe = next((at for at in bold if _after_single_letter(line, at)), bold[0])
    return QUOTES.sub(lambda mark: "'" if mark.start() == apostrophe or len(mark[0]) == 4 else "", line)


def _after_single_letter(line: str, at: int) -> bool:
    before = line[max(at - 2, 0) : at]
    return not before[-1:].isspace() and len(before.strip()) == 1
