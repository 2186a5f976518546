"""The URL algorithm of published batches: image ids of different numbers must never be compared or counted together.

Ingest records the number in its run's inputs. A batch of a release that did not record it has number 1.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from curation.errors import UsageError
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.tombstones import rekey
from curation.urls import ALGORITHM
from jobs.runtime.runs import find_run

log = logging.getLogger(__name__)

KEY: Final = "url_algorithm"  # in the inputs of a run of ingest


def of_pairs(lake: Lake, batches: Mapping[str, Snapshot]) -> dict[str, int]:
    """Return the URL algorithm of the pairs of each batch that has some."""
    return _numbers(lake, {batch: pairs.run_ids[0] for batch, pairs in batches.items() if pairs.files})


def of_counts(lake: Lake, batches: Mapping[str, Snapshot]) -> dict[str, int]:
    """Return the URL algorithm of the pairs that the counts of each batch were made from."""
    inputs = _inputs(lake, {batch: counts.run_ids[0] for batch, counts in batches.items()}, "counts")
    return _numbers(lake, {batch: found["pairs"][0] for batch, found in inputs.items() if found.get("pairs")})


def check_same(numbers: Mapping[str, int], key: str, remedy: str) -> None:
    """Raise UsageError, which names the batches, unless all of them have the same number."""
    groups: dict[int, list[str]] = {}
    for batch, number in numbers.items():
        groups.setdefault(number, []).append(batch)
    if len(groups) > 1:
        parts = [f"{', '.join(groups[number])} with URL algorithm {number}" for number in sorted(groups)]
        raise UsageError(
            f"{key}: batches with different image ids cannot be used together ({'; '.join(parts)}): {remedy}"
        )


def rekey_tombstones(lake: Lake) -> None:
    """Add tombstones with the present ids of images, if batches of another URL algorithm are published.

    Both ingest and match call this, before the pairs of such a batch are replaced and before tombstones are applied.
    """
    if not lake.rows("tombstones").num_rows:
        return
    pairs = lake.snapshot("pairs").by("batch")
    others = [batch for batch, number in of_pairs(lake, pairs).items() if number != ALGORITHM]
    paths = [file.path for batch in others for file in pairs[batch].files]
    if added := rekey(lake, paths):
        log.info("tombstones: %d added, with the URLs and the present ids of images", added)


def _numbers(lake: Lake, runs: Mapping[str, str]) -> dict[str, int]:
    return {batch: int(inputs.get(KEY, 1)) for batch, inputs in _inputs(lake, runs, "pairs").items()}


def _inputs(lake: Lake, runs: Mapping[str, str], table: str) -> dict[str, dict[str, Any]]:
    """Return the inputs of each batch's run, which wrote a partition of `table`."""
    columns = lake.rows("runs", {"run_id": list(runs.values())}).select(["run_id", "inputs"]).to_pydict()
    recorded = dict(zip(columns["run_id"], columns["inputs"], strict=True))
    for run_id in runs.values():
        if run_id not in recorded and (row := find_run(lake, run_id, table)):  # killed before it was recorded
            recorded[run_id] = row["inputs"]
    return {batch: dict(json.loads(recorded.get(run_id, "{}"))) for batch, run_id in runs.items()}
