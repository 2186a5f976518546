"""The readable text of a wiki page.

Templates, tables, references, files, categories, comments and the contents of tags without running text (math, gallery
…) are removed; the words of links, headings, lists and styled text are kept. The page is scanned once, and every step
takes time linear in its length at any nesting. General wikitext parsers do not guarantee this, and anybody can write
the pages of a dump. Malformed input gives imperfect text, never an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator
from functools import cache

from metadata.dumps.namespaces import HIDDEN
from metadata.languages import LanguageTable

MAX_LINK_DEPTH = 20  # captions nest links; deeper nesting is a mistake
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Tags that are removed with their contents. `<references>` and similar tags are often unclosed or self-closing.
DROPPED = (
    r"ref|references|math|chem|ce|gallery|timeline|score|syntaxhighlight|source|pre|graph|mapframe|maplink|imagemap|"
    r"hiero|templatedata|templatestyles|inputbox|categorytree|indicator|section|table|style|script|includeonly"
)
ISLAND = re.compile(rf"<(/?)({DROPPED}|nowiki)\b([^<>]*)>", re.IGNORECASE)
# Table brackets start a line. Every alternative starts with a literal character, because a search for `^` is slow.
BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]|\n[ \t:]*\{\||\n[ \t]*\|\}(?=\}\}|[^}]|\Z)")
OPENS = {"}}": "{{", "]]": "[[", "|}": "{|"}
ADDRESS = r"(?:https?:|ftp:|mailto:)[^\s\[\]<>\"|]+"
LABELLED = re.compile(rf"\[(?:{ADDRESS}|//[^\s\[\]<>\"|]+)[ \t]*([^\[\]\n]{{0,500}})\]", re.IGNORECASE)
# A letter, then a lookbehind: a pattern that starts with `\b` or ignores case is tried at every position.
BARE = re.compile(
    r"[hHfFmM](?<!\w.)(?:(?<=[hH])[tT][tT][pP][sS]?|(?<=[fF])[tT][pP]|(?<=[mM])[aA][iI][lL][tT][oO]):[^\s\[\]<>\"|]+"
)
VARIANTS = re.compile(r"-\{([^{}]*)\}-")
VARIANT = re.compile(r"[a-z-]+\s*:")
BLOCK_TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|dl|dd|dt|td|th|tr|hr|h[1-6]|blockquote|center|poem)\b[^<>]*>", re.IGNORECASE
)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
SWITCH = re.compile(r"__[A-Z]{3,}__")
QUOTES = re.compile(r"'{2,}")
INVISIBLE = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
MARKUP = str.maketrans({char: f"&#{ord(char)};" for char in "[]{}|<>'=*_-"})
FILE_TYPE = re.compile(
    r"\.(?:jpe?g|png|gif|svg|tiff?|webp|xcf|pdf|djvu|og[gav]|opus|mp3|wav|flac|webm|mpe?g|midi?)\s*$", re.IGNORECASE
)


def plain_text(wikitext: str, hidden: Collection[str] = frozenset()) -> str:
    """Return the readable text of a page, one line per paragraph, heading or list item.

    `hidden` has the wiki's names, in lower case, of the namespaces whose links show no text (files and categories), in
    addition to the names known for all wikis.
    """
    text = COMMENT.sub("", INVISIBLE.sub("", f"\n{wikitext}"))  # so that every line follows a newline
    text = "".join(_without_islands(text))
    text = "".join(_without_brackets(text, HIDDEN.union(hidden)))
    text = VARIANTS.sub(_variant, BARE.sub("", LABELLED.sub(r"\1", text)))
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


def _without_brackets(text: str, hidden: Collection[str]) -> list[str]:
    """Return the parts of a text without templates and tables, and with links replaced by the text they show.

    Makes one pass with a stack of open brackets. A closing bracket also closes the brackets still open inside it, such
    as an open link in a template or table. Brackets without a counterpart are dropped.
    """
    parts: list[str] = []
    stack: list[tuple[str, int]] = []  # open brackets, and the number of parts before each
    open_now = dict.fromkeys(OPENS.values(), 0)
    start = 0
    for bracket in BRACKET.finditer(text):
        kind = bracket[0].strip("\n \t:")
        parts.append(text[start : bracket.start() + (bracket[0][0] == "\n")])
        start = bracket.end()
        if kind not in OPENS:
            if kind != "[[" or open_now[kind] < MAX_LINK_DEPTH:
                stack.append((kind, len(parts)))
                open_now[kind] += 1
        elif open_now[OPENS[kind]] and not (kind == "]]" and stack[-1][0] != "[["):
            opened, first = "", 0
            while opened != OPENS[kind]:
                opened, first = stack.pop()
                open_now[opened] -= 1
            shown = _shown("".join(parts[first:]), hidden) if kind == "]]" else ""
            parts[first:] = [shown]
    parts.append(text[start:])
    return parts


def _shown(link: str, hidden: Collection[str]) -> str:
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


def _variant(mark: re.Match[str]) -> str:
    """Return the first variant of a conversion markup `-{flags|zh-hans:…; zh-hant:…}-`; some flags show no text."""
    flags, bar, rules = mark[1].rpartition("|")
    if bar and set(flags) & set("HTDN-"):
        return ""
    first = rules.split(";")[0]
    return VARIANT.sub("", first, count=1) if VARIANT.match(first.strip()) else rules


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are not remains of tables, without the markup of headings, lists and styles."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(("|", "{|", "----")):
            continue
        if line.startswith("=") and line.endswith("="):
            line = line.strip("= \t")
        line = _without_quotes(line.lstrip("*#:; \t")) if "''" in line else line.lstrip("*#:; \t")
        if line:
            yield line


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
