"""The status of a lake says what the stages themselves would say, for every batch, and changes nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import get_args

import pytest

from curation.lake.tombstones import add_tombstones
from jobs import balance, ingest, match, nightly, status
from jobs.runtime.batches.plan import plan
from jobs.runtime.freshness import State
from jobs.runtime.runs import SETTINGS, mark_incomplete
from jobs.status import read_status
from support.in_process import change, files_below, second_night
from support.loopback import file_server, serving
from support.nights import publish_metadata, write_night

ROOT = Path(__file__).resolve().parents[2]


def states(context, batch=None, **partition):
    """The state of each stage, of one batch, match_id or recipe."""
    return {
        stage.stage: stage.freshness.state
        for stage in read_status(context).stages
        if stage.partition["batch"] == (batch or context.batch)
        and all(stage.partition.get(key, value) == value for key, value in partition.items())
    }


def more_inputs(context, folder):
    ingest.run(change(context, ingest={"inputs": [*context.config.ingest.inputs, *write_night(folder, 5, start=300)]}))


def test_every_state_is_documented():
    for path in ("docs/operations.md", "jobs/status.py"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not [state for state in get_args(State) if f"`{state}`" not in text and f"\n| {state} |" not in text]


CHANGES = {
    "nothing": lambda context, _: None,
    "a tombstone": lambda context, _: add_tombstones(context.lake, image_ids=["0" * 24], reason="asked"),
    "more inputs ingested": more_inputs,
    "thresholds lost": lambda context, _: context.lake.table("thresholds").delete("batch = 'b1'"),
    "images lost": lambda context, _: context.lake.table("images").delete("batch = 'b1'"),
    "counts lost": lambda context, _: context.lake.table("counts").delete("batch = 'b1'"),
    "a row lost after its commit": lambda context, _: context.lake.table("runs").delete("stage = 'balance'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_stage_is_fresh_exactly_if_a_night_with_its_config_would_skip_it(night_here, tmp_path, name):
    inputs = night_here.config.ingest.inputs
    CHANGES[name](night_here, tmp_path / "more")
    if name == "more inputs ingested":
        inputs = [*inputs, *map(str, sorted((tmp_path / "more").glob("*.jsonl")))]
    before = dict(files_below(night_here.config.lake))
    found = states(night_here)
    planned = plan(change(night_here, ingest={"inputs": inputs}), nightly.STEPS)
    assert {stage: state != "fresh" for stage, state in found.items()} == {
        stage.stage: stage.runs for stage in planned if stage.stage != "report"
    }
    assert dict(files_below(night_here.config.lake)) == before


def test_an_earlier_batch_matched_again_makes_the_later_one_stale(night_here, tmp_path):
    second_night(night_here, tmp_path)
    assert set(states(night_here, "b2").values()) == {"fresh"}
    more_inputs(night_here, tmp_path / "more")
    assert states(night_here)["ingest"] == "fresh"
    assert states(night_here)["match"] == "stale"
    assert states(night_here, "b2") == {
        "ingest": "fresh", "match": "fresh", "totals": "stale", "balance": "stale", "images": "stale",
        "shards": "stale",
    }  # fmt: skip
    [totals] = [s for s in read_status(night_here).stages if s.key == ("totals", s.key[1]) and "b2" in str(s.key)]
    assert totals.freshness.reason == "match of batch b1 is stale"
    match.run(night_here)
    [totals] = [s for s in read_status(night_here).stages if s.stage == "totals" and s.partition["batch"] == "b2"]
    assert totals.freshness.reason == "changed: earlier_counts"


def test_stages_of_other_settings_stay_fresh_under_their_own_config(night_here):
    """A batch is judged with the settings it was made with, not with those of the config at hand."""
    publish_metadata(night_here, {"en": ["cat", "red dog"], "other": ["logo"]})
    other = change(night_here, recipe="other", balance={"t_en": 7})
    nightly.run(other)
    for config in (
        night_here,
        other,
        change(other, ingest={"inputs": [], "format": "wat"}, match={"rules": "reference"}),
    ):
        assert set(states(config, "b1").values()) == {"fresh"}
    recipes = {stage.partition.get("recipe") for stage in read_status(night_here).stages}
    assert recipes == {None, "default", "other"}


def test_what_is_not_done_yet_is_missing(night_here, tmp_path):
    second = change(night_here, batch="b2", ingest={"inputs": write_night(tmp_path / "b2", 20, start=900)})
    for job in (ingest, match):
        job.run(second)
    assert states(second) == {"ingest": "fresh", "match": "fresh", "balance": "missing"}


def test_a_stage_that_cannot_be_judged_says_why(night_here, tmp_path):
    with_list = tmp_path / "hosts.txt"
    with_list.write_text("blocked.example\n")
    filters = night_here.config.ingest.filters.model_copy(update={"block_urls": [str(with_list)]})
    ingest.run(change(night_here, ingest={"filters": filters}, replace=True))
    with_list.unlink()
    [stage] = [stage for stage in read_status(night_here).stages if stage.stage == "ingest"]
    assert stage.freshness.state == "unknown"
    assert "hosts.txt" in stage.freshness.reason


def test_people_and_programs_read_the_same(night_here, tmp_path, capsys):
    second_night(night_here, tmp_path)
    handlers = logging.getLogger().handlers[:]
    assert status.main(["--lake", night_here.config.lake]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert status.main(["--lake", night_here.config.lake, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert status.main(["--lake", str(tmp_path / "empty"), "--create", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == []
    logging.getLogger().handlers[:] = handlers
    assert found["batches"] == ["b1", "b2"]
    assert len(lines) == len(found["stages"]) + 2 == 14
    for line, stage in zip(lines[1:], found["stages"][::2] + found["stages"][1::2], strict=False):
        assert line.split()[:2] == [stage["batch"], stage["stage"]]
        assert "fresh" in line
    pairs = [stage for stage in found["stages"] if stage["stage"] == "ingest"]
    assert [(stage["order"], stage["rows"]) for stage in pairs] == [(0, 60), (1, 40)]
    rows = {stage["stage"]: stage["rows"] for stage in found["stages"] if stage["batch"] == "b1"}
    for stage, table in (("match", "matches"), ("totals", "totals"), ("balance", "curated"), ("shards", "shards")):
        assert rows[stage] == night_here.lake.snapshot(table, {"batch": "b1"}).rows, "of the main table"
    assert found["tables"]["pairs"]["bytes"] == sum(stage["bytes"] for stage in pairs)
    assert "12 fresh" in lines[-1]


@pytest.fixture(params=["http://user:pa55word-1@{host}/in.jsonl", "http://{host}/in.jsonl?token=pa55word-1"])
def secret_night(request, crawl):
    """A context whose batch b1 was ingested from a URL with a secret."""
    with serving(file_server({"/in.jsonl": Path(crawl.config.ingest.inputs[0]).read_bytes()})) as server:
        url = request.param.format(host=server.url.removeprefix("http://"))
        made = change(crawl, ingest={"inputs": [url], "retries": 0})
        ingest.run(made)
        yield made


def rewrite_run(context, stage, **columns):
    """Change columns of the run's row of a stage."""
    context.lake.table("runs").update(predicate=f"stage = '{stage}'", new_values=columns)


def the_stage(context, name):
    [found] = [stage for stage in read_status(context).stages if stage.stage == name]
    return found.freshness


def test_a_batch_from_a_url_with_a_secret_is_fresh_until_its_settings_change(secret_night):
    [row] = secret_night.lake.rows("runs").to_pylist()
    assert "pa55word-1" not in str(row)
    assert the_stage(secret_night, "ingest").state == "fresh"
    inputs = json.loads(row["inputs"])
    inputs[SETTINGS]["algorithm"] -= 1
    rewrite_run(secret_night, "ingest", inputs=json.dumps(inputs))
    algorithm = inputs[SETTINGS]["algorithm"]
    assert the_stage(secret_night, "ingest").reason == f"changed: algorithm {algorithm} (now {algorithm + 1})"


def test_a_batch_with_secrets_of_a_release_that_recorded_no_settings_is_unknown(secret_night):
    [row] = secret_night.lake.rows("runs").to_pylist()
    inputs = json.loads(row["inputs"])
    del inputs[SETTINGS]
    rewrite_run(secret_night, "ingest", inputs=json.dumps(inputs))
    found = the_stage(secret_night, "ingest")
    assert (found.state, "secrets" in found.reason) == ("unknown", True)


def test_runs_without_recorded_settings_are_judged_by_their_fingerprint(night_here):
    for row in night_here.lake.rows("runs").to_pylist():
        inputs = json.loads(row["inputs"])
        del inputs[SETTINGS]
        rewrite_run(night_here, row["stage"], inputs=json.dumps(inputs))
    assert set(states(night_here).values()) == {"fresh"}


def test_an_incomplete_stage_says_what_will_be_done_again(night_here):
    [images] = [stage for stage in read_status(night_here).stages if stage.stage == "images"]
    mark_incomplete(night_here.lake, images.run_id)
    assert the_stage(night_here, "images").reason.endswith("jobs.verify --repair marked it, its output is made again")
    rewrite_run(night_here, "images", totals="{}", drops='{"not_fetched": 2}')
    assert "a takedown rebuilt it without downloads" in the_stage(night_here, "images").reason
    rewrite_run(night_here, "images", drops='{"timeout": 40}')
    assert the_stage(night_here, "images").reason.endswith("its failures are tried again")


def test_a_damaged_recipe_is_unknown_and_the_rest_is_judged(night_here):
    Path(night_here.lake.layout.recipe("default")).write_bytes(b"")
    assert states(night_here) == {
        "ingest": "fresh", "match": "fresh", "totals": "fresh", "balance": "unknown", "images": "unknown",
        "shards": "unknown",
    }  # fmt: skip
    assert "recipes/default.json: damaged: empty" in the_stage(night_here, "shards").reason


def test_a_recipe_is_missing_where_a_night_would_make_it(night_here, tmp_path):
    def missing():
        stages = read_status(night_here).stages
        return {
            (stage.partition["recipe"], stage.partition["batch"])
            for stage in stages
            if stage.stage == "balance" and stage.freshness.state == "missing"
        }

    nights = {
        name: change(night_here, batch=name, ingest={"inputs": write_night(tmp_path / name, 20, start=start)})
        for name, start in (("b2", 900), ("b3", 1900), ("b4", 2900))
    }
    tried = {"recipe": "tried", "balance": {"t_en": 7}}
    balance.run(change(night_here, **tried))
    for job in (ingest, match):
        job.run(nights["b2"])
    assert missing() == {("default", "b2"), ("tried", "b2")}
    balance.run(nights["b2"])
    assert missing() == set(), "one that was tried on b1 is not expected in b2"
    for job in (ingest, match):
        job.run(nights["b3"])
    assert missing() == {("default", "b3")}
    balance.run(change(nights["b3"], **tried))
    assert missing() == {("tried", "b2")}, "b1 and b3 have it"
