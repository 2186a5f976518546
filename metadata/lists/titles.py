"""Article titles by page views, from Wikimedia's page-view files, which cover all projects.

There are two layouts, recognized in each line by the first field; fields are separated by single spaces:

    hourly  `domain_code title count bytes`: `en` is the English Wikipedia, `en.m` its mobile and `en.zero` its
            zero-rated site, which are summed; every other suffix is another project (`en.b`, `en.m.b`, `commons.m` …)
    daily   `en.wikipedia title page_id access daily_total hourly_counts`; older files lack `access`

Forty days have tens of millions of titles, more than one task should hold. Files are therefore read into partial sums
of bounded size (`read_views`), which are partitioned into buckets by a hash of the title. Each bucket is summed and
ranked (`sum_bucket`), and the buckets are merged lazily, best first, until the list is full (`best_titles`).
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
from metadata.dumps.decompress import read_lines
from metadata.dumps.namespaces import CANONICAL
from metadata.limits import Limits, share_of
from metadata.ngrams.rank import Ranked

VIEWS = pa.schema([("code", pa.string()), ("title", pa.string()), ("views", pa.int64())])
HOURLY_SUFFIXES = (b"", b".m", b".zero")
DAILY_SUFFIX = b".wikipedia"
PENDING = 1 << 19  # distinct titles that one task holds as Python objects, about 250 bytes each
MAX_DIGITS = 15  # of a number of views, so that sums stay far below the int64 limit
# Spark encloses a field that contains quotation marks in quotation marks and escapes the inner ones with backslashes.
QUOTED = re.compile(r'"(?=.*\\")((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass
class ViewCounters:
    """Counters of a file's lines: lines = kept + dropped by reason.

    `error` is the reason why the file could not be read to its end or is not a page-view file; lines before the damage
    count.
    """

    lines: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    @property
    def kept(self) -> int:
        """The number of lines whose views count."""
        return self.lines - self.drops.total()


def read_views(
    stream: BinaryIO, path: str, sites: Mapping[str, str], counters: ViewCounters, pending: int = PENDING
) -> Iterator[pa.Table]:
    """Yield the views of the articles of some Wikipedias in an open file as tables of `VIEWS`; update the counters.

    The file is plain, .gz or .bz2. A table is yielded whenever `pending` titles are held, so a title may occur in
    several tables. `sites` maps the site names of the selected Wikipedias to their codes. Lines of other projects and
    sites, malformed lines, missing titles (`-`) and titles in a namespace with an English name are dropped and counted.
    Titles in namespaces with a wiki's own names are left to `sum_bucket`, which may know these names.
    """
    hourly = {site.encode() + suffix: code for site, code in sites.items() for suffix in HOURLY_SUFFIXES}
    daily = {site.encode() + DAILY_SUFFIX: code for site, code in sites.items()}
    views: Counter[tuple[str, str]] = Counter()
    try:
        for line in read_lines(stream, path):
            counters.lines += 1
            parsed = _parse(line, hourly, daily)
            if isinstance(parsed, str):
                counters.drops[parsed] += 1
                continue
            code, title, count = parsed
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
    """Return the code, title and views of a line, or the reason why it is dropped."""
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
    """Return a title as it is displayed: decoded, unquoted, in NFC and with single spaces."""
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
    """Return one bucket's articles by Wikipedia code, with summed views: most views first, ties by code points.

    `namespaces` are, by Wikipedia code, the wiki's names of namespaces other than articles, in lower case.
    """
    views = pa.concat_tables([VIEWS.empty_table(), *tables])
    summed = views.group_by(["code", "title"]).aggregate([("views", "sum")]).rename_columns(VIEWS.names)
    ranked = {}
    for code in sorted(pc.unique(summed["code"]).to_pylist()):
        names = namespaces.get(code, ())
        rows = summed.filter(pc.equal(summed["code"], code))
        is_article = [not _has_namespace(title, names) for title in rows["title"].to_pylist()]
        articles = rows.filter(pa.array(is_article, pa.bool_()))
        ranked[code] = articles.sort_by([("views", "descending"), ("title", "ascending")])
    return ranked


def best_titles(buckets: Iterable[Iterator[tuple[str, int]]], distinct: int, limits: Limits) -> Ranked:
    """Yield one Wikipedia's titles with `title_min_views` or more, at most the share `title_share` of all its titles.

    Titles with the most views come first; ties are broken by code points. `buckets` are the titles and views of each
    bucket, best first, and are read lazily; `distinct` is the number of titles in all buckets.
    """
    best = heapq.merge(*buckets, key=lambda row: (-row[1], row[0]))
    for title, views in islice(best, share_of(limits.title_share, distinct)):
        if views < limits.title_min_views:
            return
        yield title, float(views)
