"""A killed fetch continues where it was, failed images are tried again on request, and small batches use many tasks."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import wraps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.cli.config import ImagesSection
from curation.errors import UsageError
from jobs import balance, fetch_images, ingest, match
from jobs.fetch_images import FetchOptions
from jobs.runtime.context import Context
from jobs.tasks.images import splits
from jobs.tasks.images.fetch import FetchParts
from jobs.tasks.images.splits import (
    MAX_FETCH_ROWS,
    MIN_FETCH_ROWS,
    Slice,
    group_parts,
    plan_buckets,
    plan_fetches,
    read_slices,
    rows_per_fetch,
)
from support.in_process import change, prepare
from support.lakes import digests
from support.loopback import Answer


class Killed(BaseException):
    """Ends a job as a signal does."""


def curate(context):
    for job in (ingest, match, balance):
        job.run(context)
    return context


def fetch(context):
    return {outcome.stage: outcome for outcome in fetch_images.run(context)}


def paths(site):
    requested = [request.path for request in site.requests]
    site.requests.clear()
    return requested


def rows(context):
    return context.lake.table("images").to_pyarrow_table().to_pylist()


@pytest.fixture
def small_parts(monkeypatch):
    """Buckets of ten rows, of which a task fetches three."""
    monkeypatch.setattr(splits, "MIN_FETCH_ROWS", 3)
    return {"shard_bytes": 10 * (24 << 10)}


def kill_after(monkeypatch, parts):
    """Let the fetch end when it has finished some parts and is inside the next."""
    right = FetchParts._open

    def open_part(self, part, *arguments):
        if part.index >= parts:
            raise Killed
        return right(self, part, *arguments)

    monkeypatch.setattr(FetchParts, "_open", open_part)
    monkeypatch.setattr(Context, "cores", 1000)  # a task for each part


@pytest.mark.parametrize("parts", [0, 1, 4])
def test_what_a_killed_run_has_fetched_is_not_requested_again(crawl, site, tmp_path, monkeypatch, small_parts, parts):
    context = curate(change(crawl, images=small_parts))
    with monkeypatch.context() as patch:
        kill_after(patch, parts)
        with pytest.raises(Killed):
            fetch(context)
    before = paths(site)
    done = fetch(context)["images"]
    after = paths(site)
    assert not set(before) & set(after), "no picture is requested twice, missing ones included"
    assert len(before) + len(after) == context.lake.snapshot("curated").rows
    assert done.totals.get("reused", 0) == len(before) == 3 * parts
    fresh = change(context, lake=str(tmp_path / "fresh" / "lake"))
    prepare(tmp_path / "fresh")
    fetch(curate(fresh))
    assert digests(fresh.lake) == digests(context.lake)


@pytest.mark.parametrize("finished", [1, 2])
def test_a_task_that_is_tried_again_requests_nothing_of_the_parts_that_it_has_finished(
    crawl, site, tmp_path, monkeypatch, small_parts, finished
):
    context = curate(change(crawl, images=small_parts))
    run_task, write = FetchParts.__call__, FetchParts._write
    written, first = [], []

    def write_some(self, part, fetched):
        if not first and len(written) == finished:
            first.extend(paths(site))
            raise OSError("the disk went away")
        written.append({"/" + url.rpartition("/")[2] for _, url, _ in part.images})
        return write(self, part, fetched)

    @wraps(run_task)
    def twice(self, index, parts):
        try:
            return run_task(self, index, parts)
        except OSError:
            return run_task(self, index, parts)

    monkeypatch.setattr(Context, "cores", 1)
    with monkeypatch.context() as patch:
        patch.setattr(FetchParts, "_write", write_some)
        patch.setattr(FetchParts, "__call__", twice)
        done = fetch(context)["images"]
    recorded, again = set().union(*written[:finished]), paths(site)
    assert recorded <= set(first)
    assert not recorded & set(again), "missing pictures included"
    assert len(set(again)) == context.lake.snapshot("curated").rows - len(recorded)
    assert done.totals["reused"] == len(recorded) == 3 * finished
    fresh = change(context, lake=str(tmp_path / "fresh" / "lake"))
    prepare(tmp_path / "fresh")
    fetch(curate(fresh))
    assert digests(fresh.lake) == digests(context.lake)


def test_a_slow_host_of_one_part_delays_no_other_part_of_the_task(crawl, site, monkeypatch, small_parts):
    context = curate(change(crawl, images={**small_parts, "timeout_s": 60.0}))
    monkeypatch.setattr(Context, "cores", 1)
    total = context.lake.snapshot("curated").rows

    def answered_last(answer):
        until = time.monotonic() + 50
        while len(site.requests) < total and time.monotonic() < until:
            time.sleep(0.01)
        assert len(site.requests) == total
        return answer

    parts = plan_buckets(context.lake.snapshot("curated"), 10)
    first = read_slices(context.storage, parts[0][:1], ["image_url"])["image_url"][0].as_py()
    site.faults["/" + first.rpartition("/")[2]].append(answered_last)
    assert "timeout" not in fetch(context)["images"].drops
    assert len(site.requests) == total > 30


def test_a_damaged_file_of_a_killed_run_is_fetched_again(crawl, site, monkeypatch, small_parts):
    context = curate(change(crawl, images=small_parts))
    with monkeypatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(Killed):
            fetch(context)
    table = context.lake.layout.table("images")
    files = sorted(file.path for file in context.storage.list_files(table) if file.path.endswith(".parquet"))
    context.storage.delete_files([files[0]])
    first = set(paths(site)[:3])
    fetch(context)
    assert first <= set(paths(site))


def test_a_run_with_other_settings_uses_nothing_of_a_killed_one(crawl, site, monkeypatch, small_parts):
    context = curate(change(crawl, images=small_parts))
    with monkeypatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(Killed):
            fetch(context)
    paths(site)
    assert "reused" not in fetch(change(context, images={"max_side": 16}))["images"].totals


def test_parts_of_any_size_give_the_same_shards(crawl, site, tmp_path, monkeypatch, small_parts):
    context = curate(change(crawl, images=small_parts))
    fetch(context)
    other = change(context, lake=str(tmp_path / "other" / "lake"))
    prepare(tmp_path / "other")
    monkeypatch.setattr(splits, "MIN_FETCH_ROWS", 7)
    fetch(curate(other))
    assert digests(other.lake)["shards"] == digests(context.lake)["shards"]
    assert context.lake.snapshot("images").rows == other.lake.snapshot("images").rows


# Trying failed images again


def flaky(site, context):
    """Let two pictures be refused and two be unavailable once; return their paths."""
    numbers = [number for number in range(50) if number % 7]
    refused, unavailable = [f"/{n}.png" for n in numbers[3:5]], [f"/{n}.png" for n in numbers[8:10]]
    for status, group in ((403, refused), (503, unavailable)):
        for path in group:
            site.faults[path].append(Answer(status))
    return refused, unavailable


def fetched_paths(context):
    """Return the paths of the images in the batch by their reason."""
    urls = {row["image_id"]: row["image_url"] for row in context.lake.table("curated").to_pyarrow_table().to_pylist()}
    return {"/" + urls[row["image_id"]].rpartition("/")[2]: row["reason"] for row in rows(context)}


def test_only_failures_of_the_given_reasons_are_tried_again(crawl, site, small_parts):
    context = curate(change(crawl, images=small_parts))
    _, unavailable = flaky(site, context)
    fetch(context)
    before = fetched_paths(context)
    paths(site)
    assert not fetch(context)["images"].fresh
    done = fetch(replace(context, retry_failed=("http_503",)))
    again = {path for path, reason in before.items() if reason == "http_503"}
    assert set(paths(site)) == again <= set(unavailable)
    assert done["images"].fresh
    after = fetched_paths(context)
    assert after == {path: None if path in again else reason for path, reason in before.items()}
    assert done["shards"].totals["written"] == list(after.values()).count(None)
    for path in unavailable:
        site.faults[path].clear()


def test_all_failures_are_tried_again_without_reasons_and_nothing_when_none_is_left(crawl, site, small_parts):
    context = curate(change(crawl, images=small_parts))
    refused, unavailable = flaky(site, context)
    fetch(context)
    failed = {path for path, reason in fetched_paths(context).items() if reason}
    paths(site)
    fetch(replace(context, retry_failed=()))
    assert set(paths(site)) == failed
    assert not fetch(replace(context, retry_failed=("http_503", "timeout")))["images"].fresh
    assert paths(site) == []
    for path in refused + unavailable:
        site.faults[path].clear()


def test_hosts_of_a_list_are_not_requested_and_a_missing_list_is_named(crawl, site, tmp_path):
    context = curate(crawl)
    with pytest.raises(UsageError, match=r"images\.block_hosts: .*gone\.txt"):
        fetch(change(context, images={"block_hosts": [str(tmp_path / "gone.txt")]}))
    (tmp_path / "list.txt").write_text("127.0.0.1\n")
    done = fetch(change(context, images={"block_hosts": [str(tmp_path / "list.txt")]}))
    assert done["images"].drops == {"blocked_host": context.lake.snapshot("curated").rows}
    assert paths(site) == []


def test_reasons_are_a_list():
    assert FetchOptions().retry_failed is None
    assert FetchOptions(retry_failed="all").retry_failed == ()
    assert FetchOptions(retry_failed="timeout, http_503,broken").retry_failed == ("timeout", "http_503", "broken")


def test_an_unknown_reason_is_refused_and_that_of_a_filter_is_known(crawl):
    filters = ImagesSection(filters=["curation.images.filters.uniformity:NearUniform"]).filters
    filtering = change(crawl, images={"filters": filters})
    for context, name in ((crawl, "timeouts"), (crawl, "near_uniform"), (filtering, "near"), (crawl, "")):
        with pytest.raises(UsageError, match=f"--retry_failed: no reason is called '{name}': give those"):
            fetch_images.run(replace(context, retry_failed=(name,)))
    for name in ("near_uniform", "near_uniform_more", "filter_failed", "timeout", "http_503"):
        with pytest.raises(UsageError, match="recipe: 'default' was never used"):
            fetch_images.run(replace(filtering, retry_failed=(name,)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], None),
        (["--retry_failed"], ()),
        (["--retry_failed", "dns,tls"], ("dns", "tls")),
        (["--retry_failed=dns"], ("dns",)),
    ],
)
def test_the_flag_may_have_a_value(tmp_path, monkeypatch, arguments, expected):
    seen = []
    monkeypatch.setattr(fetch_images, "JOB", replace(fetch_images.JOB, run=lambda context: seen.append(context) or []))
    fetch_images.main("jobs.fetch_images", ["--lake", str(tmp_path), "--batch", "b", "--create", *arguments])
    assert [context.retry_failed for context in seen] == [expected]


# Work units


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=4), max_size=5), st.none() | st.integers(1, 9))
def test_parts_cover_every_row_of_their_bucket_in_order(lengths, limit):
    buckets = [[Slice(f"{b}.{f}", 5, 5 + n) for f, n in enumerate(files)] for b, files in enumerate(lengths)]
    parts = plan_fetches(buckets, limit)
    names = lambda slices: [(piece.path, row) for piece in slices for row in range(piece.start, piece.stop)]  # noqa: E731
    for number, bucket in enumerate(buckets):
        own = [names(part) for owner, part in parts if owner == number]
        assert [row for part in own for row in part] == names(bucket)
        assert all(len(part) == limit for part in own[:-1]) if limit else len(own) <= 1
        assert limit is None or all(len(part) <= limit for part in own)
    assert [owner for owner, _ in parts] == sorted(owner for owner, _ in parts)


@given(st.integers(1, 300), st.integers(1, MAX_FETCH_ROWS), st.integers(1, 64))
def test_the_tasks_of_small_batches_have_several_parts_and_use_all_cores(parts, rows, cores):
    tasks = group_parts([[Slice("f", n, n + 1)] for n in range(parts)], rows, cores)
    assert [(part.index, part.slices[0].start) for task in tasks for part in task] == [(n, n) for n in range(parts)]
    sizes = [len(task) for task in tasks]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) * rows <= MAX_FETCH_ROWS
    assert len(tasks) == parts or len(tasks) % cores == 0, "no core is without a task while others have one more"


@given(st.integers(0, 10**8))
def test_small_batches_have_many_parts_and_large_ones_parts_of_bounded_size(total):
    part = rows_per_fetch(total)
    assert MIN_FETCH_ROWS <= part <= MAX_FETCH_ROWS
    assert part in (MIN_FETCH_ROWS, MAX_FETCH_ROWS) or total / part <= 64 < total / (part - 1)


def test_two_thousand_rows_occupy_at_least_thirty_cores():
    assert 2000 / rows_per_fetch(2000) > 30
