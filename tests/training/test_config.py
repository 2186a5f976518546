from __future__ import annotations

import pytest

from curation.cli.settings import load_config
from curation.errors import UsageError
from training.config import TrainConfig

BASE = {"lake": "/l", "output": "/o", "steps": 5}


@pytest.fixture
def load(train_yaml):
    def read(*flags, **keys) -> TrainConfig:
        arguments = ["--config", str(train_yaml(**keys)), *flags]
        return load_config(TrainConfig, arguments, prog="t", description="", required=("lake", "output"))

    return read


def test_keys_come_from_the_file_the_environment_and_flags_in_this_order(load, monkeypatch):
    monkeypatch.setenv("WORLDCURATE_TRAINING_LR", "0.5")
    monkeypatch.setenv("WORLDCURATE_TRAINING_SEED", "7")
    config = load("--seed", "8", "--storage.region", "eu", **BASE, lr=0.1, seed=6, betas=[0.8, 0.9])
    assert (config.lr, config.seed, config.betas, config.storage.region) == (0.5, 8, (0.8, 0.9), "eu")
    assert config.open_storage().region == "eu"


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("False", False), ("no", False), ("/runs/a", "/runs/a")]
)
def test_resume_is_a_switch_or_a_path(load, value, expected):
    assert load(**BASE, resume=value).resume == expected
    assert load("--resume", value, **BASE).resume == expected


def test_the_length_is_given_in_steps_or_in_pairs(load):
    assert load(**BASE).total_steps == 5
    by_pairs = load(lake="/l", output="/o", seen_pairs=1001, batch_size=100)
    assert by_pairs.total_steps == 11
    for keys in ({**BASE, "seen_pairs": 5}, {"lake": "/l", "output": "/o"}):
        with pytest.raises(
            UsageError, match=r"config: set exactly one of the keys `steps`, `seen_pairs` and `seen_english_pairs`$"
        ):
            load(**keys)


def test_all_missing_keys_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        load_config(TrainConfig, [], prog="t", description="", required=("lake", "output"))
    assert str(caught.value) == (
        "config: set exactly one of the keys `steps`, `seen_pairs` and `seen_english_pairs`; keys `lake`, `output` are "
        "missing: t needs them: set them in the file or as --lake, --output"
    )


def test_warm_up_defaults_to_a_tenth_and_at_most_2000(load):
    assert load(**{**BASE, "steps": 300}).warmup == 30
    assert load(**{**BASE, "steps": 100_000}).warmup == 2000
    assert load(**BASE, warmup_steps=0).warmup == 0


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"batchsize": 3}, r"unknown key `batchsize` \(did you mean `batch_size`\?\)"),
        ({"batch_size": 1}, "key `batch_size`: .*greater than or equal to 2"),
        ({"lr": "fast"}, "key `lr`: .*got 'fast'"),
        ({"preset": "vit_z"}, "key `preset`: .*'vit_h_14'"),
        ({"betas": [0.9, 1.0]}, "key `betas`: both must be at least 0 and less than 1"),
        ({"validation_share": 1}, "key `validation_share`: .*less than 1"),
        ({"parallel": "fsdp", "compile": True}, "key `compile`: works with parallel: ddp"),
        ({"precision": "fp16"}, "key `precision`"),
        ({"lake": None}, "key `lake` is missing"),
    ],
)
def test_an_invalid_key_is_named_in_one_line(load, keys, line):
    with pytest.raises(UsageError, match=line) as caught:
        load(**(BASE | keys))
    assert "\n" not in str(caught.value)


def test_streams_are_derived_once_and_then_stay_those_of_the_run():
    config = TrainConfig(steps=1, num_workers=3)
    started = config.with_streams(4, None)
    assert started.shuffle_streams == 12
    assert config.with_streams(2, started.model_dump(mode="json")).shuffle_streams == 12
    assert TrainConfig(steps=1, shuffle_streams=5).with_streams(4, None).shuffle_streams == 5
    assert TrainConfig(steps=1).with_streams(4, None).shuffle_streams == 4
