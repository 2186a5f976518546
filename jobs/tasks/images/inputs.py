"""What the fetch reads beside the curated pairs: the sources of image references, and lists of hosts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curation.cli.ingest_config import SourceSection
from curation.errors import InputError, UsageError
from curation.images.codec.heif import has_heif
from curation.images.refs.roots import RefRoots
from curation.images.refs.sources import RefSource, RefSources
from curation.io.backend import FileStat
from curation.io.paths import is_http
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run
from jobs.tasks.ingest.sources import source_of

IMAGE_COLUMN = "image"  # of Parquet files that a reference names, unless image_column names another
REFERENCE_KEYS = ("format", "ref_column", "image_column")  # these determine what a reference means


def ref_sources(context: Context, batch: str) -> RefSources:
    """Return the sources of a batch's references.

    A file is read as the run of ingest recorded it. Access to it is that of the source of the config that reads alike,
    wherever the list of sources has it now; if there is none, its references reach the folders of its inputs. Runs do
    not record the signatures of URLs; the config has them.
    """
    sections: list[SourceSection] = list(context.config.ingest.all_sources())
    files = defaultdict(set)
    for recorded, path in _ingested_files(context, batch):
        files[_position(sections, recorded)].add(path)
    sources = []
    for number, section in enumerate(sections):
        paths = sorted(files[number]) + [path for path in section.inputs if is_http(path)]
        roots = RefRoots.of_inputs(section.ref_roots, paths)
        sources.append(RefSource(roots, context.config.open_inputs(section), section.image_column or IMAGE_COLUMN))
    return RefSources(sources)


def block_lists(context: Context) -> list[FileStat]:
    """Return the files of `images.block_hosts`. Raises UsageError if one cannot be read."""
    try:
        return [context.storage.stat(path) for path in context.config.images.block_hosts]
    except InputError as error:
        raise UsageError(f"images.block_hosts: {error}") from error


def check_formats(context: Context) -> None:
    """Raise UsageError for a format whose package is not installed."""
    if "heif" in context.config.images.formats and not has_heif():
        raise UsageError("images.formats: heif needs the package pillow-heif: install worldcurate[heif] or remove it")


def _position(sections: list[SourceSection], recorded: SourceSection) -> int:
    """Return the position of the section that reads references as a recorded one did, and has most keys in common.

    If there is none, the recorded section is appended, without its `ref_roots`, which the config no longer allows.
    """
    alike = [_common(section, recorded, REFERENCE_KEYS) == len(REFERENCE_KEYS) for section in sections]
    same = [number for number, is_alike in enumerate(alike) if is_alike]
    if same:
        return max(same, key=lambda number: _common(sections[number], recorded, SourceSection.model_fields))
    sections.append(recorded.model_copy(update={"ref_roots": None}))
    return len(sections) - 1


def _common(a: SourceSection, b: SourceSection, keys: Iterable[str]) -> int:
    """Return how many of some keys have the same value in two sections."""
    return sum(getattr(a, key) == getattr(b, key) for key in keys)


def _ingested_files(context: Context, batch: str) -> Iterator[tuple[SourceSection, str]]:
    """Yield the files that the pairs of a batch were read from by the runs that wrote them, with their sources.

    With `seen_action: merge`, an image may have the reference of an earlier batch, so the files of those that the batch
    was compared with are included. WAT files are not: they name no references.
    """
    lake = context.lake
    pending, seen = list(lake.snapshot("pairs", {"batch": batch}).run_ids), set[str]()
    while pending:
        run_id = pending.pop()
        row = None if run_id in seen else find_run(lake, run_id, "pairs")
        seen.add(run_id)
        if row is None:
            continue
        inputs, sections = json.loads(row["inputs"]), _recorded_sections(json.loads(row["config"])["ingest"])
        named = [(sections[source_of(record)], record[0]) for record in inputs.get("files", ())]
        yield from ((section, path) for section, path in named if section.format != "wat")
        pending += [earlier for run_ids in inputs.get("seen", {}).values() for earlier in run_ids]


def _recorded_sections(ingest: Mapping[str, Any]) -> list[SourceSection]:
    """Return the sources that a run recorded, by position; keys that an earlier release had are left out."""
    sections = [ingest, *ingest.get("sources", ())]
    return [
        SourceSection.model_validate({key: section[key] for key in SourceSection.model_fields if key in section})
        for section in sections
    ]
