"""Pages of a Wikipedia dump: MediaWiki's XML export, read as a stream.

Files are plain, .bz2 or .gz, in any encoding that the XML declaration or byte order mark names, with or without
`<siteinfo>`. Memory holds one page at a time. Document types are refused, so no entity is expanded or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

from curation.errors import InputError
from metadata.dumps.decompress import read_blocks

MAX_TEXT = 64 << 20  # characters; MediaWiki itself stops at 2 MiB
ARTICLES = 0
TITLE = ["mediawiki", "page", "title"]
NUMBER = ["mediawiki", "page", "ns"]
REDIRECT = ["mediawiki", "page", "redirect"]
TEXT = ["mediawiki", "page", "revision", "text"]
NAMESPACE = ["mediawiki", "siteinfo", "namespaces", "namespace"]
COLLECTED = (TITLE, NUMBER, TEXT, NAMESPACE)


class Page(NamedTuple):
    """One page: the wikitext of its last revision, and the wiki's namespace names by number (empty if not given).

    If `is_whole` is false, the text was left out because it is longer than `MAX_TEXT`.
    """

    title: str
    namespace: int
    is_redirect: bool
    text: str
    namespaces: Mapping[int, str]
    is_whole: bool = True


def iter_pages(stream: BinaryIO, path: str = "the dump") -> Iterator[Page]:
    """Yield every page of an open dump.

    Raises InputError, which names `path`, at damage (broken XML, a truncated or corrupt .bz2) after yielding the pages
    before it.
    """
    reader = PageReader(path)
    for block in read_blocks(stream, path):
        yield from reader.feed(block)
    yield from reader.feed(b"", last=True)


class PageReader:
    """Collects pages from expat events; `_where` is the path of open elements."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._where: list[str] = []
        self._collected: list[str] = []
        self._size = 0
        self._pages: list[Page] = []
        self._namespaces: dict[int, str] = {}
        self._key = ""
        self._new_page()
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[Page]:
        """Parse a block and yield the pages that it completes. Raises InputError after them if the XML is broken."""
        error: InputError | None = None
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as broken:
            error = InputError(f"{self._path} is not a complete XML export: {broken}")
        except InputError as refused:
            error = refused
        yield from self._pages
        self._pages.clear()
        if error:
            raise error

    def _new_page(self) -> None:
        self._title, self._text = "", ""
        self._number: int | None = None
        self._redirect, self._whole = False, True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._where and name != "mediawiki":
            raise InputError(f"{self._path} is not a MediaWiki export: its root element is <{name}>")
        self._where.append(name)
        if self._where in COLLECTED:
            self._key = attributes.get("key", "")
            self._collected, self._size = [], 0
            self._parser.CharacterDataHandler = self._collect
        elif self._where == REDIRECT:
            self._redirect = True

    def _collect(self, data: str) -> None:
        self._size += len(data)
        if self._size <= MAX_TEXT:
            self._collected.append(data)
        elif self._whole:
            self._collected, self._whole = [], False

    def _end(self, name: str) -> None:
        if self._where in COLLECTED:
            self._parser.CharacterDataHandler = None
            self._take("".join(self._collected))
        self._where.pop()
        if name == "page" and self._where == ["mediawiki"]:
            self._pages.append(self._page())
            self._new_page()

    def _take(self, value: str) -> None:
        if self._where == TITLE:
            self._title = value
        elif self._where == TEXT:
            self._text = value  # the last revision wins
        elif self._where == NUMBER:
            self._number = _integer(value)
        elif (key := _integer(self._key)) is not None:
            self._namespaces[key] = value

    def _page(self) -> Page:
        number = self._namespace_of_title() if self._number is None else self._number
        # Exports older than version 0.4 mark redirects only in the text.
        redirect = self._redirect or self._text.lstrip()[:9].upper() == "#REDIRECT"
        return Page(self._title, number, redirect, self._text, self._namespaces, self._whole)

    def _namespace_of_title(self) -> int:
        """Return the namespace in the title's prefix; exports older than version 0.6 do not state the number."""
        prefix, colon, _ = self._title.partition(":")
        named = {name: key for key, name in self._namespaces.items() if name}
        return named.get(prefix, ARTICLES) if colon else ARTICLES

    def _refuse_doctype(self, *_: object) -> None:
        raise InputError(f"{self._path} declares a document type, which no MediaWiki export does")


def _integer(value: str) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None
