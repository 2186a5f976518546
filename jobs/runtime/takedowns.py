"""Takedowns on record, and which tombstones can affect a partition at all.

A takedown looks for the images and hosts that it names in every published partition, and records in `runs` (stage
`takedown`) which runs it searched and in which it found something. A tombstone without an image in the input of a stage
cannot change its output, so it is not part of the stage's fingerprint, and a takedown makes stale only what it affects.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from curation import __version__
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.tombstones import Tombstones
from jobs.runtime.runs import append_run

STAGE = "takedown"


@dataclass(frozen=True)
class Search:
    """What a takedown searched: the names, the runs whose files it read, and by run the names that it found.

    `batches` gives the batch of each run in which it found something.
    """

    names: frozenset[str]
    searched: frozenset[str]
    found: Mapping[str, frozenset[str]]
    batches: Mapping[str, str]

    def absent(self, run_id: str) -> Collection[str]:
        """Return the names that no image of a run has, as far as this takedown knows."""
        return self.names - self.found.get(run_id, frozenset()) if run_id in self.searched else ()


def relevant_digest(lake: Lake, tombstones: Tombstones, read: Snapshot) -> str:
    """Return the hash of the tombstones that can hide an image of a partition: all but those known to be absent."""
    if not tombstones.names:
        return tombstones.digest
    searches = list(read_searches(lake))
    absent = [{name for search in searches for name in search.absent(run_id)} for run_id in read.run_ids]
    return tombstones.without(set.intersection(*absent) if absent else ()).digest


def read_searches(lake: Lake) -> Iterator[Search]:
    """Yield the searches of all takedowns."""
    for inputs in lake.rows("runs", {"stage": [STAGE]})["inputs"].to_pylist():
        yield _parse(json.loads(inputs))


def _parse(record: Mapping[str, Any]) -> Search:
    found = {run_id: frozenset(names) for run_id, names in record["found"].items()}
    return Search(frozenset(record["names"]), frozenset(record["searched"]), found, record["batches"])


def record_search(lake: Lake, search: Search, run_id: str, started: datetime, totals: Mapping[str, Any]) -> None:
    """Add a takedown to `runs`, before its tombstones are added.

    Only names without a tombstone may be recorded: a later search would change the fingerprint of stages that have
    applied a tombstone.
    """
    inputs = {
        "names": sorted(search.names),
        "searched": sorted(search.searched),
        "found": {run: sorted(names) for run, names in search.found.items()},
        "batches": dict(search.batches),
    }
    append_run(lake, _row(run_id, started, inputs, totals))


def _row(run_id: str, started: datetime, inputs: Mapping[str, Any], totals: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "stage": STAGE,
        "batch": "",
        "started": started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "code_version": __version__,
        "fingerprint": "",
        "complete": True,
        "config": "{}",
        "inputs": json.dumps(inputs, sort_keys=True),
        "totals": json.dumps(dict(totals), sort_keys=True),
        "drops": "{}",
        "seconds": "{}",
    }
