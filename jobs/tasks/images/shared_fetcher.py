"""The fetcher of a worker process: tasks that run after each other share its connections and what it knows of hosts."""

from __future__ import annotations

from collections.abc import Sequence

from curation.cli.config import ImagesSection
from curation.filters.blocklists import UrlBlockList, entries
from curation.images.download import FetchSettings
from curation.images.fetch import Fetcher
from curation.io.backend import FileStat
from curation.io.storage import Storage

_fetchers: dict[tuple[FetchSettings, tuple[FileStat, ...]], Fetcher] = {}


def shared_fetcher(section: ImagesSection, block_lists: Sequence[FileStat], storage: Storage) -> Fetcher:
    """Return the process's fetcher for these settings and lists; one with other settings is closed."""
    settings = FetchSettings(
        timeout_s=section.timeout_s,
        task_timeout_s=section.task_timeout_s,
        max_bytes=section.max_bytes,
        allow_private_hosts=tuple(section.allow_private_hosts),
        user_agent=section.user_agent,
        honored=tuple(section.robots),
        tdm_reservation=section.tdm_reservation,
        robots_txt=section.robots_txt,
        retries=section.retries,
        connections=section.connections,
        connections_per_host=section.connections_per_host,
        host_delay_s=section.host_delay_s,
    )
    key = (settings, tuple(block_lists))
    if key not in _fetchers:
        while _fetchers:
            _fetchers.popitem()[1].close()
        lines = [line for file in block_lists for line in entries(storage.read_bytes(file.path))]
        _fetchers[key] = Fetcher(settings, UrlBlockList(lines))
    return _fetchers[key]
