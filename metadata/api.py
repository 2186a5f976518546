"""Fetches pages of one Wikipedia through its API, for a language without a dump, or to add to one.

    python -m metadata.api --language tpi --categories Category:Kantri --out sources --user_agent 'me (me@example.org)'

The pages' plain text goes to `sources/wikipedia/<code>/<name>-pages.json`, as JSON lines in the layout of CirrusSearch
dumps, which `jobs.build_metadata` reads like any dump (`wikipedia: sources/wikipedia/{code}/*`). Run it again after a
break: pages that are there stay. Beside a dump, name pages that the dump lacks: a page in both counts twice.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.config import Words
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import OutputError, UsageError
from metadata.languages import LanguageTable
from metadata.sources import check_known

if TYPE_CHECKING:
    from metadata.fetch.mediawiki import MediaWiki

log = logging.getLogger(__name__)

PROGRESS = 100  # pages between lines


class ApiConfig(BaseSettings):
    """All keys of fetching through the API."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_API_", env_ignore_empty=True)

    language: str | None = Field(None, description="Wikipedia code")
    categories: Words = Field(
        [], description="categories whose articles to fetch, with their namespace: Category:Trees"
    )
    category_depth: int = Field(0, ge=0, description="levels of subcategories to go down")
    titles: Words = Field([], description="titles of pages to fetch")
    titles_file: str | None = Field(None, description="file with a title a line")
    max_pages: int | None = Field(None, ge=1, description="fetch at most so many pages")
    name: str = Field("api", pattern=r"^[\w-]+$", description="name of the file, for several of one Wikipedia")
    out: str | None = Field(None, description="folder the file goes to")
    user_agent: str | None = Field(None, min_length=5, description="User-Agent header: who you are, how to reach you")
    api_url: str = Field(
        "https://{site}.wikipedia.org/w/api.php", description="the API; {site} is the Wikipedia's name"
    )
    requests_per_s: Annotated[float, Field(gt=0)] = Field(2.0, description="requests a second, one at a time")
    retries: int = Field(5, ge=0, description="further tries of a request that fails")
    backoff_s: Annotated[float, Field(gt=0)] = Field(1.0, description="seconds before the first of them, then doubled")
    timeout_s: Annotated[float, Field(gt=0)] = Field(30.0, description="seconds without an answer")


class PageFile:
    """Pages as JSON lines, growing under a hidden name until all are there.

    A line says which title was asked for: that of a document under `asked`, one that has no page as `delete`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.part")

    def __enter__(self) -> Self:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and not self._part.exists():
            self._path.rename(self._part)
        self._part.touch()
        self._file = self._part.open("rb+")
        self.there: set[str] = set()
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # a kill cut it off
            fields = json.loads(line)
            self.there.add(fields["asked"] if "asked" in fields else fields["delete"]["_id"])
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(whole)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, asked: str, found: tuple[str, int, str] | None) -> None:
        """Add what was found under a title."""
        fields: dict[str, Any] = {"delete": {"_id": asked}}
        if found is not None:
            fields = {**dict(zip(("title", "namespace", "text"), found, strict=True)), "asked": asked}
        self._file.write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self.there.add(asked)

    def finish(self) -> None:
        """Give the file its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.rename(self._path)


def wanted_titles(config: ApiConfig, wiki: MediaWiki) -> Iterator[str]:
    """Yield the titles that the config names, each once, those of categories last."""
    named = [*config.titles, *_titles_of(config.titles_file)] if config.titles_file else config.titles
    seen = set()
    members = (title for category in config.categories for title in wiki.members(category, config.category_depth))
    for title in chain(named, members):
        plain = " ".join(title.replace("_", " ").split())
        if plain and plain not in seen:
            seen.add(plain)
            yield plain


def _titles_of(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"titles_file: cannot read {path}: {error}") from error


def fetch(config: ApiConfig, wiki: MediaWiki, target: Path) -> Counter[str]:
    """Bring the wanted pages to a file; return how many were fetched, there before, and missing."""
    counts: Counter[str] = Counter(fetched=0, there=0, missing=0)
    with PageFile(target) as pages:
        for asked in islice(wanted_titles(config, wiki), config.max_pages):
            if asked in pages.there:
                counts["there"] += 1
                continue
            found = wiki.text(asked)
            pages.add(asked, found)
            counts["fetched" if found else "missing"] += 1
            if counts.total() % PROGRESS == 0:
                log.info("api: %s: %d pages", config.language, counts.total())
        pages.finish()
    return counts


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = load_config(
        ApiConfig,
        arguments,
        prog="python -m metadata.api",
        description=__doc__ or "",
        required=("language", "out", "user_agent"),
    )
    table, code = LanguageTable.load(), config.language or ""
    check_known("language", [code], table)
    if not (config.titles or config.titles_file or config.categories):
        raise UsageError("config: one of `titles`, `titles_file` and `categories` is needed: they say which pages")
    target = Path(config.out or "") / "wikipedia" / code / f"{config.name}-pages.json"
    try:
        counts = fetch(config, connect(config, code.replace("_", "-")), target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}") from error
    sys.stdout.write("".join(f"{name}\t{count}\n" for name, count in counts.items()) + f"{target}\n")


def connect(config: ApiConfig, site: str) -> MediaWiki:
    """Return the client of a Wikipedia's API. Raises UsageError where the library for it is not installed."""
    try:
        from metadata.fetch.mediawiki import MediaWiki
    except ImportError as error:
        raise UsageError("metadata.api needs wikipedia-api: pip install 'worldcurate[api]'") from error
    return MediaWiki(
        config.api_url.replace("{site}", site),
        site,
        config.user_agent or "",
        per_second=config.requests_per_s,
        retries=config.retries,
        backoff_s=config.backoff_s,
        timeout_s=config.timeout_s,
    )


if __name__ == "__main__":
    sys.exit(run_command(run))
