from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pytest
from PIL import Image

from curation.images.decode import ImageLimits, verify
from curation.images.fetch import Fetched, Fetcher
from curation.images.rows import fetch_and_verify, verified_row
from curation.lake.schemas import written_schema

LIMITS = ImageLimits(max_side=32)
SCHEMA = written_schema("images", scores=False)
COLUMNS = [name for name in SCHEMA.names if name != "bucket"]


def png(width: int = 20, height: int = 10) -> bytes:
    sink = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(sink, "PNG")
    return sink.getvalue()


def test_rows_have_the_columns_of_the_table_and_the_order_of_the_input(tmp_path):
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "large.png").write_bytes(png(200, 100))
    (tmp_path / "cut.png").write_bytes(png()[:60])
    (tmp_path / "page.png").write_bytes(b"<html>")
    names = ["page", "good", "gone", "large", "cut", "good"]
    rows = [(f"id{i}", None, str(tmp_path / f"{name}.png")) for i, name in enumerate(names)]
    with Fetcher() as fetcher:
        results = list(fetch_and_verify([*rows, ("id6", "ftp://example.com/", None)], fetcher, LIMITS))
    assert all(list(row) == COLUMNS for row in results)
    assert [row["image_id"] for row in results] == [f"id{i}" for i in range(7)]
    assert [(row["status"], row["reason"]) for row in results] == [
        ("failed", "not_an_image"),
        ("ok", None),
        ("failed", "ref_missing"),
        ("ok", None),
        ("failed", "truncated"),
        ("ok", None),
        ("failed", "bad_url"),
    ]
    assert (results[3]["width"], results[3]["height"]) == (32, 16)
    table = pa.Table.from_pylist([{"bucket": 0, **row} for row in results], schema=SCHEMA)
    assert table.column("image").null_count == 4


def test_an_image_fills_its_row():
    row, _ = verified_row("a", Fetched("ok", None, png()), LIMITS)
    picture = verify(png(), LIMITS)
    assert row == {
        "image_id": "a",
        "status": "ok",
        "reason": None,
        "image": png(),
        "width": 20,
        "height": 10,
        "image_sha256": picture.image_sha256,
        "phash": picture.phash,
        "original_sha256": hashlib.sha256(png()).hexdigest(),
    }


def test_the_hash_of_the_original_is_that_of_the_received_bytes_when_others_are_stored():
    row, _ = verified_row("a", Fetched("ok", None, png(200, 100)), LIMITS)
    assert row["original_sha256"] == hashlib.sha256(png(200, 100)).hexdigest()
    assert row["image_sha256"] == hashlib.sha256(row["image"]).hexdigest() != row["original_sha256"]


@pytest.mark.parametrize(
    ("fetched", "reason"),
    [(Fetched("failed", "http_404", None), "http_404"), (Fetched("ok", None, b""), "not_an_image")],
)
def test_a_failure_fills_its_row_with_nulls(fetched, reason):
    row, _ = verified_row("a", fetched, LIMITS)
    assert (row["image_id"], row["status"], row["reason"]) == ("a", "failed", reason)
    assert {row[name] for name in COLUMNS[3:]} == {None}


def test_emoji_are_stored(fixtures_dir):
    paths = sorted((fixtures_dir / "emoji64").glob("*.png"))[:100]
    with Fetcher() as fetcher:
        rows = list(fetch_and_verify(((p.stem, None, str(p)) for p in paths), fetcher, LIMITS))
    assert [row["image_id"] for row in rows] == [p.stem for p in paths]
    assert {(row["status"], row["width"], row["height"]) for row in rows} == {("ok", 32, 32)}
