"""Find the files that a build reads: the dumps, page-view files and wordnets of the languages in the config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from curation.errors import InputError, UsageError
from curation.io.backend import FileStat
from curation.io.storage import Storage
from metadata.config import MetadataSection
from metadata.dumps.splits import Split, find_splits
from metadata.languages import LanguageTable
from metadata.lists.wordnet import wordnet_files

INDEX = "-multistream-index"  # in the name of a dump's index, which is not a dump
LAYOUT = re.compile(r"(pages-articles(?:-multistream)?|cirrussearch-content|wiki_content-)(\d?)")
DATE = re.compile(r"(?<=-)\d{8}(?=-)")
WORDNET_NAMES = "wn-data-<code>.tab, data.noun …, index.noun … (and wn-wikt-<code>.tab with metadata.wiktionary)"


@dataclass(frozen=True)
class Source:
    """One source file, a split of one, or all wordnet files, which are small and merged without duplicates.

    Only dumps have a `code` and a `split`.
    """

    kind: Literal["dump", "views", "wordnet"]
    files: tuple[FileStat, ...]
    code: str = ""
    split: Split | None = None


def select_languages(section: MetadataSection, table: LanguageTable) -> list[str]:
    """Return the sorted Wikipedia codes to build. Raises UsageError for an unknown code."""
    if section.languages == ["all"]:
        return sorted(code for code in table.languages if code != "other")
    check_known("metadata.languages", section.languages, table)
    return sorted(set(section.languages))


def check_known(key: str, codes: Sequence[str], table: LanguageTable) -> None:
    """Raise UsageError, which names the config key, for a code that is not in the language table."""
    for code in codes:
        if code not in table.languages:
            raise UsageError(f"{key}: unknown language {code!r}: use Wikipedia codes such as en or zh_yue")


def find_sources(
    storage: Storage, section: MetadataSection, codes: Sequence[str], table: LanguageTable
) -> list[Source]:
    """Return all source files of the given languages. Raises InputError for a path or pattern without files."""
    dumps = {
        (code, file.path): file
        for pattern in section.wikipedia
        for code, file in find_dumps(storage, pattern, codes, table)
        if INDEX not in file.path
    }
    check_once(dumps)
    sources = [Source("dump", (file,), code) for (code, _), file in dumps.items()]
    sources += [Source("views", (file,)) for file in storage.expand_all(section.pageviews)]
    if section.wordnet:
        files = storage.expand_all(section.wordnet)
        if not wordnet_files((file.path for file in files), wiktionary=section.wiktionary):
            raise InputError(
                f"metadata.wordnet: no wordnet among {len(files)} files: wordnets are named {WORDNET_NAMES}"
            )
        sources.append(Source("wordnet", tuple(files)))
    if not sources:
        raise UsageError("config: metadata.wikipedia, metadata.pageviews and metadata.wordnet are all empty")
    return sources


def check_once(dumps: Iterable[tuple[str, str]]) -> None:
    """Raise UsageError for two dumps of one Wikipedia of different dates or layouts: its pages would be counted twice.

    Large dumps are also published both as one file and in parts. `dumps` are Wikipedia codes and paths; files without
    one of Wikimedia's names are not checked.
    """
    seen: dict[str, tuple[str, tuple[str, bool, str]]] = {}
    for code, path in dumps:
        if (dump := _parse_name(path)) is None:
            continue
        other, known = seen.setdefault(code, (path, dump))
        if known != dump:
            raise UsageError(f"metadata.wikipedia: {other} and {path} hold the same pages of {code}: name one of them")


def _parse_name(path: str) -> tuple[str, bool, str] | None:
    """Return the layout of a dump file, whether it is a part of a dump, and the date; None for other names."""
    name = path.rpartition("/")[2]
    layout, date = LAYOUT.search(name), DATE.search(name)
    return (layout[1], bool(layout[2]), date[0] if date else "") if layout else None


def split_sources(sources: Sequence[Source], split_bytes: int) -> Iterator[Source]:
    """Yield the sources, with large dump files in splits of at most `split_bytes`."""
    for source in sources:
        if source.kind != "dump" or source.files[0].size <= split_bytes:
            yield source
            continue
        (file,) = source.files
        yield from (replace(source, split=split) for split in find_splits(file.path, file.size, split_bytes))


def find_dumps(
    storage: Storage, pattern: str, codes: Sequence[str], table: LanguageTable
) -> Iterator[tuple[str, FileStat]]:
    """Yield the dumps of a `code=path-or-glob` or of a pattern with {code}."""
    code, equals, path = pattern.partition("=")
    if "{code}" not in pattern:
        if not equals:
            raise UsageError(f"metadata.wikipedia: {pattern!r} is neither code=path nor a pattern with {{code}}")
        check_known("metadata.wikipedia", [code], table)
        if code in codes:
            yield from ((code, file) for file in storage.expand(path))
        return
    has_files = False
    for code in codes:
        try:
            files = storage.expand(pattern.replace("{code}", code))
        except InputError:
            continue
        has_files = True
        yield from ((code, file) for file in files)
    if not has_files:
        raise InputError(f"metadata.wikipedia: no file matches {pattern} for any language")
