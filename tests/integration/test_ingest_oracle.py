"""Real WAT files give exactly the pairs, drops and books of a slow, obvious reader."""

from __future__ import annotations

from collections import Counter

import pyarrow.parquet as pq
import pytest

from jobs import ingest
from support.slow_wat import slow_pairs, slow_read

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("together", [2, 200])
def test_real_files_give_the_pairs_of_an_independent_reader(context, shared_data, monkeypatch, together):
    monkeypatch.setattr(ingest, "FILES_AT_ONCE", together)
    paths = sorted((shared_data / "crawl").glob("dev-*.warc.wat.gz"))
    made = context("ingest", ingest={"inputs": [str(path) for path in paths], "bucket_bytes": 1 << 20})
    (outcome,) = ingest.run(made)
    occurrences, drops = [], Counter()
    for path in paths:
        found, dropped, _ = slow_read(path.read_bytes())
        occurrences += found
        drops += dropped
    pairs, duplicates, over_cap = slow_pairs(occurrences, 0, 8)
    rows = [
        row
        for file in made.lake.snapshot("pairs").files
        for row in pq.read_table(file.path, partitioning=None).to_pylist()
    ]
    assert [row["image_id"] for row in rows] == sorted(pairs)
    assert {row["image_id"]: (row["image_url"], row["page_url"], row["texts"]) for row in rows} == pairs
    assert outcome.drops == drops
    totals = outcome.totals
    assert (totals["images"], totals["duplicates"], totals["over_cap"]) == (5927, duplicates, over_cap)
    assert totals["read"] == len(occurrences) + drops.total()
