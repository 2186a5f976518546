"""The page shows every available figure, names missing stages, escapes all values and has no external links."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from datetime import UTC, datetime

import lxml.html
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.lake.schemas import SCHEMAS
from curation.report.night_page import STAGES, Report, StageRun, TopEntry, render, summarize
from jobs import report as job
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.stage import Publication
from jobs.runtime.stage import StageRun as Run

NIGHT = datetime(2024, 6, 1, 3, 14, tzinfo=UTC)
HOSTILE = '<img src=x onerror="alert(1)">&amp;'

TOTALS = {
    "ingest": {"files": 2, "read": 2000, "kept": 1200, "images": 1000, "duplicates": 100, "over_cap": 7},
    "match": {
        "images": 1000,
        "images_matched": 640,
        "texts": 1200,
        "texts_matched": 700,
        "matches": 3000,
        "texts_by_lang": {"en": 800, "ar": 300, "my": 100},
        "matched_by_lang": {"en": 500, "ar": 200, "my": 0},
        "match_id": "m1",
        "metadata_version": "v1",
    },
    "totals": {"batches": 1, "entries_seen": 5, "matches": 3000},
    "balance": {
        "images": 640,
        "curated": 320,
        "p": 0.06,
        "t_en": 40,
        "languages": 2,
        "curated_by_lang": {"en": 170, "ar": 150},
    },
    "images": {"images": 320, "fetched": 300, "buckets": 1},
    "shards": {"pairs": 320, "written": 299, "files": 1, "selection": "drawn"},
}
DROPS = {
    "ingest": {"empty_text": 693},
    "match": {"image_without_match": 360},
    "balance": {"not_drawn": 320},
    "images": {"timeout": 20},
    "shards": {"without_image": 21},
}
INPUTS = {
    "match": {"pairs": ["run-ingest"]},
    "totals": {"counts": {"b1": "run-match"}},
    "balance": {"matches": ["run-match"], "totals": "run-totals"},
    "images": {"curated": ["run-balance"]},
    "shards": {"curated": ["run-balance"], "images": ["run-images"]},
}
THRESHOLDS = [
    {"lang": "ar", "t": 3, "p": 0.06, "matches": 900, "entries_seen": 2},
    {"lang": "en", "t": 40, "p": 0.06, "matches": 2100, "entries_seen": 3},
]


def stage_run(stage: str, **changes) -> StageRun:
    fields = {
        "run_id": f"run-{stage}",
        "started": NIGHT,
        "finished": NIGHT,
        "code_version": "9.8.7",
        "inputs": INPUTS.get(stage, {}),
        "totals": TOTALS[stage],
        "drops": DROPS.get(stage, {}),
        "seconds": {"work": 75.0, "publish": 0.25},
    }
    return StageRun(**fields | changes)


def full_report(**changes) -> Report:
    english = summarize("en", np.array([1999, 100, 1]), 40, [TopEntry("the", 1999, 40 / 1999), TopEntry("of", 1, 1.0)])
    arabic = summarize("ar", np.array([897, 3]), 3, [TopEntry("صورة", 897, 3 / 897)])
    fields = {
        "batch": "b1",
        "recipe": "default",
        "written": NIGHT,
        "code_version": "9.8.7",
        "match_id": "m1",
        "metadata_version": "v1",
        "recipe_spec": {"policy": "tail_proportion"},
        "runs": {stage: stage_run(stage) for stage in STAGES},
        "thresholds": THRESHOLDS,
        "languages": [english, arabic],
        "names": {"en": "English", "ar": "Arabic"},
    }
    return Report(**fields | changes)


def tables(page: str, heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cell texts, without header rows."""
    (section,) = lxml.html.fromstring(page).xpath(f"//section[h2[starts-with(text(), {heading!r})]]")
    return [
        [
            [" ".join(cell.text_content().split()) for cell in row.xpath("./th|./td")]
            for row in table.xpath("./tbody/tr")
        ]
        for table in section.xpath(".//table")
    ]


def text_of(page: str) -> str:
    return " ".join(lxml.html.fromstring(page).body.text_content().split())


def test_the_funnel_shows_every_step_as_a_share_of_its_input():
    (rows,) = tables(render(full_report()), "From input")
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("image–text occurrences read", "2,000", ""),
        ("occurrences kept", "1,200", "60.0 %"),
        ("distinct images", "1,000", "83.3 %"),
        ("images with a match", "640", "64.0 %"),
        ("curated pairs", "320", "50.0 %"),
        ("images fetched", "300", "93.8 %"),
        ("shard rows", "299", "93.4 %"),
    ]


def test_funnel_bars_are_drawn_to_one_scale():
    page = lxml.html.fromstring(render(full_report()))
    widths = [float(w.removesuffix("%")) for w in page.xpath("(//section)[1]//rect/@width")]
    assert widths == [round(count / 20, 2) for count in (2000, 1200, 1000, 640, 320, 300, 299)]


def test_drops_are_listed_by_reason_with_duplicates_and_texts_over_the_cap():
    ingest, match, balance, images, shards = tables(render(full_report()), "Drops by reason")
    assert ingest == [
        ["empty text", "693", "34.6 %"],
        ["duplicate", "100", "5.0 %"],
        ["over the cap per image", "7", "0.35 %"],
    ]
    assert match == [["image without match", "360", "36.0 %"]]
    assert balance == [["not drawn", "320", "50.0 %"]]
    assert images == [["timeout", "20", "6.2 %"]]
    assert shards == [["without image", "21", "6.6 %"]]


def test_languages_are_sorted_by_size_with_shares_before_and_after_and_thresholds():
    (rows,) = tables(render(full_report()), "Languages")
    assert rows == [
        ["en English", "", "80066.7 %", "50071.4 %", "62.5 %", "17053.1 %", "40", "6.0 %", "2,100", "3"],
        ["ar Arabic", "", "30025.0 %", "20028.6 %", "66.7 %", "15046.9 %", "3", "6.0 %", "900", "2"],
        ["my", "", "1008.3 %", "00.0 %", "0.0 %", "00.0 %", "–", "–", "–", "–"],
    ]


def test_the_threshold_separates_head_and_tail():
    text = text_of(render(full_report()))
    assert "2 of 3 entries are above t and hold 100.0 % of 2,100 matches" in text
    assert "1 of 2 entries are above t and hold 99.7 % of 900 matches" in text


def test_top_entries_show_count_and_probability_and_their_direction():
    page = render(full_report())
    english, arabic = tables(page, "Most frequent")
    assert english == [["the", "1,999", "2.0 %"], ["of", "1", "100.0 %"]]
    assert arabic == [["صورة", "897", "0.33 %"]]
    (entry,) = lxml.html.fromstring(page).xpath("//bdi[text()='صورة']")
    assert (entry.get("dir"), entry.get("lang")) == ("auto", "ar")


def test_times_are_shown_by_stage_and_step():
    (rows,) = tables(render(full_report()), "Time by step")
    assert [row[0] for row in rows] == list(STAGES)
    assert rows[0][2:4] == ["1 min 15 s", "work 1 min 15 spublish 0.25 s"]


def test_the_header_identifies_the_inputs_of_the_page():
    text = text_of(render(full_report()))
    for told in ("Batch b1", "Recipe default", "policy tail_proportion", "m1", "v1", "2024-06-01 03:14 UTC", "9.8.7"):
        assert told in text
    for stage in STAGES:
        assert f"run-{stage}" in text


@pytest.mark.parametrize("ran", range(len(STAGES) + 1))
def test_stages_that_have_not_run_are_reported_as_missing(ran):
    runs = {stage: stage_run(stage) for stage in STAGES[:ran]}
    balanced = {} if "balance" in runs else {"thresholds": (), "languages": ()}
    page = render(full_report(runs=runs, match_id="m1" if "match" in runs else "", **balanced))
    (timings,) = tables(page, "Time by step")
    assert [row[0] for row in timings if row[1] == "not run yet"] == list(STAGES[ran:])
    (funnel,) = tables(page, "From input")
    missing = Counter(row[1].removesuffix(": not run yet") for row in funnel if "not run yet" in row[1])
    steps = Counter(ingest=3, match=1, balance=1, images=1, shards=1)
    assert missing == Counter({stage: count for stage, count in steps.items() if stage not in runs})


def test_an_empty_batch_renders():
    nothing = {
        "ingest": {"read": 0, "kept": 0, "images": 0, "duplicates": 0, "over_cap": 0},
        "match": {"images": 0, "images_matched": 0, "texts_by_lang": {}, "matched_by_lang": {}},
        "totals": {"matches": 0},
        "balance": {"images": 0, "curated": 0, "p": None, "t_en": None, "curated_by_lang": {}},
        "images": {"images": 0, "fetched": 0},
        "shards": {"pairs": 0, "written": 0},
    }
    runs = {stage: stage_run(stage, totals=nothing[stage], drops={}, seconds={}) for stage in STAGES}
    empty = summarize("en", np.array([], np.int64), 1)
    text = text_of(render(full_report(runs=runs, thresholds=(), languages=[empty])))
    assert "not run yet" not in text
    assert "No text was identified." in text
    assert text.count("No entry has a match.") == 2
    assert text.count("nothing of 0") == 5


def test_the_page_has_no_external_resources():
    page = render(full_report())
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|https?://|\bsrc=|\bhref=", page)


def test_values_are_escaped():
    plain = full_report()
    language = dataclasses.replace(plain.languages[0], lang=HOSTILE, top=[TopEntry(HOSTILE, 5, 0.5)])
    runs = plain.runs | {
        "ingest": stage_run("ingest", run_id=HOSTILE, drops={HOSTILE: 5}, seconds={HOSTILE: 1.0}),
        "match": stage_run("match", totals=TOTALS["match"] | {"texts_by_lang": {HOSTILE: 5}}),
    }
    changes = dict.fromkeys(("batch", "recipe", "code_version", "match_id", "metadata_version"), HOSTILE)
    page = render(full_report(**changes, runs=runs, languages=[language], recipe_spec={HOSTILE: HOSTILE}))
    parsed = lxml.html.fromstring(page)
    assert not parsed.xpath("//img|//*[@onerror]")
    assert parsed.xpath("//bdi")[0].text_content() == HOSTILE


def test_p_is_shown_only_if_it_is_equal_for_all_languages():
    mixed = [THRESHOLDS[0], THRESHOLDS[1] | {"p": 0.5}]
    same, differing = (text_of(render(full_report(thresholds=rows))) for rows in (THRESHOLDS, mixed))
    assert "tail share p6.0 %" in same
    assert "tail share p–" in differing


@pytest.mark.parametrize(
    ("stage", "source"),
    [
        ("match", "ingest"),
        ("totals", "match"),
        ("balance", "match"),
        ("balance", "totals"),
        ("images", "balance"),
        ("shards", "balance"),
        ("shards", "images"),
    ],
)
def test_a_stage_made_from_a_replaced_run_is_reported(stage, source):
    report = full_report()
    assert "earlier run" not in render(report)
    newer = report.runs | {source: stage_run(source, run_id="newer")}
    assert f"{stage} was made from an earlier run of {source}" in text_of(render(full_report(runs=newer)))


def test_a_stage_with_failed_inputs_is_reported():
    runs = full_report().runs | {"ingest": stage_run("ingest", complete=False)}
    assert "ingest is not complete" in render(full_report(runs=runs))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=700), st.integers(1, 60))
def test_a_summary_agrees_with_the_counts(counts, t):
    brief = summarize("en", np.array(counts), t)
    ranked = sorted(counts, reverse=True)
    assert (brief.entries, brief.matches) == (len(counts), sum(counts))
    assert brief.above == sum(count > t for count in counts)
    assert brief.matches_above == sum(count for count in counts if count > t)
    assert all(ranked[rank - 1] == count for rank, count in brief.points)
    ranks = [rank for rank, _ in brief.points]
    assert ranks == sorted(set(ranks))
    assert (ranks[0], ranks[-1]) == (1, len(counts))


def test_a_long_curve_is_thinned_to_200_points():
    assert 100 < len(summarize("en", np.arange(1, 100_001), 5).points) <= 200


# The job renders the same page from the tables of a lake, without Spark


@pytest.fixture
def context(tmp_path, monkeypatch):
    def no_spark(*_):
        raise AssertionError("the report needs no Spark")

    monkeypatch.setattr("jobs.runtime.session.start", no_spark)
    return Context(Config(lake=str(tmp_path / "lake"), batch="b1", recipe="default"), "report")


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
        [["the", "1,999", "2.0 %"], ["dog", "100", "40.0 %"], ["zoo", "1", "100.0 %"]],
        [["entry 0", "897", "0.33 %"], ["entry 1", "3", "100.0 %"]],
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


def test_only_the_biggest_languages_are_drawn(context):
    context.lake.freeze_recipe("default", {"match_id": "m1"})
    many = [{"lang": f"l{n:02}", "t": 1, "p": 0.1, "matches": n, "entries_seen": 1} for n in range(1, 21)]
    rows = {
        "thresholds": many,
        "totals": [{"lang": row["lang"], "entry_id": 0, "count": row["matches"]} for row in many],
    }
    for stage in STAGES:
        publish(context, stage, rows=rows)
    drawn = [heading.split(" ")[0] for heading in lxml.html.fromstring(page_of(context)).xpath("//figure//h3/text()")]
    assert drawn == [f"l{n:02}" for n in range(20, 8, -1)]
