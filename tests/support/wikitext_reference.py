"""A second implementation of `plain_text` on mwparserfromhell, which names the rule that removes each word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

import mwparserfromhell
from mwparserfromhell import nodes

from metadata.dumps.brackets import FILE_TYPE
from metadata.dumps.namespaces import HIDDEN
from metadata.dumps.wikitext import DROPPED
from metadata.languages import LanguageTable

WORDS = re.compile(r"\w+")
SITES = LanguageTable.load().site_to_code
SWITCH = re.compile(r"__[A-Z]{3,}__")
LINES = ("br", "p", "div", "li", "ul", "ol", "td", "tr", "th", "hr", "center", "dd", "dt", "blockquote")


class Reference:
    """The readable words of one page, and the words removed by each rule.

    Templates and comments have no words that mwparserfromhell shows, so no rule counts them.
    """

    def __init__(self, wikitext: str, hidden: Collection[str]) -> None:
        self._hidden = HIDDEN.union(hidden)
        self.removed: Counter[str] = Counter()
        self.words = Counter(WORDS.findall(SWITCH.sub("", self._text(mwparserfromhell.parse(wikitext)))))

    def _text(self, code) -> str:
        return "".join(map(self._shown, code.nodes)) if code is not None else ""

    def _remove(self, rule: str, code) -> str:
        self.removed[rule] += len(WORDS.findall(mwparserfromhell.parse(str(code)).strip_code()))
        return ""

    def _shown(self, node) -> str:
        match node:
            case nodes.Text():
                return str(node)
            case nodes.Heading():
                return f"{self._text(node.title)}\n"
            case nodes.HTMLEntity():
                return node.normalize()
            case nodes.ExternalLink():
                return self._text(node.title)
            case nodes.Wikilink():
                return self._link(node)
            case nodes.Tag():
                return self._tag(node)
        return ""

    def _link(self, link) -> str:
        target = str(link.title)
        prefix, colon, _ = target.partition(":")
        space = prefix.strip().replace("_", " ")
        if colon and space and (space.lower() in self._hidden or FILE_TYPE.search(target)):
            return self._remove("files and categories", link)
        if colon and space in SITES:
            return self._remove("links to other languages", link)
        label = self._text(link.text)
        return label if label.strip() else self._text(link.title).strip().removeprefix(":")

    def _tag(self, tag) -> str:
        name = str(tag.tag).strip().lower()
        if name == "table":
            return self._remove("tables", tag)
        if name in DROPPED.split("|"):
            return self._remove("tags without running text", tag.contents or "")
        if name == "nowiki":
            return str(tag.contents or "")
        text = self._text(tag.contents)
        return f"\n{text}\n" if name in LINES and not tag.wiki_markup else text
