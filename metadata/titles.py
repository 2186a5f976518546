"""Article titles by page views, from Wikimedia's page-view files, which hold all projects together.

Two layouts, told apart line by line by their first field; fields are separated by single spaces:

    hourly  `domain_code title count bytes`: `en` is the English Wikipedia, `en.m` its mobile and `en.zero` its
            zero-rated site, summed; every other suffix is another project (`en.b`, `en.m.b`, `commons.m` …)
    daily   `en.wikipedia title page_id access daily_total hourly_counts`, older files without `access`
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote

import pyarrow as pa

from curation.errors import InputError
from metadata.compressed import lines
from metadata.limits import Limits, share_of
from metadata.namespaces import CANONICAL
from metadata.ngrams import Ranked, ranked

VIEWS = pa.schema([("code", pa.string()), ("title", pa.string()), ("views", pa.int64())])
HOURLY_SUFFIXES = (b"", b".m", b".zero")
DAILY_SUFFIX = b".wikipedia"
PENDING = 1 << 20  # distinct titles held as Python objects; older ones wait, compact, in Arrow
# Spark writes a field with quotation marks in it between quotation marks, and a backslash before its own.
QUOTED = re.compile(r'"(?=.*\\")((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True)
class PageViews:
    """What one file gave: a table of `VIEWS`, and the books, lines = kept + dropped by reason.

    `error` says why the file could not be read to its end; what came before counts.
    """

    table: pa.Table
    lines: int
    kept: int
    drops: Mapping[str, int]
    error: str | None = None


def read_views(stream: BinaryIO, path: str, sites: Mapping[str, str]) -> PageViews:
    """Sum the views of every article of the wanted Wikipedias in one open file, plain, .gz or .bz2.

    `sites` maps the wanted site names to Wikipedia codes. Dropped and counted: lines of other projects and other
    sites, malformed ones, missing titles (`-`), and titles in a namespace with an English name; a wiki's own names
    are left to `rank_titles`, which may know them.
    """
    hourly = {site.encode() + suffix: code for site, code in sites.items() for suffix in HOURLY_SUFFIXES}
    daily = {site.encode() + DAILY_SUFFIX: code for site, code in sites.items()}
    pending: Counter[tuple[str, str]] = Counter()
    drops: Counter[str] = Counter()
    tables: list[pa.Table] = []
    total, error = 0, None
    try:
        for line in lines(stream, path):
            total += 1
            found = _parse(line, hourly, daily)
            if isinstance(found, str):
                drops[found] += 1
                continue
            code, title, views = found
            pending[code, title] += views
            if len(pending) >= PENDING:
                tables = [merge_views([*tables, _table(pending)])]
                pending.clear()
    except InputError as broken:
        error = str(broken)
    return PageViews(merge_views([*tables, _table(pending)]), total, total - drops.total(), dict(drops), error)


def _parse(line: bytes, hourly: Mapping[bytes, str], daily: Mapping[bytes, str]) -> tuple[str, str, int] | str:
    """Return code, title and views of a line, or the reason why it is dropped."""
    fields = line.rstrip(b"\r").split(b" ")
    if (code := hourly.get(fields[0])) is not None:
        at, whole = 2, len(fields) == 4
    elif (code := daily.get(fields[0])) is not None:
        at = 3 if len(fields) > 3 and fields[3].isdigit() else 4
        whole = at < len(fields) <= at + 2
    else:
        return "other_site" if len(fields) > 2 else "malformed"
    if not (whole and fields[at].isdigit()):
        return "malformed"
    try:
        title = _title(fields[1])
    except UnicodeDecodeError:
        return "not_utf8"
    if title in ("", "-"):
        return "no_title"
    if _has_namespace(title, CANONICAL):
        return "namespaced"
    return code, title, int(fields[at])


def _title(field: bytes) -> str:
    """Return a title as people read it."""
    title = unquote(field.decode(), errors="strict")
    if quoted := QUOTED.fullmatch(title):
        title = re.sub(r"\\(.)", r"\1", quoted[1])
    return " ".join(unicodedata.normalize("NFC", title.replace("_", " ")).split())


def _has_namespace(title: str, names: Collection[str]) -> bool:
    prefix, colon, _ = title.partition(":")
    return bool(colon) and prefix.rstrip().lower() in names


def _table(views: Mapping[tuple[str, str], int]) -> pa.Table:
    columns = [[code for code, _ in views], [title for _, title in views], list(views.values())]
    return pa.table(columns, schema=VIEWS)


def merge_views(tables: Iterable[pa.Table]) -> pa.Table:
    """Return one table of `VIEWS` with the sums of many, sorted by code and title."""
    views = pa.concat_tables([VIEWS.empty_table(), *tables])
    summed = views.group_by(["code", "title"]).aggregate([("views", "sum")]).rename_columns(VIEWS.names)
    return summed.cast(VIEWS).sort_by([("code", "ascending"), ("title", "ascending")])


def rank_titles(views: pa.Table, limits: Limits, namespaces: Collection[str] = frozenset()) -> Ranked:
    """Yield one Wikipedia's titles by falling views, ties by code points: the share of all that reach the floor.

    `views` holds each title once; `namespaces` are the wiki's own names of namespaces, in lower case, whose titles are
    no articles.
    """
    if namespaces:
        articles = [not _has_namespace(title, namespaces) for title in views["title"].to_pylist()]
        views = views.filter(pa.array(articles, pa.bool_()))
    kept = share_of(limits.title_share, views.num_rows)
    return ranked(views["title"], views["views"], floor=limits.title_min_views, most=kept)
