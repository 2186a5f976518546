"""WordNet lemmas from Open Multilingual Wordnet tab files and from Princeton's `dict/` folder.

wn-data-<code>.tab    hand-made wordnets: `synset⇥lemma` or `xxx:lemma⇥text`; other rows (definitions, roots …) are
                      ignored. The code is taken from the file name, not from the folder
wn-wikt-<code>.tab    wordnets in the same layout, made from Wiktionary; read only on request, and only for Wikipedias
                      without a hand-made wordnet
data.noun …           Princeton WordNet, code `eng`: the first lemma of each synset, with its case, as in the published
                      English list
index.noun …          Princeton WordNet: every lemma, in lower case; read only if no data.noun … is in the same folder

A row without a word is dropped and counted: `placeholder` (`GAP!` marks a synset that the language has no word for),
`blank` (nothing that shows) or `control_character` (a damaged word).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Literal, cast

from curation.errors import InputError
from metadata.dumps.decompress import read_lines
from metadata.languages import LanguageTable
from metadata.lists.merge import has_controls, is_blank

TAB = re.compile(r"wn-(data|wikt)-([A-Za-z-]+)\.tab")
PRINCETON = re.compile(r"(data|index)\.(noun|verb|adj|adv)")
ENGLISH = "eng"
LEMMA = re.compile(rb"(?:[^:]+:)?lemma")
MARKER = re.compile(rb"\((?:a|p|ip)\)$")  # the position of an adjective, not a part of the word
PLUS = re.compile(r"(?<=[^\s+])\+(?=[^\s+])")  # joins the parts of a word (活泼+的), unlike those of C++
PLACEHOLDERS = frozenset({"gap!", "pseudogap!"})

Kind = Literal["tab", "data", "index"]


@dataclass(frozen=True)
class WordnetFile:
    """A file of lemmas and the language code in its name, with the prefix `wikt-` if it was made from Wiktionary."""

    path: str
    code: str
    kind: Kind = "tab"

    @property
    def from_wiktionary(self) -> bool:
        """Whether the file was made from Wiktionary."""
        return self.code.startswith("wikt-")


@dataclass(frozen=True)
class Wordnets:
    """Distinct lemmas per Wikipedia, in the order of the files, and counters.

    `rows` counts lemma rows per file, and `drops` unusable rows per file and reason. `unmapped` names files whose
    language has no Wikipedia in the language table: their rows are counted, but their lemmas are in no list. `errors`
    has the files that could not be read to their end, with the reason.
    """

    lemmas: dict[str, list[str]]
    rows: dict[str, int]
    drops: dict[str, Counter[str]]
    unmapped: list[str]
    errors: dict[str, str]


def wordnet_files(paths: Iterable[str], *, wiktionary: bool = False) -> list[WordnetFile]:
    """Return the wordnet files among paths, sorted by file name; other files are ignored."""
    wordnets = []
    for path in paths:
        name = PurePath(path).name
        if (tab := TAB.fullmatch(name)) and (wiktionary or tab[1] == "data"):
            wordnets.append(WordnetFile(path, tab[2] if tab[1] == "data" else f"wikt-{tab[2]}"))
        elif princeton := PRINCETON.fullmatch(name):
            wordnets.append(WordnetFile(path, ENGLISH, cast("Kind", princeton[1])))
    with_synsets = {PurePath(file.path).parent for file in wordnets if file.kind == "data"}
    wordnets = [file for file in wordnets if file.kind != "index" or PurePath(file.path).parent not in with_synsets]
    return sorted(wordnets, key=lambda file: (PurePath(file.path).name, file.path))


def find_wikipedia(file: WordnetFile, languages: LanguageTable) -> str | None:
    """Return the Wikipedia of a file's lemmas; None if the language table does not have the code of the file."""
    mapping = languages.wordnet_to_lang
    return mapping.get(file.code) or mapping.get(file.code.removeprefix("wikt-"))


def read_wordnets(
    files: Iterable[WordnetFile],
    open_binary: Callable[[str], BinaryIO],
    languages: LanguageTable,
    codes: Collection[str] | None = None,
) -> Wordnets:
    """Read the lemmas per Wikipedia; all files of a Wikipedia are merged.

    A file made from Wiktionary is skipped if its Wikipedia has a hand-made wordnet. With `codes`, files of other
    Wikipedias are not read.
    """
    files = [file for file in files if codes is None or find_wikipedia(file, languages) in {None, *codes}]
    hand_made = {find_wikipedia(file, languages) for file in files if not file.from_wiktionary} - {None}
    lemmas: dict[str, dict[str, None]] = {}
    wordnets = Wordnets({}, {}, {}, [], {})
    for file in files:
        code = find_wikipedia(file, languages)
        if file.from_wiktionary and code in hand_made:
            continue
        if code is None:
            wordnets.unmapped.append(file.path)
        distinct = lemmas.setdefault(code, {}) if code else {}
        wordnets.rows[file.path] = 0
        drops = wordnets.drops[file.path] = Counter()
        try:
            with open_binary(file.path) as stream:
                for lemma in READERS[file.kind](stream, file.path, drops):
                    wordnets.rows[file.path] += 1
                    distinct[lemma] = None
        except InputError as error:
            wordnets.errors[file.path] = str(error)
    wordnets.lemmas.update((code, list(distinct)) for code, distinct in lemmas.items())
    return wordnets


def read_tab(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the lemma of each lemma row of an open tab file, without the `+` between the parts of a word."""
    yield from (lemma for _, lemma in _tab_rows(stream, path, drops))


def _tab_rows(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield synset and lemma of each lemma row of an open tab file."""
    for line in read_lines(stream, path):
        fields = line.rstrip(b"\r").split(b"\t")
        if line.startswith(b"#") or len(fields) < 2 or not LEMMA.fullmatch(fields[1]):
            continue
        if len(fields) < 3:
            drops["malformed"] += 1
        elif (lemma := _lemma(fields[2], drops)) is not None:
            yield fields[0].decode("ascii", "replace"), PLUS.sub("", lemma)


def read_index(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the lemmas of an open Princeton index file; license lines are indented."""
    for line in read_lines(stream, path):
        if line.strip() and not line.startswith(b"  "):
            lemma = _lemma(line.split(b" ", 1)[0], drops)
            if lemma is not None:
                yield lemma


def read_synsets(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[str]:
    """Yield the first lemma of each synset of an open Princeton data file."""
    for fields in _synset_rows(stream, path, drops):
        if (lemma := _lemma(MARKER.sub(b"", fields[4]), drops)) is not None:
            yield lemma


def read_synset_lemmas(file: WordnetFile, stream: BinaryIO, drops: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield every lemma of an open tab or data file with its synset, as the Open Multilingual Wordnet names it.

    The name is the offset in Princeton WordNet 3.0 and the part of speech; one is the same in all files. Index files
    name synsets in another way, so they yield nothing.
    """
    if file.kind == "tab":
        yield from ((_synset(name), lemma) for name, lemma in _tab_rows(stream, file.path, drops))
    elif file.kind == "data":
        for fields in _synset_rows(stream, file.path, drops):
            name, words = b"-".join((fields[0], fields[2])).decode(), fields[5].split(b" ")
            for word in [fields[4], *words[1 : 2 * int(fields[3], 16) - 1 : 2]]:
                if (lemma := _lemma(MARKER.sub(b"", word), drops)) is not None:
                    yield _synset(name), lemma


def _synset(name: str) -> str:
    """Return a name of a synset in which adjectives of both kinds have the same part of speech."""
    return name[:-1] + "a" if name.endswith("-s") else name


def _synset_rows(stream: BinaryIO, path: str, drops: Counter[str]) -> Iterator[list[bytes]]:
    """Yield the fields of each row of an open Princeton data file: offset, file, kind, words, first word, the rest."""
    for line in read_lines(stream, path):
        if not line.strip() or line.startswith(b"  "):
            continue
        fields = line.split(b" ", 5)
        if len(fields) < 6 or not fields[0].isdigit():
            drops["malformed"] += 1
        else:
            yield fields


def _lemma(field: bytes, drops: Counter[str]) -> str | None:
    """Return the lemma in a field with spaces for `_`, or None if it holds no word; the reason is counted."""
    try:
        text = field.decode().strip()
    except UnicodeDecodeError:
        drops["not_utf8"] += 1
        return None
    lemma = " ".join(text.replace("_", " ").split())
    if has_controls(text):
        drops["control_character"] += 1
    elif is_blank(lemma):
        drops["blank"] += 1
    elif _visible(lemma).casefold() in PLACEHOLDERS:
        drops["placeholder"] += 1
    else:
        return lemma
    return None


def _visible(text: str) -> str:
    return "".join(char for char in text if not is_blank(char))


READERS: dict[Kind, Callable[[BinaryIO, str, Counter[str]], Iterator[str]]] = {
    "tab": read_tab,
    "data": read_synsets,
    "index": read_index,
}
