"""What becomes of every Wikipedia of the language table: a list of its own, one merged into another, or in `other`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from metadata.languages import OTHER, LanguageTable


@dataclass(frozen=True)
class Covered:
    """One Wikipedia and the key whose list holds its entries; `built` tells whether a build has both."""

    code: str
    name: str
    lang: str
    built: bool

    @property
    def how(self) -> str:
        """In words."""
        if self.lang == OTHER:
            return "in other"
        return "own list" if self.lang == self.code else f"merged into {self.lang}"


def coverage(table: LanguageTable, langs: Collection[str], wikipedias: Collection[str]) -> Iterator[Covered]:
    """Yield what becomes of every Wikipedia, in the table's order.

    `langs` are the keys whose lists a build has, `wikipedias` those whose source lists it has.
    """
    for code, language in table.languages.items():
        lang = table.target(code)
        yield Covered(code, language.name, lang, lang in langs and code in wikipedias)
