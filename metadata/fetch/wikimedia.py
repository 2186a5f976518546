"""Locate the sources of metadata on Wikimedia's servers and in the Open Multilingual Wordnet's repository.

    dumps       <dumps>/<db>/<date>/dumpstatus.json names the parts of a dump with size and SHA-1
    cirrus      <dumps>/other/cirrus_search_index/<date>/index_name=<db>_content/ lists the parts of a dump,
                <db>_content-<date>-00000.json.bz2 …, and `_SUCCESS` when it is complete; until 2026 it was one file,
                <dumps>/other/cirrussearch/<date>/<db>-<date>-cirrussearch-content.json.gz;
                <dumps>/<db>/latest/<db>-latest-siteinfo-namespaces.json.gz has the wiki's names of namespaces
    page views  <dumps>/other/pageview_complete/2024/2024-05/pageviews-20240501-user.bz2           daily
                <dumps>/other/pageviews/2024/2024-05/pageviews-20240501-130000.gz                  hourly
    wordnets    <wordnets>/<project>/wn-data-<code>.tab, <wordnets>/wikt/wn-wikt-<code>.tab

Only dumps have published checksums; for other files the length is verified.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date as Date  # noqa: N812 - `date` is the date of a dump
from typing import Any

from curation.errors import InputError, UsageError
from curation.io.http_source import MissingError
from metadata.dumps.namespaces import SITEINFO
from metadata.fetch.downloader import Downloader, DownloadFile
from metadata.languages import LanguageTable

PARTS = "articlesmultistreamdump"
DATABASES = {"be_tarask": "be_x_old"}  # its dumps use an older code
PROJECTS = {  # of manual wordnets whose folder is not named by their own code
    "cat": ("mcr",), "cmn": ("cow",), "eus": ("mcr",), "glg": ("mcr",), "ind": ("msa",), "ita": ("ita", "iwn"),
    "nno": ("nor",), "nob": ("nor",), "qcn": ("cwn",), "spa": ("mcr",), "zsm": ("msa",),
}  # fmt: skip


def parse_date(key: str, text: str) -> Date:
    """Return a date written as 20240501 or 2024-05-01. Raises UsageError that names the key."""
    try:
        return Date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{key}: {text!r} is not a date: write 2024-05-01") from error


def database(code: str) -> str:
    """Return the database name of a Wikipedia, with which the names of its dumps start."""
    return f"{DATABASES.get(code, code)}wiki"


def article_dump(downloader: Downloader, base: str, code: str, date: Date) -> Iterator[DownloadFile]:
    """Yield the files of one Wikipedia's dump. Raises InputError when it does not exist or is not complete yet."""
    db = database(code)
    url = f"{base}/{db}/{date:%Y%m%d}/dumpstatus.json"
    try:
        job: dict[str, Any] = downloader.json(url)["jobs"][PARTS]
        status, files = job["status"], job.get("files", {})
    except MissingError as error:
        raise InputError(f"{url}: there is no dump of {code} of {date}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{url} does not list {PARTS}") from error
    if status != "done":
        raise InputError(f"{url}: the dump of {code} of {date} is not complete: its status is {status!r}")
    for name, facts in sorted(files.items()):
        if ".xml" in name:  # the others are indexes
            path = f"wikipedia/{code}/{name}"
            yield DownloadFile(f"{base}/{db}/{date:%Y%m%d}/{name}", path, facts.get("size"), facts.get("sha1"))


def cirrus_dump(downloader: Downloader, base: str, code: str, date: Date) -> Iterator[DownloadFile]:
    """Yield the files of one Wikipedia's CirrusSearch dump, and the file of its namespace names, which the dump lacks.

    If the folder of the dump is missing, the dump is assumed to be the single file that older dumps consist of. Raises
    InputError when the dump is not complete yet.
    """
    db = database(code)
    siteinfo = f"{db}-latest-{SITEINFO}.gz"
    yield DownloadFile(f"{base}/{db}/latest/{siteinfo}", f"wikipedia/{code}/{siteinfo}", optional=True)
    folder = f"{base}/other/cirrus_search_index/{date:%Y%m%d}/index_name%3D{db}_content"
    try:
        listing = downloader.text(f"{folder}/")
    except MissingError:
        name = f"{db}-{date:%Y%m%d}-cirrussearch-content.json.gz"
        yield DownloadFile(f"{base}/other/cirrussearch/{date:%Y%m%d}/{name}", f"wikipedia/{code}/{name}")
        return
    names = sorted(set(re.findall(rf"\b{db}_content-{date:%Y%m%d}-\d+\.json\.bz2\b", listing)))
    if "_SUCCESS" not in listing or not names:
        raise InputError(f"{folder}/: the dump of {code} of {date} is not complete")
    for name in names:
        yield DownloadFile(f"{folder}/{name}", f"wikipedia/{code}/{name}")


def page_views(base: str, dates: Iterable[Date], *, hourly: bool) -> Iterator[DownloadFile]:
    """Yield the page-view files of several days."""
    for date in dates:
        if not hourly:
            name = f"pageviews-{date:%Y%m%d}-user.bz2"
            yield DownloadFile(f"{base}/other/pageview_complete/{date:%Y/%Y-%m}/{name}", f"pageviews/{name}")
            continue
        for hour in range(24):
            name = f"pageviews-{date:%Y%m%d}-{hour:02}0000.gz"
            yield DownloadFile(f"{base}/other/pageviews/{date:%Y/%Y-%m}/{name}", f"pageviews/{name}")


def wordnets(base: str, codes: Sequence[str], table: LanguageTable, *, wiktionary: bool) -> Iterator[DownloadFile]:
    """Yield the wordnet files that the language table names for these Wikipedias; a Wikipedia may have none."""
    for code in codes:
        for wordnet in table.languages[code].wordnets:
            bare = wordnet.removeprefix("wikt-")
            projects = PROJECTS.get(bare, (bare,)) if bare == wordnet else ()
            names = [f"{project}/wn-data-{bare}.tab" for project in projects]
            for name in [*names, *([f"wikt/wn-wikt-{bare}.tab"] if wiktionary else [])]:
                yield DownloadFile(f"{base}/{name}", f"wordnet/{name}", optional=True)
