from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import DataLoader

from curation.errors import UsageError
from curation.lake.tombstones import add_tombstones
from support.shards import draw, shard_row
from training.data.pairs import PairDataset, iter_pairs
from training.data.transforms import decode


@pytest.fixture
def published(shard_lake) -> str:
    shard_lake.publish([shard_row(n) for n in range(25)], group_rows=4)
    add_tombstones(shard_lake.lake, image_ids=[shard_row(7)["image_id"]], reason="asked")
    return str(shard_lake.root)


def test_every_pair_is_read_once_in_the_order_of_the_shards(published):
    pairs = list(iter_pairs(published))
    expected = [draw(n) for n in range(25) if n != 7]
    assert [text for _, text in pairs] == [text for _, text in expected]
    assert all(np.array_equal(image, decode(data)) for (image, _), (data, _) in zip(pairs, expected, strict=True))
    assert len(PairDataset(published)) == 24


def test_worker_processes_share_the_pairs(published):
    loader = DataLoader(PairDataset(published), batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert sorted(text for _, text in loader) == sorted(draw(n)[1] for n in range(25) if n != 7)


def test_unsampled_shards_are_refused(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(5)], selection="all")
    with pytest.raises(UsageError, match="not the curated draw"):
        next(iter_pairs(str(shard_lake.root)))
