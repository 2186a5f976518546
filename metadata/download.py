"""Fetches what metadata is built from: dumps, page-view files and wordnets of the chosen languages.

    python -m metadata.download --languages de,fr --date 2024-05-01 --out sources --user_agent 'me (me@example.org)'

Run it again after a break: whole files stay, begun ones are continued. What it fetched is then named in the jobs'
config as `wikipedia: sources/wikipedia/{code}/*`, `pageviews: sources/pageviews`, `wordnet: sources/wordnet`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from curation.cli.config import Words
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError, UsageError, WorldcurateError
from metadata.config import MetadataSection
from metadata.fetch import wikimedia
from metadata.fetch.downloader import Downloader, RemoteFile
from metadata.languages import LanguageTable
from metadata.sources import wanted

log = logging.getLogger(__name__)

ERRORS_SHOWN = 3


class DownloadConfig(BaseSettings):
    """All keys of a download."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="WORLDCURATE_DOWNLOAD_", env_ignore_empty=True
    )

    languages: Words = Field([], description="Wikipedia codes, or all")
    date: str | None = Field(None, description="date of the dumps, 2024-05-01; without it no dump is fetched")
    dump: Literal["articles", "cirrussearch"] = Field("articles", description="which dump: wikitext or plain text")
    pageview_dates: Words = Field([], description="days of page views to fetch")
    pageviews: Literal["daily", "hourly"] = Field("daily", description="a file a day, or 24")
    wordnets: bool = Field(True, description="fetch the wordnets of the languages")
    wiktionary: bool = Field(False, description="fetch the wordnets made from Wiktionary too")
    out: str | None = Field(None, description="folder the files go to")
    user_agent: str | None = Field(None, description="User-Agent header: who you are and how to reach you")
    dumps_url: str = Field("https://dumps.wikimedia.org", description="where dumps and page views lie")
    wordnets_url: str = Field(
        "https://raw.githubusercontent.com/omwn/omw-data/main/wns", description="where wordnets lie"
    )
    connections: int = Field(2, ge=1, description="downloads at once; Wikimedia allows a few")
    retries: int = Field(5, ge=0, description="further tries in a row without a new byte")
    backoff_s: Annotated[float, Field(gt=0)] = Field(1.0, description="seconds before the first of them, then doubled")
    timeout_s: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds without an answer")
    dry_run: CliImplicitFlag[bool] = Field(False, description="only list the files")


def find_files(config: DownloadConfig, downloader: Downloader) -> tuple[list[RemoteFile], list[WorldcurateError]]:
    """Return every file the config asks for, and why others cannot be listed.

    Raises UsageError for unknown languages and dates that are none.
    """
    table = LanguageTable.load()
    codes = wanted(MetadataSection(languages=config.languages), table)
    dates = [wikimedia.parse_date("pageview_dates", text) for text in config.pageview_dates]
    files = list(wikimedia.page_views(config.dumps_url, dates, hourly=config.pageviews == "hourly"))
    if config.wordnets:
        files += wikimedia.wordnets(config.wordnets_url, codes, table, wiktionary=config.wiktionary)
    failed: list[WorldcurateError] = []
    if config.date:
        date = wikimedia.parse_date("date", config.date)
        parts_of = wikimedia.cirrus_dump if config.dump == "cirrussearch" else wikimedia.article_dump
        for code in codes:
            try:
                files += list(parts_of(downloader, config.dumps_url, code, date))  # all of them or none
            except InputError as error:
                failed.append(error)
    return files, failed


def fetch_all(config: DownloadConfig, downloader: Downloader, files: Sequence[RemoteFile]) -> list[WorldcurateError]:
    """Fetch files, a few at once, print what came of each, and return why some could not be had."""
    folder = Path(config.out or "")

    def fetch(file: RemoteFile) -> WorldcurateError | str:
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
            sys.stdout.write(f"{outcome}\t{file.place}\n")
    return failed


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = load_config(
        DownloadConfig,
        arguments,
        prog="python -m metadata.download",
        description=__doc__ or "",
        required=("languages", "out", "user_agent"),
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
        raise InputError(f"download: {len(failed)} could not be had: {named}{more}; run again to go on")


if __name__ == "__main__":
    sys.exit(run_command(run))
