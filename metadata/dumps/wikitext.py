"""The readable text of a wiki page.

Templates, tables, references, files, categories, comments and the contents of tags that show no running text (math,
gallery …) go; of links, headings, lists and styled text the words stay. The page is scanned once and every step is
linear in its length, whatever its nesting, which general wikitext parsers do not promise: the pages of a dump are
written by anybody. Odd input gives odd text, never an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator
from functools import cache

from metadata.dumps.namespaces import HIDDEN
from metadata.languages import LanguageTable

MAX_LINK_DEPTH = 20  # captions nest links; deeper ones are somebody's accident
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Tags whose contents go with them. `<references>` and the like are often left open or closed in themselves.
DROPPED = (
    r"ref|references|math|chem|ce|gallery|timeline|score|syntaxhighlight|source|pre|graph|mapframe|maplink|imagemap|"
    r"hiero|templatedata|templatestyles|inputbox|categorytree|indicator|section|table|style|script|includeonly"
)
ISLAND = re.compile(rf"<(/?)({DROPPED}|nowiki)\b([^<>]*)>", re.IGNORECASE)
# Those of tables begin a line. Every alternative begins with a letter of its own: a search for `^` would be slow.
BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]|\n[ \t:]*\{\||\n[ \t]*\|\}(?=\}\}|[^}]|\Z)")
OPENS = {"}}": "{{", "]]": "[[", "|}": "{|"}
ADDRESS = r"(?:https?:|ftp:|mailto:)[^\s\[\]<>\"|]+"
LABELLED = re.compile(rf"\[(?:{ADDRESS}|//[^\s\[\]<>\"|]+)[ \t]*([^\[\]\n]{{0,500}})\]", re.IGNORECASE)
# The letter and then a look behind: a search that begins with `\b` or ignores case tries every place.
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
    """Return the readable text of a page, one line a paragraph, heading or list item.

    `hidden` adds the wiki's own names of the namespaces whose links show nothing (files and categories, in lower case)
    to those known for all wikis.
    """
    text = COMMENT.sub("", INVISIBLE.sub("", f"\n{wikitext}"))  # so that every line begins with a line's end
    text = "".join(_without_islands(text))
    text = "".join(_without_brackets(text, HIDDEN.union(hidden)))
    text = VARIANTS.sub(_variant, BARE.sub("", LABELLED.sub(r"\1", text)))
    text = TAG.sub("", BLOCK_TAG.sub("\n", text))
    text = html.unescape(SWITCH.sub("", "\n".join(_lines(text))))
    return INVISIBLE.sub("", text)  # those that were entities


def _without_islands(text: str) -> Iterator[str]:
    """Yield the text without dropped tags and their contents; what `<nowiki>` holds is kept from being markup."""
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
    """Return the pieces of a text without templates and tables, and with links replaced by what they show.

    One pass with a stack of open brackets. A bracket that closes takes those still open inside it along, as a template
    or table that leaves a link open does; one that closes nothing is dropped, and so is one that never closes.
    """
    pieces: list[str] = []
    stack: list[tuple[str, int]] = []  # open brackets, and how many pieces stood before each
    open_now = dict.fromkeys(OPENS.values(), 0)
    start = 0
    for bracket in BRACKET.finditer(text):
        kind = bracket[0].strip("\n \t:")
        pieces.append(text[start : bracket.start() + (bracket[0][0] == "\n")])
        start = bracket.end()
        if kind not in OPENS:
            if kind != "[[" or open_now[kind] < MAX_LINK_DEPTH:
                stack.append((kind, len(pieces)))
                open_now[kind] += 1
        elif open_now[OPENS[kind]] and not (kind == "]]" and stack[-1][0] != "[["):
            opened, begin = "", 0
            while opened != OPENS[kind]:
                opened, begin = stack.pop()
                open_now[opened] -= 1
            shown = _shown("".join(pieces[begin:]), hidden) if kind == "]]" else ""
            pieces[begin:] = [shown]
    pieces.append(text[start:])
    return pieces


def _shown(link: str, hidden: Collection[str]) -> str:
    """Return what a link shows of `target|label`; nothing for files, categories and other languages' pages."""
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
    """Return the first variant of a conversion mark, `-{flags|zh-hans:…; zh-hant:…}-`; some flags show nothing."""
    flags, bar, rules = mark[1].rpartition("|")
    if bar and set(flags) & set("HTDN-"):
        return ""
    first = rules.split(";")[0]
    return VARIANT.sub("", first, count=1) if VARIANT.match(first.strip()) else rules


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are not leavings of tables, without the marks of headings, lists and styles."""
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

    As in MediaWiki, when both are unbalanced one bold mark is an apostrophe before an italic one (l'''Iliade''), the
    first one after a single letter, or else the first.
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
