from __future__ import annotations

import json
from itertools import islice

import pytest
import torch

from curation.errors import UsageError
from support.batches import equal
from support.shards import shard_row
from training.data.batch_loader import BatchLoader
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig
from training.data.shard_index import build_index


@pytest.fixture
def make(shard_lake, tokenizer):
    shard_lake.publish([shard_row(n) for n in range(40)], group_rows=9)
    index = build_index(shard_lake.lake, "default").train

    def make(steps=7, streams=2, **keys) -> BatchLoader:
        config = LoaderConfig(SampleOrder(1, streams, 5), image_size=8, batch_size=12, **keys)
        return BatchLoader(index, shard_lake.lake.storage, tokenizer, config, steps=steps)

    return make


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 3, 5])
def test_a_loader_continues_at_the_batch_after_the_last_yielded_one(make, done, workers):
    whole = list(make())
    stopped = make(num_workers=workers)
    assert len(list(islice(stopped, done))) == done
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed = make(steps=7 - done)
    resumed.load_state_dict(state)
    for batch, expected in zip(resumed, whole[done:], strict=True):
        assert equal(batch, expected)


def test_a_second_iteration_continues_the_first(make):
    loader = make(steps=3)
    positions = [batch.positions for _ in range(2) for batch in loader]
    assert all(torch.equal(a.positions, b) for a, b in zip(make(steps=6), positions, strict=True))


def test_the_state_of_another_order_is_refused(make):
    with pytest.raises(UsageError, match=r"state of the loader: it belongs to another order \(streams 2 -> 4\)"):
        make(streams=4).load_state_dict(make().state_dict())
