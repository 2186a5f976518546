from __future__ import annotations

from collections import Counter

import pytest
import torch

from curation.errors import InputError
from support.batches import SIDE, START, global_batches
from support.shards import matched_row, shard_row
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.views.text_transform import TextTransform

MATCHED = TextTransform({"published": 0, "matched": 1})
ROWS = 24


@pytest.fixture
def dataset(shard_lake, tokenizer, tmp_path, monkeypatch):
    """Return a function that loads texts of a lake of 24 images, whose rows come from a function."""
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))

    def start(make_row=matched_row):
        shard_lake.publish([make_row(n) for n in range(ROWS)], group_rows=8)
        index = build_index(shard_lake.lake, "default").train

        def load(text: TextTransform, *, start: DataState = START, **keys) -> ShardDataset:
            config = LoaderConfig(SampleOrder(), SIDE, 12, text=text, **keys)
            return ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=start, steps=8)

        return load

    return start


def tokens_of(load, text: TextTransform, world_size: int = 1, workers: int = 1, **keys) -> torch.Tensor:
    batches = global_batches(lambda **split: load(text, **split, **keys), world_size, workers)
    return torch.cat([batch.tokens for batch in batches])


def test_by_default_a_visit_shows_the_text_of_the_sample():
    assert TextTransform().show("a red fish", "en", {}, 7) == ("a red fish", "en")
    assert not TextTransform().reads_matched


def test_a_drawn_text_has_its_own_language_also_after_an_edit():
    transform = TextTransform({"matched": 1}, edits=("swap",))
    matched = {"a fish": "en", "un pesce": "it"}
    shown = {transform.show("a fish", "en", matched, seed) for seed in range(20)}
    assert shown == {("fish a", "en"), ("pesce un", "it")}


def test_every_matched_text_of_an_image_is_shown_and_no_other(dataset, tokenizer):
    shown = Counter(map(tuple, tokens_of(dataset(), MATCHED).tolist()))
    stored = [text["text"] for n in range(ROWS) for text in matched_row(n)["texts"]]
    assert set(shown) <= set(map(tuple, tokenizer(stored).tolist()))
    assert len(shown) > ROWS  # four epochs show more than one text of an image


def test_the_weights_one_and_zero_show_what_was_shown_before(dataset):
    load = dataset()
    plain = tokens_of(load, TextTransform())
    assert torch.equal(tokens_of(load, TextTransform({"published": 1, "matched": 0})), plain)
    assert not torch.equal(tokens_of(load, MATCHED), plain)


@pytest.mark.parametrize(("world_size", "workers"), [(2, 1), (4, 1), (1, 3), (2, 3)])
def test_a_position_shows_the_same_text_for_any_number_of_ranks_and_workers(dataset, world_size, workers):
    load, text = dataset(), TextTransform({"published": 1, "matched": 1}, edits=("swap", "delete"))
    assert torch.equal(tokens_of(load, text, world_size, workers), tokens_of(load, text))


def test_loading_from_the_middle_shows_the_rest_of_the_texts(dataset):
    load = dataset()
    rest = tokens_of(load, MATCHED, start=DataState(1, 12))
    assert torch.equal(rest[:60], tokens_of(load, MATCHED)[36:96])


def test_an_image_without_matched_texts_is_named(dataset):
    message = r"r1\.parquet, row group \d, row \d: texts: the row has none of source matched"
    with pytest.raises(InputError, match=message):
        tokens_of(dataset(shard_row), MATCHED)
