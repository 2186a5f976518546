"""The steps of building metadata as pure functions, each the work of one task.

    a dump file          → count_dump      partial n-gram counts, to be summed over files (`ngrams.count.sum_grams`)
    a page-view file     → count_views     partial views of the selected Wikipedias, to be summed (`titles.sum_bucket`)
    the wordnet files    → wordnet.read_wordnets
    a Wikipedia          → source_list     its source list; lists with the same key are merged (`merge.merge_lists`)

Inputs are opened through a callable, so the steps do not depend on the storage.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa

from curation.errors import InputError
from metadata.dumps.cirrus import Document, is_cirrus, iter_documents
from metadata.dumps.decompress import read_lines
from metadata.dumps.namespaces import hidden_names, is_siteinfo, other_names, read_siteinfo
from metadata.dumps.splits import Split, iter_split_lines, iter_split_pages
from metadata.dumps.wikitext import plain_text
from metadata.dumps.xml import ARTICLES, Page, iter_pages
from metadata.languages import Language, LanguageTable
from metadata.limits import Limits
from metadata.lists.merge import NUMBERS, Entry, Scored, merge_sources
from metadata.lists.titles import ViewCounters, read_views
from metadata.lists.wordnet import Wordnets, read_wordnets, wordnet_files
from metadata.ngrams.count import NgramCounter, count_texts
from metadata.ngrams.tokens import tokenizer

log = logging.getLogger(__name__)

OpenBinary = Callable[[str], BinaryIO]


@dataclass
class DumpCounters:
    """Counters of a dump's pages: read = kept + dropped by reason.

    `namespaces` are the wiki's names of namespaces other than articles. `error` is the reason why the dump could not be
    read to its end; pages before the damage count.
    """

    read: int = 0
    kept: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    namespaces: frozenset[str] = frozenset()
    error: str | None = None


def count_dump(
    path: str,
    open_binary: OpenBinary,
    language: Language,
    counters: DumpCounters,
    split: Split | None = None,
    counter: NgramCounter | None = None,
) -> Iterator[pa.Table]:
    """Yield the n-gram counts of a dump file or a split of it as tables of `ngrams.count.GRAMS`; update its counters.

    Each table covers a window of the text, so an n-gram may occur in several tables.
    """
    words = tokenizer(language)
    texts = (words(text) for text in article_texts(path, open_binary, counters, split))
    yield from count_texts(texts, counter)


def article_texts(
    path: str, open_binary: OpenBinary, counters: DumpCounters, split: Split | None = None
) -> Iterator[str]:
    """Yield the readable text of every article of a dump file or a split of it, and update its counters."""
    try:
        with open_binary(path) as stream:
            if is_siteinfo(path):
                counters.namespaces = read_siteinfo(stream, path)
            elif is_cirrus(stream, path):
                lines = read_lines(stream, path) if split is None else iter_split_lines(stream, path, split)
                yield from _cirrus_texts(iter_documents(lines), counters)
                # a split with one line may hold just a damaged document
                if counters.read == counters.drops["malformed"] and (counters.read > 1 or split is None):
                    counters.error = f"{path} has no document of a search index"
            else:
                pages = iter_pages(stream, path) if split is None else iter_split_pages(stream, path, split)
                yield from _page_texts(pages, counters)
    except InputError as error:
        counters.error = str(error)


def _page_texts(pages: Iterable[Page], counters: DumpCounters) -> Iterator[str]:
    for page in pages:
        counters.read += 1
        counters.namespaces |= other_names(page.namespaces)
        if page.namespace != ARTICLES or page.is_redirect:
            counters.drops["redirect" if page.namespace == ARTICLES else "other_namespace"] += 1
        elif not page.is_whole:
            counters.drops["too_long"] += 1
        elif (text := _readable(page)) is None:
            counters.drops["unparsable"] += 1
        else:
            counters.kept += 1
            yield text


def _readable(page: Page) -> str | None:
    """Return a page's text, or None if the parser fails: one page of millions must not end a build."""
    try:
        return plain_text(page.text, hidden_names(page.namespaces))
    except Exception:
        log.exception("page %r cannot be parsed", page.title)
        return None


def _cirrus_texts(documents: Iterable[Document], counters: DumpCounters) -> Iterator[str]:
    for document in documents:
        counters.read += 1
        if document.text is None:
            counters.drops["malformed"] += 1
        elif document.namespace != ARTICLES:
            counters.drops["other_namespace"] += 1
        else:
            counters.kept += 1
            yield document.text


def count_views(
    path: str, open_binary: OpenBinary, languages: LanguageTable, codes: Iterable[str], counters: ViewCounters
) -> Iterator[pa.Table]:
    """Yield the views of the given Wikipedias in a page-view file as tables of `titles.VIEWS`; update its counters."""
    selected = set(codes)
    sites = {site: code for site, code in languages.site_to_code.items() if code in selected}
    try:
        with open_binary(path) as stream:
            yield from read_views(stream, path, sites, counters)
    except InputError as error:
        counters.error = str(error)


def read_lemmas(
    paths: Iterable[str],
    open_binary: OpenBinary,
    languages: LanguageTable,
    *,
    wiktionary: bool = False,
    codes: Collection[str] | None = None,
) -> Wordnets:
    """Return the lemmas per Wikipedia (with `codes`, of these alone) from the wordnet files among the paths."""
    return read_wordnets(wordnet_files(paths, wiktionary=wiktionary), open_binary, languages, codes)


def source_list(
    limits: Limits,
    *,
    lemmas: Iterable[str] = (),
    unigrams: Iterable[Scored] = (),
    bigrams: Iterable[Scored] = (),
    titles: Iterable[Scored] = (),
) -> list[Entry]:
    """Return one Wikipedia's source list, in the order in which its sources add entries.

    Unigrams and bigrams (`metadata.ngrams.rank`) and titles (`titles.best_titles`) must be ranked, best first.
    """
    return merge_sources(NUMBERS, lemmas, unigrams, bigrams, titles, limits)
