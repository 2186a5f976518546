"""Filters of images in a night: counted drops, scores as columns, reuse, and nothing changed without them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from curation.cli.config import ImagesSection
from curation.errors import UsageError
from curation.images.decode import ImageLimits, decode
from curation.images.filters import apply, load
from curation.images.filters.base import Verdict
from curation.images.filters.uniformity import gray_entropy
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import add_tombstones
from jobs import fetch_images, nightly, status, takedown, verify
from jobs.explain import Explainer
from jobs.fetch_images import ImagesStage
from support.in_process import change, prepare, write_crawl
from support.lakes import digests
from support.nights import picture

ENTROPY = "curation.images.filters.uniformity:LowEntropy"
UNIFORM = "curation.images.filters.uniformity:NearUniform"
OWN = '''
from curation.images.filters.base import Verdict


class Odd:
    """Drops images of an odd width, with a score and the length of the text; fails for images of 25 pixels."""

    name, version, score_range, reads_texts = "odd", "1", (20.0, 40.0), {reads_texts}

    def __call__(self, images):
        widths = [image.pixels.shape[1] for image in images]
        if 25 in widths:
            raise RuntimeError("no width of 25")
        return [Verdict(width % 2 == 0, width, "odd_width") for width in widths]
'''


def filtered(context, *filters, **images):
    return change(context, images={"filters": ImagesSection(filters=list(filters)).filters, **images})


def run(context):
    return {outcome.stage: outcome for outcome in nightly.run(context)}


def rows(context, table="images"):
    return pl.read_delta(context.lake.layout.table(table)).to_dicts()


def files(context, table):
    return [pq.ParquetFile(file.path).schema_arrow.names for file in context.lake.snapshot(table).files]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The import path of a filter of the user's."""

    def write(*, reads_texts=False):
        (tmp_path / "odd_filter.py").write_text(OWN.replace("{reads_texts}", str(reads_texts)))
        return "odd_filter:Odd"

    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("odd_filter", None)  # a test that removes it has it back when its patches are undone
    load._load.cache_clear()
    yield write
    sys.modules.pop("odd_filter", None)


def test_each_drop_has_its_reason_and_each_score_is_stored_and_counted(crawl, own):
    done = run(filtered(crawl, {"filter": ENTROPY, "min_bits": 7.0}, own()))
    images = {row["image_id"]: row for row in rows(crawl)}
    urls = {row["image_id"]: row["image_url"] for row in rows(crawl, "curated")}
    expected, bins = Counter(), Counter()
    for image_id, row in images.items():
        number = int(Path(urls[image_id]).stem)
        if number % 7 == 0:
            assert (row["reason"], row["scores"]) == ("http_404", None)
            expected["http_404"] += 1
            continue
        pixels = decode(picture(number), ImageLimits(with_pixels=True)).pixels.array()
        bits, width = gray_entropy(pixels), pixels.shape[1]
        if bits < 7:
            reason, scores = "low_entropy", {"low_entropy": bits}
        elif width == 25:
            reason, scores = "filter_failed", {"low_entropy": bits}
        else:
            reason, scores = "odd_width" if width % 2 else None, {"low_entropy": bits, "odd": width}
        assert (row["reason"], row["scores"]) == (reason, scores)
        assert (row["status"], row["image"] is None) == (("ok", False) if reason is None else ("failed", True))
        expected[reason] += 1
        bins[int((bits - 0) / 8 * 20)] += 1
    fetched = expected.pop(None)
    assert min(expected[reason] for reason in ("low_entropy", "filter_failed", "odd_width")) > 0
    assert (done["images"].totals["fetched"], done["images"].drops) == (fetched, dict(expected))
    histogram = done["images"].totals["scores"]["low_entropy"]
    assert histogram == {"range": [0.0, 8.0], "counts": [bins[n] for n in range(20)]}
    assert sum(done["images"].totals["scores"]["odd"]["counts"]) == fetched + expected["odd_width"]
    assert done["shards"].drops == {"without_image": expected.total()}


def test_status_verify_and_explain_know_filters(crawl, own, monkeypatch):
    scored = filtered(crawl, {"filter": ENTROPY, "min_bits": 7.0}, own())
    run(scored)
    assert verify.main(["--lake", crawl.lake.root]) == 0

    def images_stage():
        [stage] = [stage for stage in status.read_status(crawl).stages if stage.stage == "images"]
        return stage.freshness

    assert images_stage().state == "fresh"
    explainer = Explainer(crawl)
    for row in rows(crawl):
        scores = "".join(f", {name} {score:.4g}" for name, score in (row["scores"] or {}).items())
        end = f"{row['height']} pixels{scores}" if row["status"] == "ok" else f"failed, {row['reason']}{scores}"
        assert explainer._fetched(row["image_id"]).endswith(end)
    load._load.cache_clear()
    monkeypatch.delitem(sys.modules, "odd_filter")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "odd_filter.py").exists()])
    unknown = images_stage()
    assert unknown.state == "unknown"
    assert unknown.reason.startswith("images.filters: odd_filter:Odd cannot be imported")


def test_images_of_a_night_without_filters_are_explained(crawl):
    run(crawl)
    [first, *_] = [row for row in rows(crawl) if row["status"] == "ok"]
    assert Explainer(crawl)._fetched(first["image_id"]).endswith(f"x {first['height']} pixels")


def test_without_filters_settings_and_files_are_as_before(crawl):
    stage_keys = {"images", "algorithm"}
    done = run(crawl)
    assert set(ImagesStage(crawl).fingerprint_keys) == stage_keys
    assert set(ImagesStage(crawl).fingerprint_keys["images"]) == fetch_images.FETCH_KEYS
    for table in ("images", "shards"):
        assert files(crawl, table) == [SCHEMAS[table].names[:-1]] * len(files(crawl, table))
        assert {row["scores"] for row in rows(crawl, table)} == {None}
    assert "scores" not in done["images"].totals
    assert not run(filtered(crawl))["images"].fresh


def test_scores_are_in_shards_if_the_config_asks(crawl):
    scored = filtered(crawl, {"filter": ENTROPY, "min_bits": 0})
    first = run(scored)
    assert {row["scores"] for row in rows(crawl, "shards")} == {None}
    asked = change(scored, images={"scores_in_shards": True})
    done = run(asked)
    assert (done["images"].fresh, done["shards"].fresh, first["shards"].fresh) == (False, True, True)
    scores = {row["image_id"]: row["scores"] for row in rows(crawl)}
    shards = rows(crawl, "shards")
    assert shards
    assert all(row["scores"] == scores[row["image_id"]] != {} for row in shards)


def test_scores_of_images_of_a_run_without_filters_are_null_in_shards(crawl):
    run(change(crawl, images={"scores_in_shards": True}))
    assert files(crawl, "shards")[0] == SCHEMAS["shards"].names
    assert {row["scores"] for row in rows(crawl, "shards")} == {None}


def test_a_table_of_an_earlier_release_gets_the_columns(crawl, site, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        for table in ("images", "shards"):
            schema = SCHEMAS[table]
            patch.setitem(SCHEMAS, table, schema.remove(schema.get_field_index("scores")))
            patch.setattr("jobs.tasks.images.fetch.written_schema", lambda name, **_: SCHEMAS[name])
            patch.setattr("jobs.tasks.images.shard.written_schema", lambda name, **_: SCHEMAS[name])
        nightly.run(crawl)
    assert "scores" not in crawl.lake.table("images").to_pyarrow_table().column_names
    inputs = [write_crawl(tmp_path / "b2.jsonl", site, range(50, 100))]
    later = change(crawl, batch="b2", ingest={"inputs": inputs})
    run(filtered(later, {"filter": ENTROPY, "min_bits": 0}, scores_in_shards=True))
    for table in ("images", "shards"):
        by_batch = {batch: [r["scores"] for r in rows(later, table) if r["batch"] == batch] for batch in ("b1", "b2")}
        assert set(by_batch["b1"]) == {None}
        assert any(by_batch["b2"])


def test_scores_of_images_that_are_used_again_are_kept_and_counted(crawl, site):
    scored = filtered(crawl, {"filter": ENTROPY, "min_bits": 6.0})
    before = run(scored)["images"].totals["scores"]["low_entropy"]
    dropped = [row["image_id"] for row in rows(crawl) if row["status"] == "ok"][:1]
    add_tombstones(crawl.lake, image_ids=dropped, reason="asked")
    after = run(scored)["images"]
    assert after.totals["reused"] > 0
    assert abs(sum(after.totals["scores"]["low_entropy"]["counts"]) - sum(before["counts"])) <= 2
    assert {row["scores"] is None for row in rows(crawl) if row["status"] == "ok"} == {False}


@pytest.mark.parametrize("reads_texts", [False, True])
@pytest.mark.parametrize("recipe", ["default", "another"])
def test_images_are_used_again_unless_their_verdict_may_depend_on_another_text(crawl, own, reads_texts, recipe):
    scored = filtered(crawl, own(reads_texts=reads_texts))
    run(scored)
    kept = {None} if recipe == "another" else {row["reason"] for row in rows(crawl)} - {"filter_failed"}
    stored = {row["image_id"] for row in rows(crawl) if row["reason"] in kept}
    before = texts(scored)
    inputs = Path(scored.config.ingest.inputs[0])
    lines = [json.loads(line) for line in inputs.read_text().splitlines()]
    for line in lines[::3]:
        line["text"] = [text.replace("red", "big red") for text in line["text"]]
    inputs.write_text("\n".join(map(json.dumps, lines)))
    again = change(scored, recipe=recipe, replace=True)
    done, after = run(again)["images"], texts(again)
    same = {image_id for image_id in after.keys() & stored if before.get(image_id) == after[image_id]}
    assert same < after.keys() & stored, "some texts differ"
    assert done.totals["reused"] == len(same if reads_texts else after.keys() & stored)


def texts(context):
    """Return the texts of the curated pairs of a context's recipe."""
    return {row["image_id"]: row["text"] for row in rows(context, "curated") if row["recipe"] == context.config.recipe}


def test_without_requests_every_stored_image_is_used_whatever_its_text_was(crawl, own):
    scored = filtered(crawl, own(reads_texts=True))
    run(scored)
    add_tombstones(crawl.lake, image_ids=["0" * 24], reason="asked")
    offline = run(replace(scored, fetch=False))
    assert "not_fetched" not in offline["images"].drops


def test_images_whose_texts_are_lost_are_fetched_again(crawl, own):
    scored = filtered(crawl, own(reads_texts=True))
    run(scored)
    for file in crawl.lake.snapshot("curated").files:
        Path(file.path).unlink()
    assert "reused" not in run(scored)["images"].totals


def judging(context, max_share, min_bits, **parameters):
    """Return a context with two filters that have thresholds."""
    uniform = {"filter": UNIFORM, "max_share": max_share, **parameters}
    return filtered(context, uniform, {"filter": ENTROPY, "min_bits": min_bits})


def requested(site):
    paths = sorted(request.path for request in site.requests)
    site.requests.clear()
    return paths


def paths_of(context, kept):
    """Return the paths of the curated images for whose row of `images` a function is true."""
    url_of = {row["image_id"]: row["image_url"] for row in rows(context, "curated")}
    return sorted("/" + url_of[row["image_id"]].rpartition("/")[2] for row in rows(context) if kept(row))


@pytest.mark.parametrize(
    ("before", "after"), [((0.004, 6.8), (0.001, 7.0)), ((0.001, 7.0), (0.004, 6.8)), ((0.004, 7.0), (0.001, 6.8))]
)
@pytest.mark.parametrize("recipe", ["default", "another"])
def test_other_thresholds_judge_stored_images_by_their_scores(crawl, site, tmp_path, recipe, before, after):
    run(judging(crawl, *before))
    requested(site)
    final = {"http_404"} if recipe == "default" else set()
    missing = paths_of(crawl, lambda row: row["status"] != "ok" and row["reason"] not in final)
    again = judging(change(crawl, recipe=recipe), *after)
    outcome = run(again)["images"]
    assert requested(site) == missing
    assert outcome.totals["reused"] == outcome.totals["images"] - len(missing) > 0
    assert paths_of(crawl, lambda row: row["reason"] == "http_404")
    whole = judging(change(crawl, recipe=recipe, lake=str(tmp_path / "fresh" / "lake")), *after)
    prepare(tmp_path / "fresh")
    run(whole)
    made = {row["image_id"]: row for row in rows(again) if row["recipe"] == recipe}
    assert made == {row["image_id"]: row for row in rows(whole)}
    assert {"near_uniform", "low_entropy"} & {row["reason"] for row in made.values()}


def test_a_parameter_that_scores_depend_on_fetches_again(crawl, site):
    run(judging(crawl, 0.3, 6.0))
    requested(site)
    outcome = run(judging(crawl, 0.3, 6.5, tolerance=9))["images"]
    assert "reused" not in outcome.totals
    assert requested(site) == paths_of(crawl, lambda _: True)


def test_other_parameters_fetch_again_and_equal_ones_do_not(crawl):
    first = filtered(crawl, {"filter": ENTROPY, "min_bits": 5.0})
    run(first)
    assert not run(filtered(crawl, {"filter": ENTROPY, "min_bits": 5.0}))["images"].fresh
    freshness = ImagesStage(filtered(crawl, {"filter": ENTROPY, "min_bits": 5.5})).freshness()
    assert (freshness.state, freshness.reason) == ("stale", "changed: filters.low_entropy.min_bits 5.0 (now 5.5)")
    assert run(filtered(crawl, {"filter": ENTROPY, "min_bits": 5.5}))["images"].fresh


def test_a_night_whose_images_are_mostly_dropped_by_filters_is_complete_but_not_one_whose_filters_fail(
    crawl, own, monkeypatch
):
    assert run(filtered(crawl, {"filter": ENTROPY, "min_bits": 8.0}))["images"].complete
    assert {row["reason"] for row in rows(crawl)} == {"low_entropy", "http_404"}
    broken = filtered(crawl, own())
    load.load_filters(broken.config.images.filters)

    def only_synthetic(_, images):
        return [Verdict(keep=True) for image in images if image.text == "a photo"]

    monkeypatch.setattr(sys.modules["odd_filter"].Odd, "__call__", only_synthetic)
    assert not run(broken)["images"].complete


def test_a_filter_that_fails_for_every_image_ends_the_stage_before_any_request(crawl, own, site, monkeypatch):
    broken = filtered(crawl, own())
    load.load_filters(broken.config.images.filters)

    def without_model(_self, _images):
        raise OSError("no weights\nin the folder")

    monkeypatch.setattr(sys.modules["odd_filter"].Odd, "__call__", without_model)
    with pytest.raises(UsageError, match=r"^images\.filters: odd fails for a synthetic image \(OSError: no weights in"):
        run(broken)
    assert not site.requests
    assert not crawl.lake.snapshot("images").files


def test_filters_that_keep_everything_change_no_image(crawl, tmp_path):
    run(crawl)
    plain = digests(crawl.lake)["shards"]
    run(filtered(crawl, {"filter": ENTROPY, "min_bits": 0}, UNIFORM))
    assert digests(crawl.lake)["shards"] == plain


@pytest.mark.parametrize("job", [nightly, fetch_images])
def test_a_filter_that_cannot_be_loaded_ends_the_job_before_it_starts(crawl, site, job):
    broken = filtered(crawl, "gone.filters:Gone")
    with pytest.raises(UsageError, match=r"^images\.filters: gone\.filters:Gone cannot be imported"):
        job.run(broken)
    assert not site.requests
    assert not crawl.lake.batches()


def test_runs_record_sizes_and_failures_by_host(crawl, site):
    totals = run(crawl)["images"].totals
    ok = [row for row in rows(crawl) if row["status"] == "ok"]
    assert sum(totals["stored"]["shorter_side"]["counts"]) == sum(totals["stored"]["aspect"]["counts"]) == len(ok)
    [(host, reasons)] = totals["failures_by_host"].items()
    assert (host, reasons) == ("127.0.0.1", {"http_404": sum(row["status"] == "failed" for row in rows(crawl))})
    recorded = [json.loads(row["totals"]) for row in crawl.lake.rows("runs").to_pylist() if row["stage"] == "images"]
    assert recorded == [totals]


def test_the_split_into_tasks_changes_no_verdict(crawl, own, monkeypatch):
    filters = ({"filter": ENTROPY, "min_bits": 7.0}, own())
    results = []
    for batch_images, shard_bytes in ((64, 1 << 20), (3, 3000), (1, 8000)):
        monkeypatch.setattr(apply, "BATCH_IMAGES", batch_images)
        part = change(crawl, batch=f"b{batch_images}", balance={"policy": "none", "t_en": None})
        run(filtered(part, *filters, shard_bytes=shard_bytes))
        wanted = [row for row in rows(crawl) if row["batch"] == part.batch]
        results.append({row["image_id"]: (row["reason"], row["scores"], row["image_sha256"]) for row in wanted})
    assert results[0] == results[1] == results[2]
    assert {"low_entropy", "odd_width", "filter_failed"} <= {reason for reason, *_ in results[0].values()}


@pytest.mark.parametrize("lost", ["module", "blocked hosts"])
def test_a_takedown_rebuilds_images_although_what_their_fetch_read_is_gone(crawl, own, tmp_path, lost):
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("blocked.example")
    run(filtered(crawl, {"filter": ENTROPY, "min_bits": 7.0}, own(), block_hosts=[str(hosts)]))
    before, [first] = rows(crawl), recorded(crawl)
    if lost == "module":
        (tmp_path / "odd_filter.py").unlink()
        sys.modules.pop("odd_filter")
        load._load.cache_clear()
    else:
        hosts.unlink()
    gone = next(row["image_id"] for row in before if row["status"] == "ok")
    assert takedown.main(["--lake", crawl.lake.root, "--image_id", gone, "--reason", "asked", "--purge"]) == 0
    assert gone not in {row["image_id"] for row in rows(crawl, "shards")}
    new = {row["image_id"]: row for row in rows(crawl) if row["reason"] != "not_fetched"}
    old = {row["image_id"]: row for row in before if row["image_id"] in new}
    assert {name: row | {"bucket": 0} for name, row in new.items()} == {
        name: row | {"bucket": 0} for name, row in old.items()
    }
    assert new.keys() | {gone} == {row["image_id"] for row in before}
    second = recorded(crawl)[-1]
    assert json.loads(second["inputs"])["settings"] == json.loads(first["inputs"])["settings"]
    scores = json.loads(second["totals"])["scores"]
    assert {name: each["range"] for name, each in scores.items()} == {"low_entropy": [0.0, 8.0], "odd": [20.0, 40.0]}


def recorded(context):
    found = [row for row in context.lake.rows("runs").to_pylist() if row["stage"] == "images"]
    return sorted(found, key=lambda row: row["finished"])
