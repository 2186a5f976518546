from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curation.balance.sampling import DrawKey
from curation.errors import InputError, UsageError
from curation.hashing import u64, uniform
from curation.lake.tombstones import add_tombstones
from support import shards
from support.shards import matched_row, publish_matched, shard_row
from training.config import TrainConfig
from training.data.epochs.draw import _Scan, draw_epoch
from training.data.epochs.mixture import Mixture
from training.data.epochs.samples import EpochSamples
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.distributed import World
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
ROWS, REMOVED = 200, 7
SMALL = shards.SMALL | {"steps": 9, "save_every": 4, "draw": "online"}


def publish(shard_lake, rows=ROWS):
    publish_matched(shard_lake, rows)
    return shard_lake.lake


def samples(index, lake) -> list[tuple[bytes, str]]:
    reader = ShardReader(index, lake.storage)
    groups = [reader.load(group) for group in range(len(index.counts))]
    return [group[row] for group in groups for row in range(len(group))]


def oracle(row, seed: int, epoch: int) -> str | None:
    """Return the text that an epoch draws for this row, computed hash by hash; None if the pair is not drawn."""
    image = row["image_id"]
    text = min(row["texts"], key=lambda text: u64(seed, "epoch-text", str(epoch), image, text["text"]))
    drawn = uniform(u64(seed, "epoch-draw", str(epoch), image, text["text"])) < text["keep_probability"]
    return text["text"] if drawn else None


def test_every_epoch_draws_the_pairs_of_the_oracle_and_epochs_differ(shard_lake):
    lake = publish(shard_lake)
    add_tombstones(lake, image_ids=[matched_row(REMOVED)["image_id"]], reason="asked")
    index = build_index(lake, "default", online=True).train
    assert index.samples == ROWS - 1
    rows = [matched_row(n) for n in range(ROWS) if n != REMOVED]
    epochs = []
    for epoch in range(3):
        drawn = draw_epoch(index, lake.storage, DrawKey(5, epoch), ALONE)
        epochs.append([(row["image"], text) for row in rows if (text := oracle(row, 5, epoch)) is not None])
        assert samples(drawn, lake) == epochs[-1]
        assert drawn.samples == len(epochs[-1])
    assert 40 < len(epochs[0]) < 160
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_draw_does_not_depend_on_the_distribution_of_files_over_ranks(shard_lake):
    lake = publish(shard_lake)
    index = build_index(lake, "default", online=True).train
    key = DrawKey(5, 1)
    scan = _Scan(ShardReader(index, lake.storage), key, None, read_languages=False)
    whole = scan.files(range(len(index.files)))
    for size in (2, 3, 7):
        parts = [scan.files(range(rank, len(index.files), size)) for rank in range(size)]
        assert sum(map(len, parts)) == len(whole)
        assert all(np.array_equal(whole[group].bits, drawn.bits) for part in parts for group, drawn in part.items())


def test_held_out_pairs_are_the_same_for_every_run_and_never_trained_on(shard_lake):
    lake = publish(shard_lake)
    split = build_index(lake, "default", online=True, validation_share=0.3)
    rows = [matched_row(n) for n in range(ROWS)]
    held_out = [row for row in rows if uniform(u64(0, "validation", row["image_id"])) < 0.3]
    expected = [
        (row["image"], row["text"])
        for row in held_out
        if uniform(u64(0, "draw", row["image_id"], row["text"])) < row["keep_probability"]
    ]
    assert samples(split.validation, lake) == expected
    assert 0 < len(expected) < len(held_out)
    assert split.train.samples == ROWS - len(held_out)


def test_an_epoch_with_less_than_one_batch_is_refused(shard_lake):
    lake = publish(shard_lake, rows=40)
    split = build_index(lake, "default", online=True)
    samples = EpochSamples(split, lake.storage, ALONE, mixture=Mixture({}), batch_size=39, draws=True)
    with pytest.raises(UsageError, match=r"batch_size: 39 is more than the \d+ pairs of epoch 2, drawn from 40"):
        samples.index(2)


def with_languages(rows: int) -> list[dict[str, object]]:
    """Return matched rows whose texts have different languages, and all rows the column `lang` of none of them."""
    result = []
    for n in range(rows):
        row = matched_row(n)
        texts = [text | {"lang": ("en", "en", "de", "sw")[(n + k) % 4]} for k, text in enumerate(row["texts"])]
        result.append(row | {"texts": texts, "lang": "other"})
    return result


def languages_of(index, lake) -> Counter[str]:
    reader = ShardReader(index, lake.storage)
    return sum((Counter(reader.languages(group).to_pylist()) for group in range(len(index.counts))), Counter())


def test_a_filter_applies_to_the_text_that_an_epoch_draws(shard_lake):
    rows = with_languages(ROWS)
    shard_lake.publish(rows, group_rows=9, file_rows=41, selection="all")
    lake = shard_lake.lake
    split = build_index(lake, "default", online=True, languages=["de", "sw"])
    assert split.train.samples == ROWS
    keys = {"mixture": Mixture({}, seed=5), "batch_size": 2, "draws": True, "languages": ["de", "sw"]}
    drawn = EpochSamples(split, lake.storage, ALONE, **keys).index(1)
    lang_of = {(row["image"], text["text"]): text["lang"] for row in rows for text in row["texts"]}
    expected = [(row["image"], text) for row in rows if (text := oracle(row, 5, 1)) is not None]
    assert samples(drawn, lake) == [pair for pair in expected if lang_of[pair] in ("de", "sw")]
    assert languages_of(drawn, lake) == Counter(lang_of[pair] for pair in samples(drawn, lake))


def test_a_temperature_applies_to_the_languages_that_an_epoch_draws(shard_lake):
    shard_lake.publish(with_languages(2000), group_rows=100, file_rows=500, selection="all")
    lake = shard_lake.lake
    split = build_index(lake, "default", online=True, read_languages=True)
    plain, mixed = (
        languages_of(EpochSamples(split, lake.storage, ALONE, mixture=mixture, batch_size=2, draws=True).index(0), lake)
        for mixture in (Mixture({}, seed=5), Mixture({}, 2.0, seed=5))
    )
    total = sum(count**0.5 for count in plain.values())
    for language, count in plain.items():
        assert mixed[language] == pytest.approx(plain.total() * count**0.5 / total, rel=0.08)


@pytest.mark.parametrize("damage", [{"texts": []}, {"texts": [{"text": "a", "entry_ids": [1]}]}])
def test_shards_without_texts_or_probabilities_are_named_in_the_error(shard_lake, damage):
    shard_lake.publish([matched_row(1), matched_row(2) | damage], selection="all")
    index = build_index(shard_lake.lake, "default", online=True).train
    with pytest.raises(InputError, match=r"r1\.parquet has rows without texts or probabilities to draw from"):
        draw_epoch(index, shard_lake.lake.storage, DrawKey(0, 0), ALONE)


@pytest.fixture
def config(shard_lake, tmp_path):
    publish(shard_lake)

    def make(output: str, **keys) -> TrainConfig:
        return TrainConfig(**(SMALL | {"lake": str(shard_lake.root), "output": str(tmp_path / output)} | keys))

    return make


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(config, caplog):
    with caplog.at_level(logging.INFO):
        whole = train(config("whole"), ALONE)
    drawn = [line for line in caplog.messages if "pairs drawn from 200 matched images" in line]
    assert [line.split(":")[0] for line in drawn] == [f"epoch {n}" for n in range(whole["epoch"] + 1)]
    assert whole["epoch"] >= 1
    assert whole["steps"] == 9
    for step in (4, 8):
        saved = Path(whole["checkpoint"]).with_name(f"step-{step:08d}")
        resumed = train(config(f"from{step}", resume=str(saved)), ALONE)
        assert all(resumed[key] == whole[key] for key in ("loss", "epoch", "position"))
        ours, theirs = (load_file(Path(run["checkpoint"]) / "model.safetensors") for run in (resumed, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert TrainingState.read(Path(whole["checkpoint"]).with_name("step-00000004")).progress.position > 0


def test_two_processes_draw_and_train_as_one_does(config, two_processes):
    both = two_processes["online"]
    alone = train(config("alone", lake=str(both.lake)), ALONE)
    for key in ("steps", "epoch", "position"):
        assert both.summary[key] == alone[key]
    assert both.summary["processes"] == 2
    assert both.summary["loss"] == pytest.approx(alone["loss"], abs=2e-3)
    assert checkpoint.find(both.output) is not None


def test_a_run_neither_draws_twice_nor_trains_on_unsampled_pairs(config, shard_lake):
    with pytest.raises(UsageError, match="set `draw: online` to draw from them at every epoch"):
        train(config("published", draw="published"), ALONE)
    train(config("online", steps=1), ALONE)
    with pytest.raises(UsageError, match=r"\(draw 'online' -> 'published'\)"):
        train(config("online", draw="published", resume=True), ALONE)
    shard_lake.publish([shard_row(n) for n in range(40)], recipe="drawn", run="r2")
    with pytest.raises(UsageError, match="would balance it twice"):
        train(config("again", recipe="drawn"), ALONE)
