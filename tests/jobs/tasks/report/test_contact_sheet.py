"""The thumbnails of a contact sheet are small pictures of the shards, without what was taken down or is broken."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from curation.lake.tombstones import add_tombstones
from jobs.tasks.report import contact_sheet
from jobs.tasks.report.contact_sheet import PICTURES, collect_sheet
from support.shards import ShardLake, shard_row


@pytest.fixture
def shards(tmp_path):
    return ShardLake(tmp_path / "lake")


def sheet_of(shards: ShardLake):
    return collect_sheet(shards.lake, shards.lake.snapshot("shards", {"recipe": "default", "batch": "b1"}))


MAX_BYTES = 12_000  # of a thumbnail of noise


def picture_of(side: int) -> bytes:
    sink = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def test_a_sheet_has_a_few_dozen_pictures_with_their_texts(shards):
    rows = [shard_row(n) | {"lang": ("en", "ar", "th")[n % 3 if n < 6 else 0]} for n in range(700)]
    shards.publish(rows, group_rows=100, file_rows=200)
    count, pictures = sheet_of(shards)
    assert (count, len(pictures)) == (contact_sheet.ROWS, PICTURES)
    by_id = {row["image_id"]: row for row in rows[: contact_sheet.ROWS]}
    for picture in pictures:
        row = by_id[picture.image_id]
        assert (picture.text, picture.lang) == (row["text"], row["lang"])
        data = b64decode(picture.source.partition("base64,")[2])
        assert len(data) <= MAX_BYTES
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"])
    assert [picture.lang for picture in pictures].count("ar") == 2


def test_pictures_that_are_broken_or_taken_down_are_left_out_and_the_others_are_small(shards):
    rows = [shard_row(n) for n in range(6)]
    rows[1]["image"] = rows[1]["image"][:-30]
    rows[2]["image"], rows[3]["image"] = picture_of(900), picture_of(112)
    shards.publish(rows)
    add_tombstones(shards.lake, image_ids=[rows[4]["image_id"]], reason="takedown")
    count, pictures = sheet_of(shards)
    assert count == 5
    assert [picture.image_id for picture in pictures] == [rows[n]["image_id"] for n in (0, 2, 3, 5)]
    assert all(len(b64decode(picture.source.partition(",")[2])) <= MAX_BYTES for picture in pictures)


def test_a_batch_without_shards_has_no_sheet(shards):
    assert sheet_of(shards) == (0, [])
