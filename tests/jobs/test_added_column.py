"""A lake whose table lacks a column, because an earlier release wrote it, is read and written."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import polars as pl
import pytest

from curation.lake.schemas import SCHEMAS
from jobs import nightly, verify
from support.in_process import change, write_crawl
from support.nights import picture

COLUMN = "original_sha256"


@pytest.fixture
def old(crawl, monkeypatch):
    """A lake with a night whose table `images` lacks the hash of the original."""
    schema = SCHEMAS["images"]
    with monkeypatch.context() as patch:
        patch.setitem(SCHEMAS, "images", schema.remove(schema.get_field_index(COLUMN)))
        nightly.run(crawl)
    assert COLUMN not in crawl.lake.table("images").to_pyarrow_table().column_names
    return crawl


def hashes(context, batch):
    """Return the hashes of the originals that were fetched for a batch, as polars reads them."""
    rows = pl.read_delta(context.lake.layout.table("images")).filter(pl.col("batch") == batch, pl.col("status") == "ok")
    return rows[COLUMN].to_list()


def test_the_next_night_adds_the_column_and_the_rows_of_earlier_nights_lack_it(old, site, tmp_path):
    assert not any(outcome.fresh for outcome in nightly.run(old) if outcome.stage == "images")
    new = change(old, batch="b2", ingest={"inputs": [write_crawl(tmp_path / "b2.jsonl", site, range(50, 100))]})
    nightly.run(new)
    assert set(hashes(new, "b1")) == {None}
    originals = {hashlib.sha256(picture(n)).hexdigest() for n in range(50, 100)}
    assert hashes(new, "b2")
    assert set(hashes(new, "b2")) <= originals
    assert verify.main(["--lake", new.lake.root, "--decode", "1"]) == 0


def test_images_of_such_a_night_are_used_again_without_their_hash(old):
    outcomes = {outcome.stage: outcome for outcome in nightly.run(replace(old, retry_failed=()))}
    assert outcomes["images"].totals["reused"] == len(hashes(old, "b1"))
    assert set(hashes(old, "b1")) == {None}
