"""Where the entries of every Wikipedia are: in a list of its own, merged into another list, or in `other`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from metadata.languages import OTHER, LanguageTable


@dataclass(frozen=True)
class Coverage:
    """One Wikipedia and the key whose list holds its entries; `built` is true if a build has both."""

    code: str
    name: str
    lang: str
    built: bool

    @property
    def status(self) -> str:
        """Where the entries are, in words."""
        if self.lang == OTHER:
            return "in other"
        return "own list" if self.lang == self.code else f"merged into {self.lang}"


def coverage(table: LanguageTable, langs: Collection[str], wikipedias: Collection[str]) -> Iterator[Coverage]:
    """Yield the coverage of every Wikipedia, in the order of the table.

    Args:
        table: the language table.
        langs: the keys whose lists a build has.
        wikipedias: the Wikipedias whose source lists it has.
    """
    for code, language in table.languages.items():
        lang = table.target(code)
        yield Coverage(code, language.name, lang, lang in langs and code in wikipedias)
