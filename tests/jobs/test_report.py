"""The job report renders what the lake holds, without Spark: the page of a batch, and the index of all pages."""

from __future__ import annotations

from pathlib import Path

import lxml.html
import pyarrow as pa
import pytest

from curation.errors import InputError
from curation.hashing import u64
from curation.lake.schemas import SCHEMAS
from curation.report import index_page
from curation.report.night_data import STAGES
from jobs import report as job
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.stage import Publication
from jobs.runtime.stage import StageRun as Run
from jobs.tasks.report import index
from support.pages import DROPS, THRESHOLDS, TOTALS, tables


@pytest.fixture
def context(tmp_path, monkeypatch):
    def no_spark(*_):
        raise AssertionError("the report needs no Spark")

    monkeypatch.setattr("jobs.runtime.session.start", no_spark)
    return Context(Config(lake=str(tmp_path / "lake"), create=True, batch="b1", recipe="default"), "report")


PARTS = {
    "ingest": {"pairs": {"batch": "b1"}},
    "match": {table: {"match_id": "m1", "batch": "b1"} for table in ("matches", "counts")},
    "totals": {"totals": {"match_id": "m1", "batch": "b1"}},
    "balance": {table: {"recipe": "default", "batch": "b1"} for table in ("thresholds", "curated")},
    "images": {"images": {"recipe": "default", "batch": "b1"}},
    "shards": {"shards": {"recipe": "default", "batch": "b1"}},
}
COUNTS = [("ar", 0, 897), ("ar", 1, 3), ("en", 0, 100), ("en", 2, 1999), ("en", 3, 1), ("xx", 0, 7)]
ROWS = {
    "totals": [dict(zip(("lang", "entry_id", "count"), row, strict=True)) for row in COUNTS],
    "thresholds": THRESHOLDS,
}


def publish(context: Context, stage: str, parts=None, rows=ROWS, **publishing) -> str:
    """Publish a stage's tables as its job would and return the run id."""
    parts = parts or PARTS[stage]
    run = Run(stage, context.lake, context.config, fingerprint_keys={}, inputs={}, outputs=parts, batch="b1")
    files = {}
    for table in parts:
        with run.writers()(table, 0) as writer:
            writer.write(pa.Table.from_pylist(rows.get(table, []), schema=SCHEMAS[table]))
        files[table] = writer.files
    counters = {"totals": TOTALS.get(stage, {}), "drops": DROPS.get(stage, {})}
    return run.publish(Publication(files, **counters | publishing)).run_id


def publish_entries(context: Context, lang: str, entries: list[str]) -> None:
    part = {"entries": {"metadata_version": "v1", "lang": lang}}
    publish(context, "build_metadata", part, {"entries": [{"entry_id": n, "entry": e} for n, e in enumerate(entries)]})


def page_of(context: Context) -> str:
    (outcome,) = job.run(context)
    assert outcome.totals["page"] == context.lake.layout.batch_page("default", "b1")
    return context.storage.read_bytes(outcome.totals["page"]).decode()


def test_the_job_shows_what_the_lake_holds(context):
    context.lake.freeze_recipe("default", {"match_id": "m1", "policy": "tail_proportion"})
    run_ids = [publish(context, stage) for stage in STAGES]
    publish_entries(context, "en", ["dog", "of", "the", "zoo"])
    page = page_of(context)
    assert all(run_id in page for run_id in run_ids)
    assert len(tables(page, "Languages")[0]) == 3
    assert tables(page, "Most frequent") == [
        [["the", "1,999", "2.0%"], ["dog", "100", "40.0%"], ["zoo", "1", "100.0%"]],
        [["entry 0", "897", "0.33%"], ["entry 1", "3", "100.0%"]],
    ]


def test_the_job_reports_the_run_that_owns_the_output_now(context):
    before = publish(context, "ingest")
    after = publish(context, "ingest", totals={"read": 77})
    page = page_of(context)
    assert after in page
    assert before not in page
    assert tables(page, "From input")[0][0][2] == "77"


def test_before_a_recipe_is_used_the_newest_matches_are_reported(context):
    publish(context, "ingest")
    runs = [
        publish(context, "match", {"matches": {"match_id": match_id, "batch": "b1"}}, totals={"match_id": match_id})
        for match_id in ("m9", "m2")
    ]
    newest = max(runs)
    page = page_of(context)
    assert newest in page
    assert (set(runs) - {newest}).pop() not in page


def test_matches_of_another_match_id_are_not_the_recipe_s(context):
    context.lake.freeze_recipe("default", {"match_id": "m1"})
    publish(context, "ingest")
    other = publish(context, "match", {"matches": {"match_id": "m2", "batch": "b1"}})
    assert other not in page_of(context)


def test_a_batch_without_anything_is_refused(context):
    with pytest.raises(InputError, match=r"report: nothing is published for batch b1 .* run jobs.ingest first"):
        job.run(context)


def test_every_language_with_matches_is_drawn(context):
    context.lake.freeze_recipe("default", {"match_id": "m1"})
    many = [{"lang": f"l{n:02}", "t": 1, "p": 0.1, "matches": n, "entries_seen": 1} for n in range(1, 21)]
    counts = [{"lang": row["lang"], "entry_id": 0, "count": row["matches"]} for row in many]
    for stage in STAGES:
        publish(context, stage, rows={"thresholds": many, "totals": counts})
    drawn = [heading.split(" ")[0] for heading in lxml.html.fromstring(page_of(context)).xpath("//figure//h3/text()")]
    assert drawn == [f"l{n:02}" for n in range(20, 0, -1)]


@pytest.mark.parametrize("files", [1, 3])
def test_samples_say_which_pairs_were_curated(context, files):
    context.lake.freeze_recipe("default", {"match_id": "m1", "seed": 0})
    ids = sorted(f"{n:024x}" for n in range(200))
    curated = sorted(ids[::3], key=lambda image_id: (u64(0, "order", image_id), image_id))
    for stage in STAGES:
        if stage not in ("match", "balance"):
            publish(context, stage)
    matches = [{"image_id": i, "image_url": f"http://x/{i}", "texts": [{"text": f"m {i}", "lang": "en"}]} for i in ids]
    publish(context, "match", rows={"matches": matches})
    run = Run(
        "balance", context.lake, context.config, fingerprint_keys={}, inputs={}, outputs=PARTS["balance"], batch="b1"
    )
    written = {"thresholds": [], "curated": []}
    cut = -(-len(curated) // files)
    for ordinal in range(files):
        rows = [
            {"image_id": i, "text": f"c {i}", "lang": "en", "keep_probability": 0.25}
            for i in curated[ordinal * cut : (ordinal + 1) * cut]
        ]
        with run.writers()("curated", ordinal) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["curated"]))
        written["curated"] += writer.files
    with run.writers()("thresholds", 0) as writer:
        writer.write(SCHEMAS["thresholds"].empty_table())
    run.publish(Publication(written | {"thresholds": writer.files}, TOTALS["balance"], {}))
    samples, dropped = tables(page_of(context), "Samples")[0], tables(page_of(context), "Samples")[1:]
    assert not dropped
    assert 10 < len(samples) <= 24
    for text, _, result, probability, image in samples:
        image_id = image.rpartition("/")[2]
        is_curated = image_id in curated
        assert (result, text) == (("curated", f"c {image_id}") if is_curated else ("not drawn", f"m {image_id}"))
        assert probability == ("25.0%" if is_curated else "–")
    assert {row[2] for row in samples} == {"curated", "not drawn"}


def test_the_index_lists_batches_recipes_and_metadata_with_their_pages(context):
    context.lake.freeze_recipe("default", {"match_id": "m1", "policy": "tail_proportion"})
    for stage in STAGES:
        publish(context, stage)
    other = {"pairs": {"batch": "b0"}}
    publish(context, "ingest", other, complete=False)
    publish_entries(context, "en", ["dog"])
    page_of(context)
    index = lxml.html.fromstring(context.storage.read_bytes(context.lake.layout.index_page).decode())
    assert index.xpath("//h2/text()") == ["Batches without a recipe", "Recipe default", "Metadata versions"]
    assert index.xpath("//a/@href") == ["trends.html", "default/b1.html"]
    trends = lxml.html.fromstring(context.storage.read_bytes(context.lake.layout.trends_page).decode())
    assert trends.xpath("//h2/text()") == ["Recipe default"]
    rows = [[" ".join(cell.text_content().split()) for cell in row] for row in index.xpath("//tbody/tr")]
    assert rows[0][0] == "b0"
    assert rows[0][-1] == "not run: match, totals, balance, images, shards; incomplete: ingest"
    assert rows[1] == ["b1", "2,000", "1,000", "640", "320", "299", "40", rows[1][7], "complete"]
    assert rows[2][0] == "v1"


def test_the_index_is_written_again_only_if_something_in_it_has_changed(context):
    publish(context, "ingest")
    page_of(context)
    index = Path(context.lake.layout.index_page)
    first = index.stat().st_mtime_ns
    page_of(context)
    assert index.stat().st_mtime_ns == first
    publish(context, "match")
    page_of(context)
    assert index.stat().st_mtime_ns != first
    assert "not run: totals, balance" in index.read_text()


def test_the_index_of_an_empty_lake_renders(context):
    assert "No batch is published." in index_page.render(index.collect(context.lake))
