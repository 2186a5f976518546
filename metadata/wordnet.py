"""WordNet lemmas from Open Multilingual Wordnet tab files and from Princeton's index files.

wn-data-<code>.tab    hand-made wordnets: `synset⇥lemma` or `xxx:lemma⇥text`; other rows (definitions, roots …) are
                      no lemmas. The code is that of the file name, not of its folder
wn-wikt-<code>.tab    the same, made from Wiktionary: read only when asked for
index.noun …          Princeton WordNet, code `eng`: every lemma, in lower case as it stands there
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from curation.errors import InputError
from metadata.compressed import lines
from metadata.languages import LanguageTable

TAB = re.compile(r"wn-(data|wikt)-([A-Za-z-]+)\.tab")
INDEX = re.compile(r"index\.(noun|verb|adj|adv)")
PRINCETON = "eng"
LEMMA = re.compile(rb"(?:[^:]+:)?lemma")


@dataclass(frozen=True)
class WordnetFile:
    """A file of lemmas and its language: the code in its name, `wikt-` before it where Wiktionary made the file."""

    path: str
    code: str

    @property
    def princeton(self) -> bool:
        """Whether it is an index of Princeton WordNet, not a tab file."""
        return not self.path.endswith(".tab")


@dataclass(frozen=True)
class Wordnets:
    """Lemmas per Wikipedia, each once, in the order of the files; and the books.

    `rows` counts lemma rows per file, `drops` unusable ones by reason; `unmapped` names files whose code no row of the
    language table has, `errors` the files that could not be read to their end, with the reason.
    """

    lemmas: dict[str, list[str]]
    rows: dict[str, int]
    drops: Counter[str]
    unmapped: list[str]
    errors: dict[str, str]


def wordnet_files(paths: Iterable[str], *, wiktionary: bool = False) -> list[WordnetFile]:
    """Return the wordnet files among paths, sorted by file name; other files are none of ours."""
    found = []
    for path in paths:
        name = PurePath(path).name
        if (tab := TAB.fullmatch(name)) and (wiktionary or tab[1] == "data"):
            found.append(WordnetFile(path, tab[2] if tab[1] == "data" else f"wikt-{tab[2]}"))
        elif INDEX.fullmatch(name):
            found.append(WordnetFile(path, PRINCETON))
    return sorted(found, key=lambda file: (PurePath(file.path).name, file.path))


def wikipedia_of(file: WordnetFile, languages: LanguageTable) -> str | None:
    """Return the Wikipedia a file's lemmas belong to; None when the language table does not know its code."""
    mapping = languages.wordnet_to_lang
    return mapping.get(file.code) or mapping.get(file.code.removeprefix("wikt-"))


def read_wordnets(
    files: Iterable[WordnetFile], open_binary: Callable[[str], BinaryIO], languages: LanguageTable
) -> Wordnets:
    """Read lemmas per Wikipedia; the files of one code, and of codes of one Wikipedia, merge."""
    lemmas: dict[str, dict[str, None]] = {}
    books = Wordnets({}, {}, Counter(), [], {})
    for file in files:
        code = wikipedia_of(file, languages)
        if code is None:
            books.unmapped.append(file.path)
            continue
        books.rows[file.path] = 0
        kept = lemmas.setdefault(code, {})
        try:
            with open_binary(file.path) as stream:
                read = read_index if file.princeton else read_tab
                for lemma in read(stream, file.path, books.drops):
                    books.rows[file.path] += 1
                    kept[lemma] = None
        except InputError as error:
            books.errors[file.path] = str(error)
    books.lemmas.update((code, list(kept)) for code, kept in lemmas.items())
    return books


def read_tab(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the lemmas of an open tab file, `_` as space and `+` removed, one a lemma row."""
    for line in lines(stream, path):
        fields = line.rstrip(b"\r").split(b"\t")
        if line.startswith(b"#") or len(fields) < 2 or not LEMMA.fullmatch(fields[1]):
            continue
        if len(fields) < 3:
            drops["malformed"] += 1
        elif (text := _decoded(fields[2], drops)) is not None:
            yield " ".join(text.replace("_", " ").replace("+", "").split())


def read_index(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the lemmas of an open Princeton index file, `_` as space; its licence is indented by two spaces."""
    for line in lines(stream, path):
        if line.strip() and not line.startswith(b"  "):
            text = _decoded(line.split(b" ", 1)[0], drops)
            if text is not None:
                yield text.replace("_", " ")


def _decoded(field: bytes, drops: Counter[str]) -> str | None:
    try:
        return field.decode()
    except UnicodeDecodeError:
        drops["not_utf8"] += 1
        return None
