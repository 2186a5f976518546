"""An image that the batch and recipe have stored is not requested again, and shards are as if it had been."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from curation.images import rows
from curation.images.decode import verify
from curation.images.fetch import TIME_OVER
from curation.lake.tombstones import add_tombstones
from jobs import balance, fetch_images, ingest, match
from support.in_process import change, prepare
from support.lakes import digests
from support.loopback import Answer
from support.nights import picture, write_night
from support.poison import poisoned


def run(context):
    """Run the night without its report; return the outcomes by stage."""
    return {o.stage: o for job in (ingest, match, balance, fetch_images) for o in job.run(context)}


def requested(site):
    paths = [request.path for request in site.requests]
    site.requests.clear()
    return paths


def ids(context, status):
    table = context.lake.table("images").to_pyarrow_table().to_pylist()
    return {row["image_id"] for row in table if row["status"] == status}


def same_bytes(context, fresh_folder):
    """Return whether images and shards are those of a lake in which everything is requested."""
    scratch = change(context, lake=str(fresh_folder / "lake"))
    prepare(fresh_folder)
    for row in context.lake.rows("tombstones").to_pylist():
        add_tombstones(scratch.lake, image_ids=[row["image_id"]], reason="asked")
    run(scratch)
    return digests(scratch.lake) == digests(context.lake)


@pytest.mark.parametrize("hidden", [1, 5, 20])
def test_after_a_tombstone_only_new_pairs_are_requested_and_no_missing_picture_again(crawl, site, tmp_path, hidden):
    run(crawl)
    assert len(requested(site)) >= crawl.lake.snapshot("curated").rows
    stored, before = ids(crawl, "ok"), ids(crawl, "failed")
    add_tombstones(crawl.lake, image_ids=sorted(stored)[:hidden], reason="asked")
    done = run(crawl)["images"]
    again = ids(crawl, "ok") | ids(crawl, "failed")
    assert sorted(requested(site)) == sorted(
        f"/{n}.png" for n, image_id in numbered(crawl).items() if image_id in again - stored - before
    )
    assert done.totals["reused"] == len(again & (stored | before))
    assert not ids(crawl, "ok") & set(sorted(stored)[:hidden])
    assert before
    assert same_bytes(crawl, tmp_path / "fresh")


def test_failures_that_may_have_passed_are_requested_when_the_images_are_made_again(crawl, site):
    numbers = [n for n in range(50) if n % 7]
    passing = [(Answer(503), "http_503"), (Answer(reset_after=0), "connection"), (Answer(429), "http_429")]
    final = [(Answer(403), "http_403"), (Answer(200, b"<html>"), "not_an_image"), (Answer(410), "http_410")]
    again = change(crawl, images={"retries": 0})
    faults = dict(zip((f"/{n}.png" for n in numbers[:12]), [*passing, *final] * 2, strict=True))
    for path, (answer, _) in faults.items():
        site.faults[path].append(answer)
    run(again)
    before = reasons_by_path(again)
    requested(site)
    add_tombstones(again.lake, image_ids=sorted(ids(again, "ok"))[:1], reason="asked")
    run(again)
    passed = {path for path, reason in before.items() if reason in {reason for _, reason in passing}}
    after = reasons_by_path(again)
    assert passed == set(requested(site)) & before.keys()
    assert len(passed) > 3
    assert {after[path] for path in passed} == {None}
    assert {before[path] for path in before.keys() & after.keys() - passed} > {"http_403", "not_an_image", "http_404"}
    assert all(after[path] == before[path] for path in before.keys() & after.keys() - passed)


def test_images_that_a_setting_refused_are_requested_once_it_no_longer_does(crawl, site, tmp_path):
    (tmp_path / "blocked").write_text(f"{site.url}/1\n")
    refusing = change(crawl, images={"block_hosts": [str(tmp_path / "blocked")]})
    run(refusing)
    refused = {path for path, reason in reasons_by_path(refusing).items() if reason == "blocked_host"}
    requested(site)
    add_tombstones(crawl.lake, image_ids=sorted(ids(crawl, "ok"))[:1], reason="asked")
    run(crawl)
    assert refused
    assert refused == set(requested(site)) & set(reasons_by_path(refusing))
    assert {reasons_by_path(crawl)[path] for path in refused} <= {None, "http_404"}


def reasons_by_path(context):
    paths = {image_id: f"/{n}.png" for n, image_id in numbered(context).items()}
    return {paths[row["image_id"]]: row["reason"] for row in images(context)}


def test_all_failures_are_requested_again_after_a_run_that_fetched_less_than_half(crawl, site, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(site, "respond", lambda _: Answer(404))
        assert not run(crawl)["images"].complete
    assert ids(crawl, "ok") == set()
    requested(site)
    outcome = run(crawl)["images"]
    assert len(requested(site)) == outcome.totals["images"]
    assert outcome.complete


def numbered(context):
    rows = context.lake.table("pairs").to_pyarrow_table().to_pylist()
    return {int(row["image_url"].rpartition("/")[2].removesuffix(".png")): row["image_id"] for row in rows}


def test_without_fetch_nothing_is_requested_and_what_is_missing_is_left_to_the_next_run(crawl, site):
    run(crawl)
    failed = ids(crawl, "failed")
    requested(site)
    add_tombstones(crawl.lake, image_ids=sorted(ids(crawl, "ok"))[:12], reason="asked")
    offline = replace(crawl, fetch=False)
    outcome = run(offline)["images"]
    assert requested(site) == []
    new = {row["image_id"] for row in images(crawl) if row["reason"] == "not_fetched"}
    assert outcome.drops.get("not_fetched", 0) == len(new)
    assert failed >= ids(crawl, "failed") - new, "a failure of the night stays what it was"
    assert fetch_images.ImagesStage(crawl).freshness().state == ("incomplete" if new else "fresh")
    run(crawl)
    assert not [row for row in images(crawl) if row["reason"] == "not_fetched"]


def images(context):
    return context.lake.table("images").to_pyarrow_table().to_pylist()


def test_images_that_a_task_did_not_reach_are_left_to_the_next_run(crawl, site, monkeypatch):
    """The 30th picture takes until the task is over; those after it have been downloaded by then."""
    calls = count()

    def slow(data, limits, deadline):
        if next(calls) == 30:
            time.sleep(max(0.0, deadline - time.monotonic()) + 0.01)
        return verify(data, limits)

    monkeypatch.setattr(rows, "verify", slow)
    outcome = run(change(crawl, images={"task_timeout_s": 4.0}))["images"]
    unreached = {row["image_id"] for row in images(crawl) if row["reason"] in TIME_OVER}
    assert unreached
    assert outcome.totals["fetched"] > len(unreached), "most were fetched"
    assert not outcome.complete
    assert fetch_images.ImagesStage(crawl).freshness().state == "incomplete"
    again = run(crawl)["images"]
    assert (again.complete, again.totals["reused"]) == (True, outcome.totals["images"] - len(unreached))
    assert unreached & ids(crawl, "ok")
    assert not [row for row in images(crawl) if row["reason"] in TIME_OVER]


def test_other_settings_reuse_nothing_but_a_run_without_fetch_does_and_is_incomplete(crawl, site):
    run(crawl)
    requested(site)
    larger = change(crawl, images={"max_side": 16})
    assert not run(replace(larger, fetch=False))["images"].fresh, "without a request it would give the same"
    add_tombstones(crawl.lake, image_ids=sorted(ids(crawl, "ok"))[:1], reason="asked")
    offline = run(replace(larger, fetch=False))["images"]
    assert requested(site) == []
    new = offline.drops.get("not_fetched", 0)
    assert offline.totals["reused"] == offline.totals["images"] - new > 0
    run(larger)
    assert len(requested(site)) >= crawl.lake.snapshot("curated").rows
    assert max(row["width"] for row in images(crawl) if row["width"]) <= 16


def test_a_damaged_or_lost_file_of_stored_images_is_fetched_again(crawl, site):
    run(crawl)
    requested(site)
    [first, *_] = [file for file in crawl.lake.snapshot("images").files if file.rows]
    Path(first.path).unlink()
    add_tombstones(crawl.lake, image_ids=["0" * 24], reason="asked")
    stored = ids_before = crawl.lake.snapshot("images").rows - first.rows
    outcome = run(crawl)["images"]
    assert outcome.totals["reused"] <= stored == ids_before
    assert len(requested(site)) >= first.rows


def test_a_reference_is_read_again_when_the_inputs_have_changed(new_night, tmp_path):
    """Row 3 of a file that was replaced is another picture, so its stored bytes are not used."""
    run(new_night)
    for number in range(60):
        path = tmp_path / "inputs" / f"{number}.png"
        if path.exists():
            path.write_bytes(picture(number + 1000))
    more = [*new_night.config.ingest.inputs, *write_night(tmp_path / "more", 3, start=500)]
    changed = change(new_night, ingest={"inputs": more})
    assert "reused" not in run(changed)["images"].totals
    fresh = change(changed, lake=str(tmp_path / "fresh" / "lake"))
    prepare(tmp_path / "fresh")
    run(fresh)
    assert digests(fresh.lake) == digests(changed.lake)
    add_tombstones(changed.lake, image_ids=sorted(ids(changed, "ok"))[:1], reason="asked")
    assert run(changed)["images"].totals["reused"] > 10, "the same pairs, so the same references"


@pytest.mark.usefixtures("crashing_decoder")
def test_an_isolated_task_loses_only_the_image_that_crashes_its_decoder(crawl, monkeypatch):
    def poison(data, *args):
        return verify(poisoned(data) if data == picture(5) else data, *args)

    monkeypatch.setattr(rows, "verify", poison)
    monkeypatch.setattr("jobs.tasks.images.fetch.is_isolated", lambda: True)
    run(crawl)
    killed = [row["image_id"] for row in images(crawl) if row["reason"] == "decoder_killed"]
    assert killed == [numbered(crawl)[5]]
    assert ids(crawl, "ok")
