"""Fetch the sources of metadata for some languages: dumps, page-view files and wordnets.

    python -m metadata.download --languages de,fr --date 2024-05-01 --out sources --user_agent 'me (me@example.org)'

After an interruption, run the command again: complete files are kept and partial ones are resumed. Then set the
jobs' config keys `wikipedia: sources/wikipedia/{code}/*`, `pageviews: sources/pageviews`, `wordnet: sources/wordnet`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliImplicitFlag, SettingsConfigDict

from curation.cli.config import Words
from curation.cli.run import run_command
from curation.errors import InputError, UsageError, WorldcurateError
from metadata.config import FetchConfig, MetadataSection
from metadata.fetch import wikimedia
from metadata.fetch.downloader import Downloader, DownloadFile
from metadata.languages import LanguageTable
from metadata.sources import select_languages

log = logging.getLogger(__name__)

ERRORS_SHOWN = 3


class DownloadConfig(FetchConfig):
    """Keys of the command `metadata.download`."""

    model_config = SettingsConfigDict(env_prefix="WORLDCURATE_DOWNLOAD_")

    languages: Words = Field([], description="Wikipedias, by code, or all")
    date: str | None = Field(None, description="date of the dumps, such as 2024-05-01; without it no dump is fetched")
    dump: Literal["articles", "cirrussearch"] = Field(
        "articles", description="kind of dump: wikitext (articles) or plain text (cirrussearch)"
    )
    pageview_dates: Words = Field([], description="days whose page views are fetched, such as 2024-05-01")
    pageviews: Literal["daily", "hourly"] = Field("daily", description="page-view files: one per day, or one per hour")
    wordnets: bool = Field(True, description="fetch the wordnets of the languages")
    wiktionary: bool = Field(False, description="also fetch the wordnets made from Wiktionary")
    dumps_url: str = Field("https://dumps.wikimedia.org", description="URL of the dumps and page views")
    wordnets_url: str = Field(
        "https://raw.githubusercontent.com/omwn/omw-data/main/wns", description="URL of the wordnets"
    )
    connections: int = Field(2, ge=1, description="parallel downloads; Wikimedia allows only a few")
    dry_run: CliImplicitFlag[bool] = Field(False, description="list the files without fetching them")


def find_files(config: DownloadConfig, downloader: Downloader) -> tuple[list[DownloadFile], list[WorldcurateError]]:
    """Return every file that the config asks for, and the errors of dumps whose files cannot be listed.

    Raises UsageError for unknown languages and invalid dates.
    """
    table = LanguageTable.load()
    codes = select_languages(MetadataSection(languages=config.languages), table)
    dates = [wikimedia.parse_date("pageview_dates", text) for text in config.pageview_dates]
    files = list(wikimedia.page_views(config.dumps_url, dates, hourly=config.pageviews == "hourly"))
    if config.wordnets:
        files += wikimedia.wordnets(config.wordnets_url, codes, table, wiktionary=config.wiktionary)
    failed: list[WorldcurateError] = []
    if config.date:
        date = wikimedia.parse_date("date", config.date)
        list_parts = wikimedia.cirrus_dump if config.dump == "cirrussearch" else wikimedia.article_dump
        for code in codes:
            try:
                files += list(list_parts(downloader, config.dumps_url, code, date))  # all parts or none
            except InputError as error:
                failed.append(error)
    return files, failed


def fetch_all(config: DownloadConfig, downloader: Downloader, files: Sequence[DownloadFile]) -> list[WorldcurateError]:
    """Fetch files in parallel, print the outcome of each, and return the errors of those that failed."""
    folder = Path(config.out or "")

    def fetch(file: DownloadFile) -> WorldcurateError | str:
        try:
            return downloader.fetch(file, folder)
        except WorldcurateError as error:
            return error

    failed = []
    with ThreadPoolExecutor(config.connections) as pool:
        for file, outcome in zip(files, pool.map(fetch, files), strict=True):
            if isinstance(outcome, WorldcurateError):
                failed.append(outcome)
                outcome = "failed"
            sys.stdout.write(f"{outcome}\t{file.path}\n")
    return failed


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = DownloadConfig.load(
        arguments, prog="python -m metadata.download", description=__doc__, required="languages"
    )
    downloader = Downloader(
        config.user_agent or "",
        timeout_s=config.timeout_s,
        retries=config.retries,
        backoff_s=config.backoff_s,
        connections=config.connections,
    )
    files, failed = find_files(config, downloader)
    if not files and not failed:
        raise UsageError("download: nothing to fetch: set date, pageview_dates or wordnets")
    if config.dry_run:
        sys.stdout.writelines(f"{'' if file.size is None else file.size}\t{file.url}\n" for file in files)
    else:
        failed += fetch_all(config, downloader, files)
    if failed:
        named = "; ".join(str(error) for error in failed[:ERRORS_SHOWN])
        more = f" and {len(failed) - ERRORS_SHOWN} more" if len(failed) > ERRORS_SHOWN else ""
        raise InputError(f"download: {len(failed)} could not be fetched: {named}{more}; run again to continue")


if __name__ == "__main__":
    sys.exit(run_command(run))
