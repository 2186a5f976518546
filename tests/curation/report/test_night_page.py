"""The page shows every available figure, names missing stages, escapes all values and has no external links."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from datetime import UTC, datetime

import lxml.html
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.night_data import STAGES, Report, SamplePair, StageRun, TopEntry, summarize
from curation.report.night_page import render
from support.pages import DROPS, THRESHOLDS, TOTALS, tables

NIGHT = datetime(2024, 6, 1, 3, 14, tzinfo=UTC)
HOSTILE = '<img src=x onerror="alert(1)">&amp;'

INPUTS = {
    "match": {"pairs": ["run-ingest"]},
    "totals": {"counts": {"b1": "run-match"}},
    "balance": {"matches": ["run-match"], "totals": "run-totals"},
    "images": {"curated": ["run-balance"]},
    "shards": {"curated": ["run-balance"], "images": ["run-images"]},
}


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


def text_of(page: str) -> str:
    return " ".join(lxml.html.fromstring(page).body.text_content().split())


def test_the_funnel_shows_every_step_as_a_share_of_its_input():
    (rows,) = tables(render(full_report()), "From input")
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("image–text occurrences read", "2,000", ""),
        ("occurrences kept", "1,200", "60.0%"),
        ("distinct images", "1,000", "83.3%"),
        ("images with a match", "640", "64.0%"),
        ("curated pairs", "320", "50.0%"),
        ("images fetched", "300", "93.8%"),
        ("shard rows", "299", "93.4%"),
    ]


def test_funnel_bars_are_drawn_to_one_scale():
    page = lxml.html.fromstring(render(full_report()))
    widths = [float(w.removesuffix("%")) for w in page.xpath("(//section)[1]//rect/@width")]
    assert widths == [round(count / 20, 2) for count in (2000, 1200, 1000, 640, 320, 300, 299)]


def test_drops_are_listed_by_reason_with_duplicates_and_texts_over_the_cap():
    ingest, match, balance, images, shards = tables(render(full_report()), "Drops by reason")
    assert ingest == [
        ["empty text", "693", "34.6%"],
        ["duplicate", "100", "5.0%"],
        ["over the cap per image", "7", "0.35%"],
    ]
    assert match == [["image without match", "360", "36.0%"]]
    assert balance == [["not drawn", "320", "50.0%"]]
    assert images == [["timeout", "20", "6.2%"]]
    assert shards == [["without image", "21", "6.6%"]]


def test_languages_are_sorted_by_size_with_shares_before_and_after_and_thresholds():
    (rows,) = tables(render(full_report()), "Languages")
    assert rows == [
        ["en English", "", "80066.7%", "50071.4%", "62.5%", "17053.1%", "40", "6.0%", "0.048%", "2,100", "3"],
        ["ar Arabic", "", "30025.0%", "20028.6%", "66.7%", "15046.9%", "3", "6.0%", "0.0%", "900", "2"],
        ["my", "", "1008.3%", "00.0%", "0.0%", "00.0%", "–", "–", "–", "–", "–"],
    ]


def test_the_threshold_separates_head_and_tail():
    text = text_of(render(full_report()))
    assert "2 of 3 entries are above t and hold 100.0% of 2,100 matches" in text
    assert "1 of 2 entries are above t and hold 99.7% of 900 matches" in text


def test_top_entries_show_count_and_probability_and_their_direction():
    page = render(full_report())
    english, arabic = tables(page, "Most frequent")
    assert english == [["the", "1,999", "2.0%"], ["of", "1", "100.0%"]]
    assert arabic == [["صورة", "897", "0.33%"]]
    (entry,) = lxml.html.fromstring(page).xpath("//bdi[text()='صورة']")
    assert (entry.get("dir"), entry.get("lang")) == ("auto", "ar")


def test_times_are_shown_by_stage_and_step():
    (rows,) = tables(render(full_report()), "Time by step")
    assert [row[0] for row in rows] == list(STAGES)
    assert rows[0][2:4] == ["1 min 15 s", "work 1 min 15 spublish 0.25 s"]


def test_the_header_identifies_the_inputs_of_the_page():
    text = text_of(render(full_report()))
    for told in ("Batch b1", "Recipe default", "policy = tail_proportion", "m1", "v1", "2024-06-01 03:14 UTC", "9.8.7"):
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
    assert not re.search(r"<link|<img|<iframe|@import|url\(|https?://|\bsrc=|\bhref=.[^.]", page)


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
    assert "target tail share p6.0%" in same
    assert "target tail share p–" in differing


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
    assert brief.matches_below == sum(count for count in counts if count < t)
    assert all(ranked[rank - 1] == count for rank, count in brief.points)
    ranks = [rank for rank, _ in brief.points]
    assert ranks == sorted(set(ranks))
    assert (ranks[0], ranks[-1]) == (1, len(counts))


def test_a_long_curve_is_thinned_to_200_points():
    assert 100 < len(summarize("en", np.arange(1, 100_001), 5).points) <= 200


def test_an_incomplete_stage_says_how_many_of_its_inputs_failed():
    totals = TOTALS["ingest"] | {"files": 2000, "files_failed": 3}
    runs = {"ingest": stage_run("ingest", complete=False, totals=totals)}
    assert "ingest is not complete: 3 of 2,000 input files failed;" in text_of(render(full_report(runs=runs)))


@pytest.mark.parametrize(
    ("stage", "empty", "drops", "sentence"),
    [
        ("ingest", {"kept": 0, "images": 0}, {"too_short": 1990, "x": 10}, "all of 2,000 occurrences, most of them"),
        ("match", {"images_matched": 0}, {"image_without_match": 1000}, "for the reason “image without match” (1,000)"),
        ("balance", {"curated": 0}, {"not_drawn": 640}, "all of 640 images with a match"),
        ("images", {"fetched": 0}, {"timeout": 320}, "all of 320 images to fetch, most of them for the"),
        ("shards", {"written": 0, "pairs": 0}, {}, "shards has no output: its input is empty (0 curated pairs)"),
    ],
)  # fmt: skip
def test_a_stage_without_output_says_why(stage, empty, drops, sentence):
    runs = full_report().runs | {stage: stage_run(stage, totals=TOTALS[stage] | empty, drops=drops)}
    page = lxml.html.fromstring(render(full_report(runs=runs)))
    [warning] = page.xpath("//ul[@role='alert']/li/text()")
    assert sentence in warning


def test_languages_without_texts_are_named_but_not_listed():
    rows = [*THRESHOLDS, {"lang": "zu", "t": 1, "p": 0.06, "matches": 4, "entries_seen": 1}]
    page = render(full_report(thresholds=rows))
    assert "zu" not in {row[0] for row in tables(page, "Languages")[0]}
    assert "1 language has a threshold but no texts in this batch zu" in text_of(page)


def test_dropped_references_and_pairs_are_shown_and_escaped():
    ingest = stage_run("ingest", totals=TOTALS["ingest"] | {"dropped_samples": {"too_short": [HOSTILE]}})
    samples = [SamplePair(HOSTILE, HOSTILE, "en", 0.5), SamplePair("http://x", "a dog", "ar")]
    pairs, dropped = tables(
        render(full_report(runs=full_report().runs | {"ingest": ingest}, samples=samples)), "Samples"
    )
    assert pairs == [[HOSTILE, "en", "curated", "50.0%", HOSTILE], ["a dog", "ar", "not drawn", "–", "http://x"]]
    assert dropped == [["too short", HOSTILE]]


def test_numbers_are_sorted_by_value_and_not_by_their_text():
    cells = lxml.html.fromstring(render(full_report())).xpath("//section[3]//tbody//td[@data-sort]/@data-sort")
    assert "2100" in cells
    assert all(cell == "" or float(cell) >= 0 for cell in cells)
