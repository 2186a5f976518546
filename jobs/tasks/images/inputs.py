"""The input files of a batch, whose folders image references may name."""

from __future__ import annotations

import json

from curation.io.paths import is_http
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run


def ingested_files(context: Context, batch: str) -> list[str]:
    """Return the files that the pairs of a batch were read from, by the runs that wrote them.

    With `seen_action: merge`, an image may have the reference of an earlier batch, so the files of those that the batch
    was compared with are included. WAT files are not: they name no references. Runs do not record the signatures of
    URLs; the config has them.
    """
    lake = context.lake
    pending, seen = list(lake.snapshot("pairs", {"batch": batch}).run_ids), set[str]()
    files: set[str] = set()
    while pending:
        run_id = pending.pop()
        row = None if run_id in seen else find_run(lake, run_id, "pairs")
        seen.add(run_id)
        if row is None:
            continue
        inputs = json.loads(row["inputs"])
        if json.loads(row["config"])["ingest"]["format"] != "wat":
            files.update(path for path, *_ in inputs.get("files", ()))
        pending += [earlier for run_ids in inputs.get("seen", {}).values() for earlier in run_ids]
    return sorted(files) + [path for path in context.config.ingest.inputs if is_http(path)]
