"""Evaluation sets are measured while a model is trained, and a set that fails does not end the run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from curation.cli.run import run_command
from curation.errors import InputError, UsageError
from support.evaluation_sets import write_sets
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.engine.checkpoint import TrainingState, find
from training.evaluate import main
from training.evaluation.measure import measure
from training.models.towers import TwoTowers
from training.report.page import PAGE_FILE
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> str:
    root = tmp_path_factory.mktemp("shards") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(50)])
    return str(root)


def config(lake, output, **keys) -> TrainConfig:
    return TrainConfig(**SMALL | {"lake": lake, "output": str(output), "steps": 4, "save_every": 4} | keys)


def results(output: Path) -> list[dict]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if "evaluation" in line]


def evaluated(checkpoint: Path, data: dict[str, str], capsys) -> list[dict]:
    capsys.readouterr()
    flags = [part for key, value in data.items() for part in (f"--{key}", value)]
    assert run_command(main, ["--checkpoint", str(checkpoint), *flags]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_results_equal_those_of_the_evaluate_command_and_go_to_every_log(lake, tmp_path, capsys, caplog):
    sets = write_sets(tmp_path / "sets")
    with caplog.at_level("INFO"):
        summary = train(config(lake, tmp_path / "out", evaluations=sets, evaluate_every=2), ALONE)
    rows = results(tmp_path / "out")
    assert [(row["step"], row["evaluation"], row["language"]) for row in rows] == [
        (step, *name) for step in (2, 4) for name in (("shapes", "en"), ("shapes", "xx"), ("colors", "en"))
    ]
    for name, data in sets.items():
        last = [row for row in rows if (row["step"], row["evaluation"]) == (4, name)]
        bare = [{key: row[key] for key in row if key not in ("step", "epoch", "evaluation")} for row in last]
        assert bare == evaluated(Path(summary["checkpoint"]), data, capsys)
    of_last = [row["image_to_text_recall@1"] for row in rows[3:5]]
    mean = sum(of_last) / 2
    assert summary["shapes/retrieval/image_to_text_recall_at_1"] == mean
    assert f"shapes/retrieval/image_to_text_recall_at_1 {mean:.4g}" in caplog.text
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    tag = "shapes/retrieval/image_to_text_recall_at_1"
    assert [event.value for event in events.Scalars(tag)][-1] == pytest.approx(mean)
    assert [events.Scalars(f"{tag}/{name}")[-1].value for name in ("en", "xx")] == pytest.approx(of_last)


def test_two_ranks_share_the_sets_and_give_the_results_of_one(two_processes, capsys):
    run = two_processes["published"]
    rows = [row for row in results(run.output) if row["step"] == 6]
    assert [row["evaluation"] for row in rows] == ["shapes", "shapes", "colors"]
    for name, data in write_sets(run.lake.parent / "sets").items():
        last = [row for row in rows if row["evaluation"] == name]
        for row, expected in zip(last, evaluated(Path(run.summary["checkpoint"]), data, capsys), strict=True):
            assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-5)


def test_a_set_that_cannot_be_measured_is_named_and_the_run_goes_on(lake, tmp_path, caplog):
    sets = write_sets(tmp_path / "sets")
    (tmp_path / "sets" / "7.png").write_bytes(b"broken")
    summary = train(config(lake, tmp_path / "out", evaluations=sets), ALONE)
    assert summary["steps"] == 4
    assert results(tmp_path / "out") == []
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[0] for line in warned] == ["evaluations.shapes", "evaluations.colors"]
    assert all("7.png" in line for line in warned)


def test_a_set_that_does_not_fit_into_memory_is_named_and_the_others_are_measured(lake, tmp_path, monkeypatch, caplog):
    def measure_or_fail(encoder, data, examples):
        if data.captions:
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
        return measure(encoder, data, examples)

    monkeypatch.setattr("training.evaluation.in_training.measure", measure_or_fail)
    summary = train(config(lake, tmp_path / "out", evaluations=write_sets(tmp_path / "sets")), ALONE)
    assert summary["steps"] == 4
    assert [row["evaluation"] for row in results(tmp_path / "out")] == ["colors"]
    assert "evaluations.shapes: not measured: CUDA out of memory." in caplog.messages


def test_held_out_pairs_that_do_not_fit_into_memory_are_named_and_the_run_goes_on(lake, tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr("training.engine.trainer.held_out_retrieval", fail)
    sets = {"colors": write_sets(tmp_path / "sets")["colors"]}
    summary = train(config(lake, tmp_path / "out", evaluations=sets, validation_share=0.2), ALONE)
    assert summary["steps"] == 4
    assert [row["evaluation"] for row in results(tmp_path / "out")] == ["colors"]
    assert caplog.messages.count("evaluations.held_out: not measured: CUDA out of memory.") == 1


def test_a_run_that_dies_in_an_evaluation_has_saved_the_step_before(lake, tmp_path, monkeypatch):
    monkeypatch.setattr("training.evaluation.in_training.measure", lambda *_: sys.exit(9))
    with pytest.raises(SystemExit):
        train(config(lake, tmp_path / "out", evaluations=write_sets(tmp_path / "sets"), save_every=2), ALONE)
    assert TrainingState.read(find(tmp_path / "out")).step == 2


def test_the_page_has_the_results_of_the_last_step(lake, tmp_path):
    train(config(lake, tmp_path / "out", evaluations=write_sets(tmp_path / "sets"), save_every=3), ALONE)
    page = (tmp_path / "out" / PAGE_FILE).read_text(encoding="utf-8")
    assert re.findall(r"At step (\d+)\.", page) == ["4"] * 2
    assert "step 4, epoch" in page


def test_a_checkpoint_and_the_page_name_the_version_of_the_run(lake, tmp_path, monkeypatch):
    monkeypatch.setattr("training.engine.trainer.__version__", "9.8.7")
    summary = train(config(lake, tmp_path / "out", steps=1), ALONE)
    state = json.loads((Path(summary["checkpoint"]) / "training.json").read_text(encoding="utf-8"))
    assert state["code_version"] == "9.8.7"
    assert ", by worldcurate 9.8.7</dd>" in (tmp_path / "out" / PAGE_FILE).read_text(encoding="utf-8")
    del state["code_version"]
    assert TrainingState.model_validate(state | {"progress": list(state["progress"])}).code_version == ""


def test_a_run_in_bf16_is_measured_in_bf16(lake, tmp_path, monkeypatch):
    seen = []
    embed = TwoTowers._image_features

    def embed_and_note(self, images):
        seen.append((self.training, torch.is_autocast_enabled("cpu")))
        return embed(self, images)

    monkeypatch.setattr(TwoTowers, "_image_features", embed_and_note)
    train(config(lake, tmp_path / "out", evaluations=write_sets(tmp_path / "sets"), precision="bf16"), ALONE)
    assert set(seen) == {(True, True), (False, True)}


def test_a_mistake_in_a_set_is_found_before_the_first_step(lake, tmp_path):
    sets = write_sets(tmp_path / "sets")
    for change, error, line in (
        ({"captions": str(tmp_path / "nowhere")}, UsageError, r"evaluations\.x: captions: .*nowhere has no known"),
        ({"classes": str(tmp_path / "nowhere")}, InputError, r"evaluations\.x: cannot read .*nowhere"),
        ({"languages": ["de"]}, UsageError, r"evaluations\.x: languages: classes has no de: choose from en"),
        ({"images": None}, UsageError, r"evaluations\.x: classes: images is missing"),
    ):
        data = sets["colors"] | {"captions": sets["shapes"]["captions"]} | change
        with pytest.raises(error, match=line):
            train(config(lake, tmp_path / "out", evaluations={"x": data}), ALONE)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
    for name in ("held_out", "a/b", ""):
        with pytest.raises(ValueError, match="is not a name"):
            config(lake, tmp_path / "out", evaluations={name: sets["shapes"]})
