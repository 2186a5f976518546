"""The plan of a night says what the night then does, stage by stage, and changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from curation.errors import InputError
from curation.lake.tombstones import add_tombstones
from jobs import ingest, match, nightly
from jobs.runtime import job as runner
from jobs.runtime.batches.plan import START_S, plan
from jobs.runtime.context import Context
from support.in_process import change, files_below, second_night
from support.nights import publish_metadata, write_night


def done_by(context: Context) -> dict[str, bool]:
    """Run the night; return which stages did work."""
    return {outcome.stage: outcome.fresh for step in nightly.STEPS for outcome in step.run(context)}


def more_inputs(context: Context, folder: Path) -> Context:
    return change(context, ingest={"inputs": [*context.config.ingest.inputs, *write_night(folder, 9, start=500)]})


def tombstone(context: Context, _: Path) -> Context:
    add_tombstones(context.lake, image_ids=["0" * 24], reason="asked")
    return context


def lost_row(context: Context, _: Path) -> Context:
    context.lake.table("runs").delete("stage = 'match'")
    return context


def interrupted(context: Context, _: Path) -> Context:
    context.lake.table("curated").delete("batch = 'b1'")
    return context


def other_metadata(context: Context, _: Path) -> Context:
    publish_metadata(context, {"en": ["cat", "red dog"], "other": ["logo"]})
    return change(context, recipe="other")


CHANGES: dict[str, Callable[[Context, Path], Context]] = {
    "nothing": lambda context, _: context,
    "more inputs": more_inputs,
    "a tombstone": tombstone,
    "a row lost after its commit": lost_row,
    "a partition lost": interrupted,
    "other metadata": other_metadata,
    "another recipe": lambda context, _: change(context, recipe="r2", balance={"t_en": 7}),
    "other sizes of pictures": lambda context, _: change(context, images={"max_side": 16}),
    "shards of another size": lambda context, _: change(context, images={"shard_bytes": 9000}),
    "a setting that changes no result": lambda context, _: change(context, images={"connections": 2}, progress_s=1.0),
    "another batch": lambda context, folder: change(context, batch="b0", ingest={"inputs": write_night(folder, 20)}),
    "matched in larger units": lambda context, _: change(context, match={"unit_bytes": 1 << 20}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_is_what_the_night_does(night_here, tmp_path, name):
    context = CHANGES[name](night_here, tmp_path / "more")
    before = dict(files_below(context.config.lake))
    planned = plan(context, nightly.STEPS)
    assert dict(files_below(context.config.lake)) == before
    assert {stage.stage: stage.runs for stage in planned} == done_by(context)
    again = {stage.stage: stage.runs for stage in plan(context, nightly.STEPS)}
    assert again == dict.fromkeys(again, False) | {"report": True}


def test_an_incomplete_stage_is_planned_again(new_night, tmp_path):
    for path in (tmp_path / "inputs").glob("*.png"):
        path.unlink()
    done_by(new_night)
    planned = {stage.stage: stage for stage in plan(new_night, nightly.STEPS)}
    assert (planned["balance"].runs, planned["images"].runs, planned["shards"].runs) == (False, True, True)
    assert "was incomplete" in planned["images"].reason


def test_reasons_name_the_inputs_that_changed(night_here):
    add_tombstones(night_here.lake, image_ids=["0" * 24], reason="asked")
    planned = {stage.stage: stage.reason for stage in plan(night_here, nightly.STEPS)}
    assert "did the same work" in planned["ingest"]
    assert planned["match"] == "changed: tombstones"
    assert planned["totals"] == "match runs"
    resized = plan(change(night_here, match={"unit_bytes": 1 << 20}), nightly.STEPS)
    assert resized[1].reason == f"changed: unit_bytes {1 << 30} (now {1 << 20}), tombstones"


def test_an_estimate_scales_with_the_inputs_except_for_the_start_of_a_run(night_here, tmp_path):
    second_night(night_here, tmp_path)
    runs = night_here.lake.table("runs")
    runs.update(predicate="batch = 'b1'", new_values={"seconds": json.dumps({"read": 100.0, "merge": 110.0})})
    seconds = {
        (row["stage"], row["batch"]): sum(json.loads(row["seconds"]).values())
        for row in night_here.lake.rows("runs").to_pylist()
    }
    size = {
        batch: sum(Path(path).stat().st_size for path in (tmp_path / batch).glob("*.jsonl")) for batch in ("b2", "b3")
    }
    first = sum(Path(path).stat().st_size for path in night_here.config.ingest.inputs)
    third = change(night_here, batch="b3", ingest={"inputs": write_night(tmp_path / "b3", 90)})
    size["b3"] = sum(path.stat().st_size for path in (tmp_path / "b3").glob("*.jsonl"))
    for stage in plan(third, nightly.STEPS)[:-1]:
        assert seconds[stage.stage, "b1"] == 210.0
        assert seconds[stage.stage, "b2"] < START_S
        expected = (10 + 200 * size["b3"] / first + seconds[stage.stage, "b2"]) / 2
        assert (stage.earlier_runs, stage.at_least) == (2, False)
        assert stage.seconds == pytest.approx(expected)


def test_runs_that_are_too_short_to_be_scaled_give_a_minimum(night_here, tmp_path):
    third = change(night_here, batch="b3", ingest={"inputs": write_night(tmp_path / "b3", 900)})
    [row] = [row for row in night_here.lake.rows("runs").to_pylist() if row["stage"] == "ingest"]
    found = plan(third, nightly.STEPS)[0]
    assert (found.at_least, found.earlier_runs) == (True, 1)
    assert found.seconds == pytest.approx(sum(json.loads(row["seconds"]).values()))
    assert "; at least " in found.line()
    assert found.line().endswith("(from 1 earlier run)")


def test_the_command_prints_the_plan_and_runs_nothing(night_here, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(night_here.config.model_dump(mode="json", exclude_none=True)))
    before, handlers = dict(files_below(night_here.config.lake)), logging.getLogger().handlers[:]
    code = runner.main("jobs.nightly", ["--config", str(path), "--recipe", "r2", "--dry_run"])
    logging.getLogger().handlers[:] = handlers
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == [
        "ingest", "match", "totals", "balance", "images", "shards", "report",
    ]  # fmt: skip
    assert lines[0].startswith("ingest: is skipped: run ")
    assert lines[3].startswith("balance: runs: it has not been run; about ")
    assert dict(files_below(night_here.config.lake)) == before


def test_a_first_ingest_that_fails_registers_no_batch(new_night, tmp_path):
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(InputError, match="1 of 1 input files failed"):
        ingest.run(change(new_night, ingest={"inputs": [str(broken)]}))
    with pytest.raises(InputError, match="no file matches"):
        ingest.run(change(new_night, batch="b0", ingest={"inputs": [str(tmp_path / "absent-*")]}))
    with pytest.raises(InputError):
        match.run(new_night)
    assert new_night.lake.batches() == []
    ingest.run(change(new_night, batch="b0"))
    assert new_night.lake.batches() == ["b0"]
