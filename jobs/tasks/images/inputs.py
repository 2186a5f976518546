"""The sources of a batch's image references: which files they may name, and how these files are read."""

from __future__ import annotations

import json
from collections import defaultdict

from curation.images.ref_roots import RefRoots
from curation.images.ref_sources import RefSource, RefSources
from curation.io.paths import is_http
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run
from jobs.tasks.ingest.sources import source_of

IMAGE_COLUMN = "image"  # of Parquet files that a reference names, unless image_column names another


def ref_sources(context: Context, batch: str) -> RefSources:
    """Return the sources of a batch's references, read as the config says; a source that it lacks, as the first one.

    Runs do not record the signatures of URLs; the config has them.
    """
    sections = context.config.ingest.all_sources()
    files = defaultdict(set)
    for number, path in _ingested_files(context, batch):
        files[number if number < len(sections) else 0].add(path)
    sources = []
    for number, section in enumerate(sections):
        paths = sorted(files[number]) + [path for path in section.inputs if is_http(path)]
        roots = RefRoots.of_inputs(section.ref_roots, paths)
        sources.append(RefSource(roots, context.config.open_inputs(section), section.image_column or IMAGE_COLUMN))
    return RefSources(sources)


def _ingested_files(context: Context, batch: str) -> set[tuple[int, str]]:
    """Return the files that the pairs of a batch were read from by the runs that wrote them, with their sources.

    With `seen_action: merge`, an image may have the reference of an earlier batch, so the files of those that the batch
    was compared with are included. WAT files are not: they name no references.
    """
    lake = context.lake
    pending, seen = list(lake.snapshot("pairs", {"batch": batch}).run_ids), set[str]()
    files: set[tuple[int, str]] = set()
    while pending:
        run_id = pending.pop()
        row = None if run_id in seen else find_run(lake, run_id, "pairs")
        seen.add(run_id)
        if row is None:
            continue
        inputs, section = json.loads(row["inputs"]), json.loads(row["config"])["ingest"]
        formats = [section["format"], *(source["format"] for source in section.get("sources", ()))]
        named = [(source_of(record), record[0]) for record in inputs.get("files", ())]
        files.update((number, path) for number, path in named if formats[number] != "wat")
        pending += [earlier for run_ids in inputs.get("seen", {}).values() for earlier in run_ids]
    return files
