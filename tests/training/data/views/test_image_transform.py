from __future__ import annotations

import numpy as np
import pytest
import torch

from curation.hashing import u64
from support.batches import SIDE, START, global_batches
from support.shards import draw, shard_row
from training.data.random_crop import random_crop
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.views.augmentation import augment
from training.data.views.image_transform import ImageTransform


def test_by_default_an_image_is_cropped_and_stays_as_it_is():
    data, _ = draw(5)
    found, crop = np.empty((2, SIDE, SIDE, 3), np.uint8)
    ImageTransform().write(data, 9, found)
    random_crop(data, 9, crop)
    assert np.array_equal(found, crop)


def test_an_augmentation_changes_the_crop_with_a_seed_of_its_own():
    data, _ = draw(5)
    found, crop = np.empty((2, SIDE, SIDE, 3), np.uint8)
    ImageTransform((0.5, 1.0), "moco").write(data, 9, found)
    random_crop(data, 9, crop, (0.5, 1.0))
    assert np.array_equal(found, augment(crop, "moco", u64(9, "augment")))
    assert not np.array_equal(found, crop)


@pytest.mark.parametrize("name", ["moco", "clip_italian"])
def test_a_position_shows_the_same_image_for_any_number_of_ranks_and_workers(
    shard_lake, tokenizer, tmp_path, monkeypatch, name
):
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    shard_lake.publish([shard_row(n) for n in range(24)], group_rows=8)
    index = build_index(shard_lake.lake, "default").train

    def dataset(rank: int, world_size: int) -> ShardDataset:
        views = {"image": ImageTransform((0.3, 1.0), name)}
        config = LoaderConfig(SampleOrder(), SIDE, 12, rank, world_size, views=views)
        return ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=2)

    def batch(world_size: int, workers: int) -> torch.Tensor:
        return torch.cat([batch.images for batch in global_batches(dataset, world_size, workers)])

    alone = batch(1, 1)
    assert len({image.numpy().tobytes() for image in alone}) == 24
    for world_size, workers in ((2, 1), (4, 1), (1, 3), (2, 3)):
        assert torch.equal(batch(world_size, workers), alone)
