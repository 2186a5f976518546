"""WordNet lemmas from Open Multilingual Wordnet tab files and from Princeton's `dict/` folder.

wn-data-<code>.tab    hand-made wordnets: `synset⇥lemma` or `xxx:lemma⇥text`; other rows (definitions, roots …) are
                      no lemmas. The code is that of the file name, not of its folder
wn-wikt-<code>.tab    the same, made from Wiktionary: read only when asked for, and where no other wordnet is
data.noun …           Princeton WordNet, code `eng`: the first lemma of each synset, case kept, which is what the
                      published English list is made of
index.noun …          the same: every lemma, in lower case as it stands there; read only without data.noun … beside it
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Literal, cast

from curation.errors import InputError
from metadata.dumps.decompress import lines
from metadata.languages import LanguageTable

TAB = re.compile(r"wn-(data|wikt)-([A-Za-z-]+)\.tab")
PRINCETON = re.compile(r"(data|index)\.(noun|verb|adj|adv)")
ENGLISH = "eng"
LEMMA = re.compile(rb"(?:[^:]+:)?lemma")
MARKER = re.compile(rb"\((?:a|p|ip)\)$")  # where an adjective may stand: no part of the word

Kind = Literal["tab", "data", "index"]


@dataclass(frozen=True)
class WordnetFile:
    """A file of lemmas and its language: the code in its name, `wikt-` before it where Wiktionary made the file."""

    path: str
    code: str
    kind: Kind = "tab"

    @property
    def from_wiktionary(self) -> bool:
        """Whether it was made from Wiktionary."""
        return self.code.startswith("wikt-")


@dataclass(frozen=True)
class Wordnets:
    """Lemmas per Wikipedia, each once, in the order of the files; and the books.

    `rows` counts lemma rows per file and `drops` unusable ones by reason; `unmapped` names files of languages that have
    no Wikipedia in the language table (their rows are counted, their lemmas in no list), `errors` the files that could
    not be read to their end, with the reason.
    """

    lemmas: dict[str, list[str]]
    rows: dict[str, int]
    drops: dict[str, Counter[str]]
    unmapped: list[str]
    errors: dict[str, str]


def wordnet_files(paths: Iterable[str], *, wiktionary: bool = False) -> list[WordnetFile]:
    """Return the wordnet files among paths, sorted by file name; other files are none of ours."""
    found = []
    for path in paths:
        name = PurePath(path).name
        if (tab := TAB.fullmatch(name)) and (wiktionary or tab[1] == "data"):
            found.append(WordnetFile(path, tab[2] if tab[1] == "data" else f"wikt-{tab[2]}"))
        elif princeton := PRINCETON.fullmatch(name):
            found.append(WordnetFile(path, ENGLISH, cast("Kind", princeton[1])))
    with_synsets = {PurePath(file.path).parent for file in found if file.kind == "data"}
    found = [file for file in found if file.kind != "index" or PurePath(file.path).parent not in with_synsets]
    return sorted(found, key=lambda file: (PurePath(file.path).name, file.path))


def wikipedia_of(file: WordnetFile, languages: LanguageTable) -> str | None:
    """Return the Wikipedia a file's lemmas belong to; None when the language table does not know its code."""
    mapping = languages.wordnet_to_lang
    return mapping.get(file.code) or mapping.get(file.code.removeprefix("wikt-"))


def read_wordnets(
    files: Iterable[WordnetFile], open_binary: Callable[[str], BinaryIO], languages: LanguageTable
) -> Wordnets:
    """Read lemmas per Wikipedia; the files of one code, and of codes of one Wikipedia, merge.

    A file made from Wiktionary is passed over where its Wikipedia has a hand-made one.
    """
    files = list(files)
    hand_made = {wikipedia_of(file, languages) for file in files if not file.from_wiktionary} - {None}
    lemmas: dict[str, dict[str, None]] = {}
    counters = Wordnets({}, {}, {}, [], {})
    for file in files:
        code = wikipedia_of(file, languages)
        if file.from_wiktionary and code in hand_made:
            continue
        if code is None:
            counters.unmapped.append(file.path)
        kept = lemmas.setdefault(code, {}) if code else {}
        counters.rows[file.path] = 0
        drops = counters.drops[file.path] = Counter()
        try:
            with open_binary(file.path) as stream:
                for lemma in READERS[file.kind](stream, file.path, drops):
                    counters.rows[file.path] += 1
                    kept[lemma] = None
        except InputError as error:
            counters.errors[file.path] = str(error)
    counters.lemmas.update((code, list(kept)) for code, kept in lemmas.items())
    return counters


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


def read_synsets(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the first lemma of each synset of an open Princeton data file, `_` as space."""
    for line in lines(stream, path):
        if not line.strip() or line.startswith(b"  "):
            continue
        fields = line.split(b" ", 5)
        if len(fields) < 6 or not fields[0].isdigit():
            drops["malformed"] += 1
        elif (text := _decoded(MARKER.sub(b"", fields[4]), drops)) is not None:
            yield text.replace("_", " ")


def _decoded(field: bytes, drops: Counter[str]) -> str | None:
    try:
        return field.decode()
    except UnicodeDecodeError:
        drops["not_utf8"] += 1
        return None


READERS: dict[Kind, Callable[[BinaryIO, str, Counter[str]], Iterator[str]]] = {
    "tab": read_tab,
    "data": read_synsets,
    "index": read_index,
}
