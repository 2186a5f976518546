"""A night whose figures leave the range of the nights before it raises an alarm before it is published."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import OutputError
from curation.report.night_figures import figures
from jobs import balance, fetch_images, ingest, match, nightly
from jobs.runtime.batches.drift import MIN_NIGHTS, alarms
from jobs.runtime.config import AlarmsSection
from jobs.runtime.context import Context
from support.in_process import change, prepare, without_spark, write_crawl
from support.nights import TEXTS, write_night

SHARE = st.floats(0, 1)
NIGHT = st.fixed_dictionaries(
    {"kept share": SHARE, "t_en": st.integers(1, 50)}, optional={"share of texts in de": SHARE}
)


@given(NIGHT, st.lists(NIGHT, max_size=6), st.floats(0, 1), st.floats(0, 0.2))
def test_alarms_are_the_figures_that_no_widened_earlier_night_reaches(now, earlier, tolerance, min_change):
    section = AlarmsSection(tolerance=tolerance, min_change=min_change)
    found = {line.partition(" is ")[0] for line in alarms(now, earlier, section)}
    expected = set()
    for name in ("kept share", "t_en", "share of texts in de"):
        slack = 0 if name == "t_en" else min_change
        value, others = now.get(name, 0.0), [night.get(name, 0.0) for night in earlier]
        known = name in now or any(name in night for night in earlier)
        above_one = any(value >= other * (1 - tolerance) - slack for other in others)
        below_one = any(value <= other * (1 + tolerance) + slack for other in others)
        if len(earlier) >= MIN_NIGHTS and known and not (above_one and below_one):
            expected.add(name)
    assert found == expected


def test_figures_are_shares_and_levels_of_a_stage_and_leave_out_what_has_no_rows():
    totals = {"images": 8, "curated": 2, "t_en": 20, "p": None, "curated_by_lang": {"de": 1, "en": 1}}
    assert figures("balance", totals) == {
        "keep rate": 0.25, "t_en": 20, "share of pairs in de": 0.5, "share of pairs in en": 0.5
    }  # fmt: skip
    assert figures("balance", {"images": 0, "curated": 0, "curated_by_lang": {}}) == {}
    assert figures("shards", {"written": 5}) == {}


@pytest.fixture(scope="session")
def _three_nights(tmp_path_factory) -> Context:
    folder = tmp_path_factory.mktemp("nights")
    context = prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        for number in range(MIN_NIGHTS):
            inputs = write_night(folder / f"n{number}", 30, start=1000 * number, files=1)
            nightly.run(change(context, batch=f"n{number}", ingest={"inputs": inputs}))
    return context


@pytest.fixture
def three_nights(_three_nights, in_process, tmp_path) -> Context:
    """A context over a copy of a lake with three nights that are alike."""
    return change(_three_nights, lake=str(shutil.copytree(_three_nights.config.lake, tmp_path / "lake")))


def other_night(context: Context, folder: Path, batch: str = "n9", **keys) -> Context:
    """A night without a text in French or Japanese, and without most matches."""
    path = folder / "other.jsonl"
    texts = [TEXTS[0], *["nothing that is known"] * 19]
    rows = [{"url": f"http://127.0.0.1/{number}.png", "text": texts[number % 20]} for number in range(100)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return change(context, batch=batch, ingest={"inputs": [str(path)], "ref_column": None}, **keys)


def alarms_of(context: Context, stage: str) -> list[str]:
    [row] = context.lake.rows("runs", {"stage": [stage], "batch": [context.batch]}).to_pylist()
    return json.loads(row["totals"]).get("alarms", [])


def test_an_unlike_night_warns_and_is_published_with_its_alarms(three_nights, tmp_path, caplog):
    for stage in ("ingest", "match", "balance", "images"):
        assert not any(alarms_of(change(three_nights, batch=f"n{number}"), stage) for number in range(MIN_NIGHTS))
    night = other_night(three_nights, tmp_path)
    with caplog.at_level(logging.WARNING):
        nightly.run(night)
    [line] = [alarm for alarm in alarms_of(night, "match") if alarm.startswith("matched share")]
    assert line.startswith("matched share is 0.05, and ")
    assert line.endswith(f"in the last {MIN_NIGHTS} nights")
    assert any(alarm.startswith("share of texts in fr is 0, and ") for alarm in alarms_of(night, "match"))
    assert f"alarms: match of batch n9: {line}" in caplog.text
    assert any(alarm.startswith("fetched share is 0, ") for alarm in alarms_of(night, "images"))
    assert line in Path(night.lake.layout.batch_page("default", "n9")).read_text().replace("&#34;", '"')
    metrics = Path(night.lake.layout.metrics, "worldcurate_match.prom").read_text()
    assert 'worldcurate_level{batch="n9",figure="alarms",stage="match"} ' in metrics
    assert 'figure="alarms",stage="match"} 0.0' not in metrics


def test_on_request_an_alarm_ends_the_night_before_the_stage_publishes_until_it_is_accepted(three_nights, tmp_path):
    night = other_night(three_nights, tmp_path, alarms={"action": "fail"})
    with pytest.raises(
        OutputError, match=r"^alarms: match of batch n9: matched share .*: nothing was published"
    ) as error:
        nightly.run(night)
    assert error.value.exit_code == 4
    assert not night.lake.snapshot("matches").of(batch="n9").files
    nightly.run(change(night, alarms={"action": "warn"}))
    assert night.lake.snapshot("shards").of(batch="n9").run_ids
    match.run(night)  # what is published is not judged again


@pytest.mark.parametrize("keys", [{"nights": 0}, {"nights": MIN_NIGHTS - 1}, {"min_change": 1}])
def test_alarms_can_be_turned_off_and_need_enough_nights(three_nights, tmp_path, keys):
    night = other_night(three_nights, tmp_path, alarms={"action": "fail", **keys})
    for job in (ingest, match):
        job.run(night)


def test_images_that_were_fetched_before_an_alarm_are_not_requested_again(crawled, site, tmp_path):
    _, second = crawled
    third = change(second, batch="b3", ingest={"inputs": [write_crawl(tmp_path / "b3.jsonl", site, range(40))]})
    nightly.run(third)
    numbers = [number for number in range(98) if number % 7 == 0] * 3 + [1, 2, 3, 4]
    path = write_crawl(tmp_path / "b4.jsonl", site, numbers)
    fourth = change(third, batch="b4", ingest={"inputs": [path]}, images={"reuse_partitions": 0})
    for job in (ingest, match, balance):
        job.run(fourth)
    site.requests.clear()
    with pytest.raises(OutputError, match="images of batch b4: fetched share"):
        fetch_images.run(change(fourth, alarms={"action": "fail"}))
    requested = len(site.requests)
    assert requested > 0
    fetch_images.run(fourth)
    assert len(site.requests) == requested
