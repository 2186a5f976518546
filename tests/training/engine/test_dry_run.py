from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.balance.sampling import held_out_mask
from curation.errors import UsageError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.data.shard_index import build_index
from training.distributed import World
from training.engine.dry_run import Parameters, state_bytes
from training.engine.languages import count_languages, with_seen_pairs
from training.train import main, train

ALONE = World(0, 1, torch.device("cpu"))
LANGUAGES = ["en", "de", "de", "ja"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dry-run") / "lake"
    ShardLake(root).publish([shard_row(n) | {"lang": LANGUAGES[n % 4]} for n in range(60)])
    return root


def test_languages_are_counted_over_the_samples_only(lake):
    split = build_index(Lake(str(lake), Storage()), "default", validation_share=0.3)
    counts = count_languages(split.train, Storage())
    held_out = held_out_mask(pa.array([f"{n:024x}" for n in range(60)]), 0.3).tolist()
    expected = Counter(LANGUAGES[n % 4] for n in range(60) if not held_out[n])
    assert counts == expected
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


@given(st.integers(1, 10**10), st.integers(1, 10**6), st.integers(0, 10**7))
def test_as_many_english_pairs_are_seen_as_asked(asked, english, others):
    counts = Counter({"en": english, "de": others})
    seen = with_seen_pairs(TrainConfig(seen_english_pairs=asked), counts).seen_pairs
    assert asked <= seen * english / (english + others) * (1 + 1e-12)
    assert (seen - 1) * english < asked * (english + others)


def test_the_length_of_a_run_follows_from_the_english_pairs(lake, tmp_path, caplog):
    keys = {"lake": str(lake), "output": str(tmp_path), "seen_english_pairs": 8, "resume": True} | SMALL
    assert train(TrainConfig(**keys), ALONE)["steps"] == 2, "8 English pairs are 32 pairs, 2 batches of 16"
    assert train(TrainConfig(**keys), ALONE)["steps"] == 2
    assert "settings that change" not in caplog.text
    assert train(TrainConfig(**keys | {"seen_english_pairs": 12}), ALONE)["steps"] == 3
    assert "seen_english_pairs 8 -> 12" in caplog.text


def test_shards_without_english_are_refused():
    with pytest.raises(UsageError, match="seen_english_pairs: the shards have no English pair: set seen_pairs"):
        with_seen_pairs(TrainConfig(seen_english_pairs=1), Counter({"de": 5}))


@pytest.mark.parametrize("keys", [{"steps": 1, "seen_english_pairs": 1}, {"seen_english_pairs": 1, "draw": "online"}])
def test_two_lengths_or_an_unknown_share_of_english_are_refused(keys):
    with pytest.raises(ValueError, match=r"exactly one of|draw: published"):
        TrainConfig(**keys)


def test_a_dry_run_prints_the_plan_and_writes_nothing(lake, tmp_path, capsys):
    keys = SMALL | {"lake": str(lake), "output": str(tmp_path / "out"), "steps": 30, "ema_decay": 0.9, "save_every": 1}
    (tmp_path / "t.yaml").write_text(json.dumps(keys))
    main(["--config", str(tmp_path / "t.yaml"), "--dry_run"])
    plan = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out").exists()
    assert (plan["steps"], plan["seen_pairs"], plan["epochs"], plan["warmup_steps"]) == (30, 480, 10.0, 3)
    assert plan["seen_pairs_by_language"] == {"de": 240, "en": 120, "ja": 120}
    assert plan["state_bytes_per_rank"] == plan["parameters"] * 20
    assert plan["about_seconds"] == round(30 * plan["step_seconds_p50"])
    assert 0 < plan["step_seconds_p50"] <= plan["step_seconds_p95"] <= plan["step_seconds_max"]
    assert plan["peak_memory_bytes"] > plan["state_bytes_per_rank"]


def test_the_bytes_of_a_parameter_are_those_of_the_tensors_that_a_step_leaves():
    layer = torch.nn.Linear(64, 64, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 64)).sum().backward()
    optimizer.step()
    moments = [value for value in optimizer.state[layer.weight].values() if value.ndim]
    tensors = [layer.weight, layer.weight.grad, *moments]
    assert sum(t.nbytes for t in tensors) == state_bytes(Parameters.of(layer), ALONE, average=False)
    layer.weight.requires_grad_(False)
    assert Parameters.of(layer) == (64 * 64, 0)
    assert layer.weight.nbytes == state_bytes(Parameters.of(layer), ALONE, average=False), "a frozen weight has no more"
    four = World(0, 4, torch.device("cpu"))
    assert state_bytes(Parameters(100, 60), four, average=True) == 100 * 8 + 60 * 16
    assert state_bytes(Parameters(100, 60), four, average=True, sharded=True) == (100 * 8 + 60 * 12) // 4
