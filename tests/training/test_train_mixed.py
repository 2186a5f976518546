from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curation.errors import UsageError
from support.shards import SMALL, ShardLake, publish_matched, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.engine.checkpoint import TrainingState
from training.train import main, train

ALONE = World(0, 1, torch.device("cpu"))
LANGUAGES = ("en", "en", "en", "de", "de", "sw")
MIXED = {"recipe": {"a": 1, "b": 3}, "language_temperature": 2.0, "steps": 9, "save_every": 4}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mixed") / "lake"
    for recipe, numbers in (("a", range(40)), ("b", range(40, 60))):
        rows = [shard_row(n) | {"lang": LANGUAGES[n % 6]} for n in numbers]
        ShardLake(root).publish(rows, recipe=recipe, run=f"r-{recipe}")
    return root


@pytest.fixture
def config(lake, tmp_path):
    def make(output: str, **keys) -> TrainConfig:
        return TrainConfig(**(SMALL | MIXED | {"lake": str(lake), "output": str(tmp_path / output)} | keys))

    return make


def test_a_resumed_run_on_a_mixture_equals_an_uninterrupted_one_and_knows_the_languages_it_saw(config):
    whole = train(config("whole"), ALONE)
    assert whole["epoch"] >= 2
    folder = Path(whole["checkpoint"])
    resumed = train(config("resumed", resume=str(folder.with_name("step-00000004"))), ALONE)
    assert all(resumed[key] == whole[key] for key in ("loss", "epoch", "position"))
    ours, theirs = (load_file(Path(run["checkpoint"]) / "model.safetensors") for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    counts, of_resumed = (
        TrainingState.read(Path(run["checkpoint"])).seen_pairs_by_language for run in (whole, resumed)
    )
    assert counts == of_resumed
    assert sum(counts.values()) == whole["seen_pairs"] == 9 * 16
    assert {language: whole[f"seen_share/{language}"] for language in counts} == {
        language: count / 144 for language, count in counts.items()
    }
    assert counts["sw"] > 144 / 6, "a temperature of 2 raises the share of the rarest language"
    metrics = [json.loads(line) for line in (folder.parents[1] / "metrics.jsonl").read_text().splitlines()]
    assert sum("seen_share/en" in line for line in metrics) == 3, "with each checkpoint"
    assert [line["seen_pairs"] for line in metrics if "seen_pairs" in line] == [16 * step for step in range(1, 10)]


def test_another_mixture_is_refused_on_resume_and_another_order_of_its_recipes_is_not(config):
    train(config("out", steps=1), ALONE)
    with pytest.raises(UsageError, match=r"recipe \{'a': 1.0, 'b': 3.0\} -> \{'a': 1.0, 'b': 2.0\}"):
        train(config("out", recipe={"a": 1, "b": 2}, resume=True), ALONE)
    with pytest.raises(UsageError, match=r"language_temperature 2.0 -> 1.0"):
        train(config("out", language_temperature=1, resume=True), ALONE)
    assert train(config("out", recipe={"b": 3, "a": 1}, steps=2, resume=True), ALONE)["steps"] == 2


def test_only_pairs_of_the_given_languages_are_trained_on(config):
    keys = {
        "recipe": "a",
        "language_temperature": 1,
        "languages": ["de", "sw"],
        "validation_share": 0.2,
        "batch_size": 4,
    }
    summary = train(config("out", steps=6, **keys), ALONE)
    state = TrainingState.read(Path(summary["checkpoint"]))
    assert set(state.seen_pairs_by_language) == {"de", "sw"}
    assert state.samples + summary["held_out_pairs"] == sum(LANGUAGES[n % 6] != "en" for n in range(40))
    with pytest.raises(UsageError, match="batch_size: 4 is more than the 0 pairs to train on"):
        train(config("none", steps=1, **keys | {"languages": ["xx"]}), ALONE)


def test_a_recipe_without_pairs_in_the_languages_is_named(shard_lake, config):
    for recipe, language in (("a", "en"), ("b", "de")):
        rows = [shard_row(n) | {"lang": language} for n in range(30)]
        shard_lake.publish(rows, recipe=recipe, run=f"r-{recipe}")
    with pytest.raises(UsageError, match="recipe: b has no pairs to train on"):
        train(config("out", lake=str(shard_lake.root), languages=["en"]), ALONE)


@pytest.mark.parametrize("draw", ["published", "online"])
def test_a_dry_run_states_the_languages_of_the_mixture_or_of_the_draw(
    lake, shard_lake, config, train_yaml, capsys, draw
):
    keys = SMALL | MIXED | {"lake": str(lake), "output": str(lake.parent / "none"), "steps": 20}
    if draw == "online":
        publish_matched(shard_lake, 200)
        keys |= {"lake": str(shard_lake.root), "recipe": "default", "draw": "online"}
    main(["--config", str(train_yaml(**keys)), "--dry_run"])
    plan = json.loads(capsys.readouterr().out)
    assert sum(plan["seen_pairs_by_language"].values()) == pytest.approx(320, abs=2)
    if draw == "published":
        seen = TrainingState.read(Path(train(config("out", steps=20), ALONE)["checkpoint"])).seen_pairs_by_language
        for language, count in Counter(seen).items():
            assert plan["seen_pairs_by_language"][language] == pytest.approx(count, abs=20)
