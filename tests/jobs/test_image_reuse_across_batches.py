"""A picture that another recipe or batch has stored with the same settings is not requested again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from curation.lake.tombstones import add_tombstones
from jobs import balance, fetch_images, ingest, match
from jobs.runtime.context import Context
from jobs.tasks.images import splits
from jobs.tasks.images.fetch import FetchParts
from support.in_process import change, prepare, write_crawl

LARGER = {"t_en": 100_000}  # every pair with a match is drawn


def run(context):
    """Run the night without its report; return the outcomes by stage."""
    return {o.stage: o for job in (ingest, match, balance, fetch_images) for o in job.run(context)}


def requested(site):
    """Return the requested pictures, sorted, and forget them."""
    paths = sorted(request.path for request in site.requests)
    site.requests.clear()
    return paths


def images(context):
    """Return the rows of `images` of a context's recipe and batch by id."""
    partition = [("recipe", "=", context.config.recipe), ("batch", "=", context.config.batch)]
    rows = context.lake.table("images").to_pyarrow_table(partitions=partition).to_pylist()
    return {row["image_id"]: row for row in rows}


def stored(*contexts):
    """Return the ids of the pictures that some recipes and batches have."""
    return {image_id for each in contexts for image_id, row in images(each).items() if row["status"] == "ok"}


def path_of(context):
    """Return the path of each image of a batch on the server."""
    pairs = context.lake.table("pairs").to_pyarrow_table().to_pylist()
    return {row["image_id"]: "/" + row["image_url"].rpartition("/")[2] for row in pairs}


def paths(context, ids):
    of = path_of(context)
    return sorted(of[image_id] for image_id in ids)


def second_batch(crawl, site, folder, **keys):
    """Return a context of batch b2, whose images overlap with those of b1."""
    inputs = [write_crawl(folder / "b2.jsonl", site, range(25, 75))]
    return change(crawl, batch="b2", ingest={"inputs": inputs}, **keys)


def test_another_recipe_requests_only_images_that_are_not_stored_and_its_shards_are_as_if_it_had(crawl, site, tmp_path):
    run(crawl)
    requested(site)
    larger = change(crawl, recipe="larger", balance=LARGER)
    done = run(larger)["images"]
    assert requested(site) == paths(crawl, images(larger).keys() - stored(crawl))
    assert done.totals["reused"] == len(images(larger).keys() & stored(crawl)) > 10
    fresh = change(larger, lake=str(tmp_path / "fresh" / "lake"))
    prepare(tmp_path / "fresh")
    run(fresh)
    assert len(requested(site)) == len(images(larger))
    mine = [file.path for file in larger.lake.snapshot("shards", {"recipe": "larger"}).files]
    assert [Path(path).read_bytes() for path in mine] == [
        Path(file.path).read_bytes() for file in fresh.lake.snapshot("shards").files
    ]


def test_another_batch_requests_only_images_that_no_batch_has_and_failed_ones_again(crawl, site, tmp_path):
    run(crawl)
    requested(site)
    later = second_batch(crawl, site, tmp_path)
    run(later)
    assert requested(site) == paths(crawl, images(later).keys() - stored(crawl))
    failed = images(crawl).keys() - stored(crawl)
    assert failed & images(later).keys(), "the batches share images that failed"
    assert stored(later) & stored(crawl)


def test_after_a_kill_neither_the_images_of_other_batches_nor_the_finished_ones_are_requested(
    crawl, site, tmp_path, monkeypatch
):
    run(crawl)
    requested(site)
    later = second_batch(crawl, site, tmp_path)
    right = FetchParts._open

    def open_part(self, part, *arguments):
        if part.index >= 2:
            raise KeyboardInterrupt
        return right(self, part, *arguments)

    monkeypatch.setattr(splits, "MIN_FETCH_ROWS", 3)
    monkeypatch.setattr(Context, "cores", 1000)  # a task for each part
    with monkeypatch.context() as patch:
        patch.setattr(FetchParts, "_open", open_part)
        with pytest.raises(KeyboardInterrupt):
            run(later)
    run(later)
    assert requested(site) == paths(crawl, images(later).keys() - stored(crawl))


def test_a_removed_image_does_not_return_from_another_recipe(crawl, site):
    run(crawl)
    requested(site)
    removed = sorted(stored(crawl))[:3]
    add_tombstones(crawl.lake, image_ids=removed, reason="asked")
    larger = change(crawl, recipe="larger", balance=LARGER)
    run(larger)
    assert not images(larger).keys() & set(removed)
    assert not set(requested(site)) & set(paths(crawl, removed))


@pytest.mark.parametrize("keys", [{"images": {"max_side": 16}}, {"images": {"reuse_partitions": 0}}, {"seed": 1}])
def test_with_other_settings_or_another_seed_or_without_reuse_every_image_is_requested(crawl, site, tmp_path, keys):
    run(crawl)
    requested(site)
    other = change(second_batch(crawl, site, tmp_path), recipe="other", **keys)
    assert "reused" not in run(other)["images"].totals
    assert requested(site) == paths(crawl, images(other))


def test_partitions_of_the_batch_come_first_and_then_the_newest(crawl, site, tmp_path):
    run(crawl)
    later = second_batch(crawl, site, tmp_path)
    run(later)
    requested(site)
    one = change(crawl, recipe="one", balance=LARGER, images={"reuse_partitions": 1})
    run(one)
    assert requested(site) == paths(crawl, images(one).keys() - stored(crawl)), "b1 is older, and of the same batch"
    third = change(later, batch="b3", images={"reuse_partitions": 1})
    run(third)
    assert requested(site) == paths(crawl, images(third).keys() - stored(one)), "the run that is newest"


def test_without_requests_a_new_pair_has_the_picture_of_another_recipe(crawl, site):
    larger = change(crawl, recipe="larger", balance=LARGER)
    run(larger)
    requested(site)
    done = run(replace(crawl, fetch=False))["images"]
    assert done.totals["reused"] == len(images(crawl).keys() & stored(larger)) > 10
    assert {row["reason"] for row in images(crawl).values()} == {None, "not_fetched"}
    assert requested(site) == []


def test_references_are_used_again_for_the_same_pairs_and_not_for_another_batch(new_night):
    run(new_night)
    larger = change(new_night, recipe="larger", balance=LARGER)
    assert run(larger)["images"].totals["reused"] == len(stored(new_night) & images(larger).keys()) > 10
    assert "reused" not in run(change(new_night, batch="b2"))["images"].totals


def test_what_is_in_a_damaged_file_of_another_recipe_is_fetched_again(crawl, site):
    run(crawl)
    before = {image_id: row["image_sha256"] for image_id, row in images(crawl).items()}
    requested(site)
    [file, *_] = [file for file in crawl.lake.snapshot("images").files if file.rows]
    content = bytearray(Path(file.path).read_bytes())
    content[len(content) // 2] ^= 255
    Path(file.path).write_bytes(content)
    larger = change(crawl, recipe="larger", balance=LARGER)
    done = run(larger)["images"]
    assert done.totals["reused"] < len(images(larger).keys() & before.keys())
    assert done.totals["reused"] + len(requested(site)) == len(images(larger))
    after = images(larger)
    assert [after[image_id]["image_sha256"] for image_id in before] == list(before.values())
