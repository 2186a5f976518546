"""The words of wordnets by their meaning: files of the Open Multilingual Wordnet and of Princeton WordNet 3.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from curation.errors import UsageError
from metadata.languages import LanguageTable
from metadata.lists.wordnet import WordnetFile, find_wikipedia, read_synset_lemmas, wordnet_files

ENGLISH: Final = "en"

Synsets = Mapping[str, tuple[str, ...]]  # the lemmas of a synset, or the synsets of a lemma


def find_files(folder: str) -> list[WordnetFile]:
    """Return the wordnet files in a folder and its folders, with those that were made from Wiktionary.

    Raises UsageError if there is none.
    """
    files = wordnet_files(map(str, sorted(Path(folder).rglob("*"))), wiktionary=True)
    if not files:
        raise UsageError(f"model: {folder} has no wordnet: give a folder with files wn-data-xxx.tab or data.noun …")
    return files


@lru_cache(maxsize=8)
def read_synsets(folder: str, lang: str) -> Synsets:
    """Return the lemmas of every synset of a language, in the order of the files; hand-made wordnets come first."""
    table, lemmas = LanguageTable.load(), dict[str, dict[str, None]]()
    of_lang = [file for file in find_files(folder) if _language(file, table) == lang]
    for file in sorted(of_lang, key=lambda file: file.from_wiktionary):
        with Path(file.path).open("rb") as stream:
            for synset, lemma in read_synset_lemmas(file, stream, Counter()):
                lemmas.setdefault(synset, {})[lemma] = None
    return {synset: tuple(words) for synset, words in lemmas.items()}


@lru_cache(maxsize=64)
def read_synonyms(folder: str, lang: str, max_synsets: int) -> Mapping[str, tuple[str, ...]]:
    """Return the synonyms of every lemma of a language that is in at most `max_synsets` synsets, if it has any."""
    synsets = read_synsets(folder, lang)
    found = {}
    for lemma, names in _synsets_of(synsets).items():
        words = dict.fromkeys(word for name in names for word in synsets[name] if word.lower() != lemma.lower())
        if words and len(names) <= max_synsets:
            found[lemma] = tuple(words)
    return found


@lru_cache(maxsize=64)
def read_english(folder: str, lang: str) -> Mapping[str, str]:
    """Return an English lemma for every lemma of a language: the first one of its first synset that has one."""
    english = read_synsets(folder, ENGLISH)
    pairs = _synsets_of(read_synsets(folder, lang)).items()
    return {lemma: word for lemma, names in pairs if (word := _first(english, names))}


def _language(file: WordnetFile, table: LanguageTable) -> str | None:
    code = find_wikipedia(file, table)
    return code and table.target(code)


def _first(english: Synsets, names: tuple[str, ...]) -> str | None:
    return next((english[name][0] for name in names if name in english), None)


def _synsets_of(synsets: Synsets) -> Synsets:
    names: dict[str, dict[str, None]] = {}
    for synset, lemma in _pairs(synsets):
        names.setdefault(lemma, {})[synset] = None
    return {lemma: tuple(each) for lemma, each in names.items()}


def _pairs(synsets: Synsets) -> Iterator[tuple[str, str]]:
    yield from ((synset, lemma) for synset, lemmas in synsets.items() for lemma in lemmas)
