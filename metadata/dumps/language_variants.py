"""LanguageConverter markup: `-{flags|zh-hans:…; zh-hant:…}-` shows one of several variants of a text.

Wikis with several scripts or spellings (Chinese, Serbian, Kazakh …) use it. The first variant is shown, as MediaWiki
does for a reader who has chosen none. Markup without variants shows its text, also if it is restricted to some variants
(`-{zh-hans;zh-hant|…}-`). Some flags show nothing. Codes of variants are never part of the text.
"""

from __future__ import annotations

import re

# The languages with a converter in MediaWiki; `en-x-piglatin` is its test language.
CODE = re.compile(
    r"(?:(?:ban|crh|gan|ike|iu|kk|ku|mni|sh|shi|sr|tg|tly|uz|wuu|zgh|zh)(?:-[a-z0-9]+)*|en-x-piglatin)", re.IGNORECASE
)
LABEL = re.compile(rf"(?:\A|;)(?:[^:;=]*=>)?\s*{CODE.pattern}\s*:", re.IGNORECASE)
FLAGS = frozenset("ADHNRST+-")
HIDING = frozenset("HN-")  # only adds a rule, shows the name of a variant, or removes a rule
SHOWING = frozenset("AS")


def shown_variant(content: str) -> str:
    """Return the text that a markup `-{content}-` shows; markup inside it must have been replaced before."""
    start, bar, rules = content.partition("|")
    if not bar or "\n" in start:
        return _first_variant(content)
    names = {name.strip() for name in start.split(";")}
    flags = names & FLAGS
    if "R" in flags:
        return LABEL.sub(" ", rules)
    if flags & HIDING or flags == {"T"}:
        return ""
    if any(map(CODE.fullmatch, names)):
        return _first_variant(rules)
    return "" if flags and ("D" in flags or not flags & SHOWING) else _first_variant(rules)


def without_codes(text: str) -> str:
    """Return the text after an unclosed `-{` without the flags and codes of variants."""
    start, bar, rules = text.partition("|")
    names = [name.strip() for name in start.split(";")]
    if bar and all(name in {"", *FLAGS} or CODE.fullmatch(name) for name in names):
        text = rules
    return LABEL.sub(" ", text)


def _first_variant(rules: str) -> str:
    """Return the text of the first variant that has one, or all of the text if it names no variant.

    A semicolon ends a text only if a variant follows: other semicolons belong to the text, such as those of entities.
    """
    texts: list[list[str]] = []
    for piece in rules.split(";"):
        label, colon, text = piece.partition(":")
        if colon and CODE.fullmatch(label.rpartition("=>")[2].strip()):
            texts.append([text])
        elif texts and piece.strip():
            texts[-1].append(piece)
    if not texts:
        return rules
    return next(filter(None, (";".join(text).strip() for text in texts)), "")
