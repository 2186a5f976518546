"""Batches whose image ids come from different URL algorithms are never used together; tombstones follow the ids."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones, add_tombstones
from curation.urls import ALGORITHM, image_id
from jobs import ingest
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.stage import Publication, StageRun
from jobs.tasks import url_algorithms
from jobs.tasks.balance.totals import TotalsStage, build_totals_up_to
from support.nights import publish_pairs, run_here


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make the context of a batch, in this process, without Spark."""
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)
    monkeypatch.setattr(Context, "spark", None)
    inputs = tmp_path / "in.jsonl"
    inputs.write_text(json.dumps({"url": "http://h/a/../b.jpg", "text": "a dog"}) + "\n")

    def of_batch(batch, *, replace=False, **keys):
        keys = {"inputs": [str(inputs)], "format": "jsonl", "text_columns": ["text"], **keys}
        return Context(Config(lake=str(tmp_path / "lake"), create=True, batch=batch, ingest=keys), "ingest", replace)

    return of_batch


def publish_counts(made, batch, pairs_run):
    partition = {"counts": {"match_id": "m", "batch": batch}}
    inputs = {"pairs": [pairs_run]}
    run = StageRun("match", made.lake, made.config, fingerprint_keys={}, inputs=inputs, outputs=partition, batch=batch)
    with run.writers()("counts", 0) as writer:
        writer.write(pa.table({"lang": ["en"], "entry_id": [1], "count": [2]}, schema=SCHEMAS["counts"]))
    run.publish(Publication({"counts": writer.files}, totals={}))


def build_totals(made, match_id, batch):
    return build_totals_up_to(made, TotalsStage.up_to(made, match_id, batch))


def old_batch(make, image_ids):
    """Publish the pairs of batch b1 as a release does that recorded no URL algorithm."""
    made = make("b1")
    publish_pairs(made, [{"image_id": image_id, "texts": []} for image_id in image_ids])
    return made


def test_ingest_records_the_url_algorithm_in_its_run(make):
    made = make("b1")
    ingest.run(made)
    (row,) = made.lake.rows("runs").to_pylist()
    assert json.loads(row["inputs"])["url_algorithm"] == ALGORITHM
    pairs = made.lake.snapshot("pairs")
    assert url_algorithms.of_pairs(made.lake, {"b1": pairs}) == {"b1": ALGORITHM}


def test_a_batch_of_an_earlier_release_has_the_first_number(make):
    made = old_batch(make, ["00" * 12])
    assert url_algorithms.of_pairs(made.lake, {"b1": made.lake.snapshot("pairs")}) == {"b1": 1}


def test_images_are_not_looked_up_in_batches_of_another_algorithm(make):
    old_batch(make, ["00" * 12])
    with pytest.raises(UsageError) as refused:
        ingest.run(make("b2", seen="earlier"))
    assert str(refused.value) == (
        "ingest.seen: batches with different image ids cannot be used together (b1 with URL algorithm 1; "
        "b2 with URL algorithm 2): ingest the earlier batches again, in their order, or set ingest.seen: none"
    )
    ingest.run(make("b2"))
    ingest.run(make("b1"))
    ingest.run(make("b2", replace=True, seen="earlier"))


def test_an_old_batch_is_ingested_again_with_the_present_ids(make):
    made = old_batch(make, [image_id("http://h/a/../b.jpg")])
    ingest.run(made)
    (file,) = made.lake.snapshot("pairs").files
    assert pq.read_table(file.path, partitioning=None)["image_id"].to_pylist() == [image_id("http://h/b.jpg")]


def test_counts_of_different_algorithms_are_not_added_up(make):
    made = old_batch(make, ["00" * 12])
    publish_counts(made, "b1", made.lake.snapshot("pairs").run_ids[0])
    second = make("b2")
    (outcome,) = ingest.run(second)
    publish_counts(second, "b2", outcome.run_id)
    assert url_algorithms.of_counts(made.lake, {"b2": made.lake.snapshot("counts", {"batch": "b2"})}) == {"b2": 2}
    build_totals(made, "m", "b1")
    with pytest.raises(UsageError, match=r"totals: .*\(b1 with URL algorithm 1; b2 with URL algorithm 2\): ingest and"):
        build_totals(second, "m", "b2")
    (outcome,) = ingest.run(made)
    publish_counts(made, "b1", outcome.run_id)
    build_totals(second, "m", "b2")


def test_tombstones_get_their_present_ids_before_the_old_pairs_are_replaced(make):
    old, new = image_id("http://h/0/../b.jpg"), image_id("http://h/b.jpg")
    made = make("b1")
    rows = [{"image_id": old, "image_url": "http://h/0/../b.jpg", "texts": []}]
    partition = {"pairs": {"batch": "b1"}}
    run = StageRun("ingest", made.lake, made.config, fingerprint_keys={}, inputs={}, outputs=partition, batch="b1")
    with run.writers()("pairs", 0) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["pairs"]))
    run.publish(Publication({"pairs": writer.files}, totals={}))
    add_tombstones(made.lake, image_ids=[old], reason="asked")
    ingest.run(make("b2"))  # another batch has the same image
    assert Tombstones.read(made.lake).image_ids == {old, new}
    ingest.run(made)
    assert made.lake.rows("tombstones").num_rows == 2
