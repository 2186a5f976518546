"""Article titles by page views, from Wikimedia's page-view files, which hold all projects together.

Two layouts, told apart line by line by their first field; fields are separated by single spaces:

    hourly  `domain_code title count bytes`: `en` is the English Wikipedia, `en.m` its mobile and `en.zero` its
            zero-rated site, summed; every other suffix is another project (`en.b`, `en.m.b`, `commons.m` …)
    daily   `en.wikipedia title page_id access daily_total hourly_counts`, older files without `access`

Forty days hold tens of millions of titles, so no task holds them all: files are read into partial sums of bounded size
(`read_views`), which are spread over buckets by a hash of the title, summed and ranked a bucket at a time
(`sum_bucket`), and merged lazily, best first, as far as a list has room (`best_titles`).
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import InputError
from metadata.dumps.decompress import lines
from metadata.dumps.namespaces import CANONICAL
from metadata.limits import Limits, share_of
from metadata.ngrams.rank import Ranked

VIEWS = pa.schema([("code", pa.string()), ("title", pa.string()), ("views", pa.int64())])
HOURLY_SUFFIXES = (b"", b".m", b".zero")
DAILY_SUFFIX = b".wikipedia"
PENDING = 1 << 19  # distinct titles one task holds as Python objects, some 250 bytes each
MAX_DIGITS = 15  # of a number of views; sums of such stay far from the end of int64
# Spark writes a field with quotation marks in it between quotation marks, and a backslash before its own.
QUOTED = re.compile(r'"(?=.*\\")((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass
class ViewCounters:
    """What became of a file's lines: lines = kept + dropped by reason.

    `error` says why the file could not be read to its end, or is no page-view file; what came before counts.
    """

    lines: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    @property
    def kept(self) -> int:
        """Lines whose views count."""
        return self.lines - self.drops.total()


def read_views(
    stream: BinaryIO, path: str, sites: Mapping[str, str], counters: ViewCounters, pending: int = PENDING
) -> Iterator[pa.Table]:
    """Yield the views of every article of the wanted Wikipedias in one open file as tables of `VIEWS`; keep its books.

    The file is plain, .gz or .bz2. A table is yielded whenever `pending` titles are held, so a title may stand in
    several. `sites` maps the wanted site names to Wikipedia codes. Dropped and counted: lines of other projects and
    other sites, malformed ones, missing titles (`-`), and titles in a namespace with an English name; a wiki's own
    names are left to `sum_bucket`, which may know them.
    """
    hourly = {site.encode() + suffix: code for site, code in sites.items() for suffix in HOURLY_SUFFIXES}
    daily = {site.encode() + DAILY_SUFFIX: code for site, code in sites.items()}
    views: Counter[tuple[str, str]] = Counter()
    try:
        for line in lines(stream, path):
            counters.lines += 1
            found = _parse(line, hourly, daily)
            if isinstance(found, str):
                counters.drops[found] += 1
                continue
            code, title, count = found
            views[code, title] += count
            if len(views) >= pending:
                yield _table(views)
                views.clear()
        if counters.lines == counters.drops["malformed"]:
            counters.error = f"{path} holds no line of page views" + (": it is empty" if not counters.lines else "")
    except InputError as broken:
        counters.error = str(broken)
    yield _table(views)


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
    if not (whole and fields[at].isdigit() and len(fields[at]) <= MAX_DIGITS):
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


def sum_bucket(tables: Iterable[pa.Table], namespaces: Mapping[str, Collection[str]]) -> dict[str, pa.Table]:
    """Return one bucket's articles by Wikipedia code, with their views summed, best first, ties by code points.

    `namespaces` are the wikis' own names of namespaces, in lower case, whose titles are no articles.
    """
    views = pa.concat_tables([VIEWS.empty_table(), *tables])
    summed = views.group_by(["code", "title"]).aggregate([("views", "sum")]).rename_columns(VIEWS.names)
    found = {}
    for code in sorted(pc.unique(summed["code"]).to_pylist()):
        names = namespaces.get(code, ())
        mine = summed.filter(pc.equal(summed["code"], code))
        articles = [not _has_namespace(title, names) for title in mine["title"].to_pylist()]
        kept = mine.filter(pa.array(articles, pa.bool_()))
        found[code] = kept.sort_by([("views", "descending"), ("title", "ascending")])
    return found


def best_titles(buckets: Iterable[Iterator[tuple[str, int]]], distinct: int, limits: Limits) -> Ranked:
    """Yield one Wikipedia's titles by falling views, ties by code points: the share of all that reach the floor.

    `buckets` are its titles and views in each bucket, best first, read only as far as they are asked for; `distinct` is
    how many they are in all.
    """
    best = heapq.merge(*buckets, key=lambda row: (-row[1], row[0]))
    for title, views in islice(best, share_of(limits.title_share, distinct)):
        if views < limits.title_min_views:
            return
        yield title, float(views)
