from __future__ import annotations

import hashlib
import io
import time
import tracemalloc

import pyarrow as pa
import pytest
from PIL import Image

from curation.images import fetch
from curation.images import rows as rows_module
from curation.images.decode import ImageLimits, verify
from curation.images.download import FetchSettings
from curation.images.fetch import TIME_OVER, Fetched, Fetcher
from curation.images.filters.apply import FilterRun
from curation.images.filters.base import Verdict
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


def test_the_images_behind_a_slow_one_occupy_bounded_memory_and_stay_in_order(monkeypatch):
    class FirstIsLast(Fetcher):
        def fetch_many(self, rows, *_):
            yield from ((n, Fetched("ok", None, b"")) for n in [*range(1, len(list(rows))), 0])

    def stored(image_id, *_):
        return {"image_id": image_id, "image": bytes([int(image_id)]) * (5 << 20)}, None

    monkeypatch.setattr(rows_module, "verified_row", stored)
    with FirstIsLast() as fetcher:
        tracemalloc.start()
        try:
            rows = fetch_and_verify([(str(n), None, None) for n in range(30)], fetcher, LIMITS)
            taken = [(row["image_id"], row["image"][0], len(row["image"])) for row in rows]
            assert tracemalloc.get_traced_memory()[1] < 90 << 20
        finally:
            tracemalloc.stop()
    assert taken == [(str(n), n, 5 << 20) for n in range(30)]


TASK = FetchSettings(task_timeout_s=2.0)


def wait_for(deadline: float) -> None:
    time.sleep(max(0.0, deadline - time.monotonic()) + 0.01)


def copies(folder, number: int) -> list[tuple[str, None, str]]:
    (folder / "good.png").write_bytes(png())
    return [(f"id{n}", None, str(folder / "good.png")) for n in range(number)]


def test_pictures_that_are_there_are_not_decoded_after_the_time_of_the_task(tmp_path, monkeypatch):
    decoded = []

    def slow(data, limits, deadline):
        decoded.append(data)
        if len(decoded) == 3:
            wait_for(deadline)
        return verify(data, limits)

    monkeypatch.setattr(rows_module, "verify", slow)
    with Fetcher(TASK) as fetcher:
        rows = list(fetch_and_verify(copies(tmp_path, 100), fetcher, LIMITS))
    assert [row["image_id"] for row in rows] == [f"id{n}" for n in range(100)]
    assert 0 < len(decoded) <= 3
    assert [row["status"] for row in rows].count("ok") == len(decoded)
    assert {row["reason"] for row in rows} - {None} <= TIME_OVER


def test_rows_that_were_not_started_in_time_are_not_requested_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROWS_AHEAD", 10)
    opened = []

    def read(reference):
        opened.append(reference)
        return png()

    def slow(data, limits, deadline):
        wait_for(deadline)
        return verify(data, limits)

    monkeypatch.setattr(rows_module, "verify", slow)
    with Fetcher(TASK) as fetcher:
        rows = list(fetch_and_verify(copies(tmp_path, 100), fetcher, LIMITS, read))
    assert len(opened) <= 11
    assert {row["reason"] for row in rows} == {None, *TIME_OVER}
    assert len(rows) == 100


def test_a_decode_in_the_child_process_is_ended_with_the_time_of_the_task():
    bmp = io.BytesIO()
    Image.new("RGB", (8, 8)).save(bmp, "BMP")
    limits = ImageLimits(formats=("BMP",))
    ended, _ = verified_row("a", Fetched("ok", None, bmp.getvalue()), limits, time.monotonic())
    assert (ended["status"], ended["reason"]) == ("failed", "not_processed")
    in_time, _ = verified_row("a", Fetched("ok", None, bmp.getvalue()), limits, time.monotonic() + 600)
    assert in_time["status"] == "ok"


def test_images_that_wait_for_a_filter_when_the_time_of_the_task_is_over_are_not_filtered(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.images.filters.apply.BATCH_IMAGES", 4)

    class Slow:
        name, version, score_range, reads_texts = "slow", "1", (0.0, 1.0), False
        asked = 0

        def __call__(self, images):
            self.asked += len(images)
            wait_for(began + TASK.task_timeout_s)
            return [Verdict(keep=True, score=0.5) for _ in images]

    images, each, began = copies(tmp_path, 50), Slow(), time.monotonic() + 0.5
    run = FilterRun([each], {image_id: "" for image_id, *_ in images})
    with Fetcher(TASK) as fetcher:
        rows = list(fetch_and_verify(images, fetcher, ImageLimits(max_side=32, with_pixels=True), None, run))
    assert each.asked == 4
    assert [row["status"] for row in rows].count("ok") == 4
    assert {row["reason"] for row in rows} - {None} <= TIME_OVER
    assert {bool(row["scores"]) for row in rows if row["status"] == "failed"} == {False}
