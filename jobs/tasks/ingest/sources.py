"""The input files of a batch, each with the source that tells how it is opened and read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from curation.cli.ingest_config import IngestSection
from curation.errors import InputError, UsageError
from curation.images.refs.roots import name_of
from curation.io.backend import FileStat
from curation.io.inputs import list_inputs, sampled
from curation.io.storage import Storage
from jobs.runtime.config import Config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The storage of some inputs, and the section with the keys that they are read with."""

    storage: Storage
    section: IngestSection


class InputFile(NamedTuple):
    """An input file, and the position of its source: 0 for `ingest.inputs`, n for the n-th of `ingest.sources`."""

    file: FileStat
    source: int = 0

    def __str__(self) -> str:
        return self.file.path

    @property
    def record(self) -> list[Any]:
        """The file as it is part of a fingerprint; the source is left out where there is only one."""
        return [self.file.path, self.file.size, self.file.etag, *([self.source] if self.source else [])]

    @classmethod
    def of_record(cls, record: Sequence[Any]) -> Self:
        """Return the file of a `record`."""
        return cls(FileStat(*record[:3]), source_of(record))


def source_of(record: Sequence[Any]) -> int:
    """Return the position of the source of a recorded file."""
    return int(record[3]) if len(record) > 3 else 0


def sources_of(config: Config) -> list[Source]:
    """Return the sources of a batch, by position."""
    return [Source(config.open_inputs(section), section) for section in config.ingest.all_sources()]


def list_files(config: Config, sources: Sequence[Source]) -> list[InputFile]:
    """Return the input files of all sources, or the configured share of them.

    Raises UsageError if there are no inputs, or if two of them could not be told apart.
    """
    _check_given(config.ingest)
    files = [
        InputFile(file, number)
        for number, source in enumerate(sources)
        for file in list_inputs(source.storage, source.section.inputs, source.section.base_url)
    ]
    _check_names(files)
    section = config.ingest
    if section.sample == 1 or section.sample_of != "inputs":
        return files
    chosen = set(sampled([file for file, _ in files], section.sample, config.seed))
    if not chosen:
        raise InputError(f"ingest.sample: a share of {section.sample:g} of {len(files)} files contains none")
    log.info("ingest: a sample of %d of %d files", len(chosen), len(files))
    return [file for file in files if file.file in chosen]


def _check_given(section: IngestSection) -> None:
    """Raise UsageError if no source has inputs."""
    if not any(source.inputs for source in section.all_sources()):
        raise UsageError(
            "config: key `ingest.inputs` is missing: there is nothing to read: set it in the file or as --ingest.inputs"
        )


def _check_names(files: Sequence[InputFile]) -> None:
    """Raise UsageError if two inputs have the same name: their references and ledger rows would be the same."""
    names = Counter(name_of(file.path) for file, _ in files)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is None:
        return
    if len({source for file, source in files if name_of(file.path) == twice}) > 1:
        raise UsageError(f"ingest.sources: {twice} is an input of several sources: list it in one")
    raise UsageError(
        f"ingest.inputs: {twice} is listed with several secrets, which are not stored, so its rows could not be told "
        "apart: list it once"
    )
