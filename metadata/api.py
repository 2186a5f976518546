"""Fetch pages of one Wikipedia through its API, for a language without a dump or to supplement a dump.

    python -m metadata.api --language tpi --categories Category:Kantri --out sources --user_agent 'me (me@example.org)'

The plain text of the pages is written to `sources/wikipedia/<code>/<name>-pages.json`, as JSON lines in the layout of
CirrusSearch dumps, which `jobs.build_metadata` reads like any dump (`wikipedia: sources/wikipedia/{code}/*`). After an
interruption, run the command again: pages already fetched are skipped. To supplement a dump, name only pages that the
dump lacks: a page in both is counted twice.
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
from pydantic_settings import SettingsConfigDict

from curation.cli.config import Words
from curation.cli.locations import Location
from curation.cli.run import run_command
from curation.errors import OutputError, UsageError
from metadata.config import FetchConfig
from metadata.languages import LanguageTable
from metadata.sources import check_known

if TYPE_CHECKING:
    from metadata.fetch.mediawiki import MediaWiki

log = logging.getLogger(__name__)

PROGRESS = 100  # pages between two progress lines


class ApiConfig(FetchConfig):
    """Keys of the command `metadata.api`."""

    model_config = SettingsConfigDict(env_prefix="WORLDCURATE_API_")

    language: str | None = Field(None, description="code of the Wikipedia")
    categories: Words = Field(
        [], description="categories whose articles are fetched, with the namespace: Category:Trees"
    )
    category_depth: int = Field(0, ge=0, description="levels of subcategories to include")
    titles: Words = Field([], description="titles of the pages to fetch")
    titles_file: Location | None = Field(None, description="file with one title per line")
    max_pages: int | None = Field(None, ge=1, description="maximum number of pages to fetch")
    name: str = Field("api", pattern=r"^[\w-]+$", description="name of the output file, if a Wikipedia has several")
    user_agent: str | None = Field(
        None, min_length=5, description="User-Agent header: who you are and how to reach you"
    )
    api_url: str = Field(
        "https://{site}.wikipedia.org/w/api.php", description="URL of the API; {site} is the Wikipedia's site name"
    )
    requests_per_s: Annotated[float, Field(gt=0)] = Field(
        2.0, description="maximum requests per second; they are sent one at a time"
    )
    retries: int = Field(5, ge=0, description="retries of a failed request")
    timeout_s: Annotated[float, Field(gt=0)] = Field(30.0, description="seconds to wait for an answer")


class PageFile:
    """A file of pages as JSON lines; it has a hidden name until it is complete.

    Each line holds a requested title: a document has it as `asked`, a missing page as the id under `delete`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.part")

    def __enter__(self) -> Self:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and not self._part.exists():
            self._path.rename(self._part)
        self._part.touch()
        self._file = self._part.open("rb+")
        self.requested: set[str] = set()
        size = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # truncated when an earlier run was killed
            fields = json.loads(line)
            self.requested.add(fields["asked"] if "asked" in fields else fields["delete"]["_id"])
            size += len(line)
        self._file.truncate(size)
        self._file.seek(size)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, title: str, page: tuple[str, int, str] | None) -> None:
        """Add the page of a requested title (its title, namespace and text), or None if there is no such page."""
        fields: dict[str, Any] = {"delete": {"_id": title}}
        if page is not None:
            fields = {**dict(zip(("title", "namespace", "text"), page, strict=True)), "asked": title}
        self._file.write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self.requested.add(title)

    def finish(self) -> None:
        """Rename the complete file to its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.rename(self._path)


def list_titles(config: ApiConfig, wiki: MediaWiki) -> Iterator[str]:
    """Yield each title that the config names once, those of categories last."""
    named = [*config.titles, *_read_titles(config.titles_file)] if config.titles_file else config.titles
    seen = set()
    members = (title for category in config.categories for title in wiki.members(category, config.category_depth))
    for title in chain(named, members):
        normalized = " ".join(title.replace("_", " ").split())
        if normalized and normalized not in seen:
            seen.add(normalized)
            yield normalized


def _read_titles(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"titles_file: cannot read {path}: {error}") from error


def fetch(config: ApiConfig, wiki: MediaWiki, target: Path) -> Counter[str]:
    """Write the pages that the config names to a file; return how many were fetched, already there, and missing."""
    counts: Counter[str] = Counter(fetched=0, there=0, missing=0)
    with PageFile(target) as pages:
        for title in islice(list_titles(config, wiki), config.max_pages):
            if title in pages.requested:
                counts["there"] += 1
                continue
            page = wiki.text(title)
            pages.add(title, page)
            counts["fetched" if page else "missing"] += 1
            if counts.total() % PROGRESS == 0:
                log.info("api: %s: %d pages", config.language, counts.total())
        pages.finish()
    return counts


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    config = ApiConfig.load(arguments, prog="python -m metadata.api", description=__doc__, required="language")
    table, code = LanguageTable.load(), config.language or ""
    check_known("language", [code], table)
    if not (config.titles or config.titles_file or config.categories):
        raise UsageError("config: one of `titles`, `titles_file` and `categories` is needed: they select the pages")
    target = Path(config.out or "") / "wikipedia" / code / f"{config.name}-pages.json"
    try:
        counts = fetch(config, connect(config, code.replace("_", "-")), target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}") from error
    sys.stdout.write("".join(f"{name}\t{count}\n" for name, count in counts.items()) + f"{target}\n")


def connect(config: ApiConfig, site: str) -> MediaWiki:
    """Return a client of a Wikipedia's API. Raises UsageError if its library is not installed."""
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
