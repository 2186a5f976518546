"""A video is shown as some of its frames, all cropped alike."""

from __future__ import annotations

import numpy as np
import pytest

from curation.errors import InputError
from curation.hashing import u64
from support.annotations import publish_annotations
from support.batches import ORDER, SIDE, START, equal, global_batches
from support.scenes import encoded, scene
from support.shards import shard_row
from training.data.random_crop import random_crop
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.tables.selection import Interval
from training.data.views.frame_choice import frame_indices
from training.data.views.frames import FramesTransform
from training.data.views.rows import annotation_columns
from training.data.views.text_transform import TextTransform

ROWS, STORED = 24, 7
VIEWS = {
    "frames": FramesTransform(3),
    "middle": FramesTransform(1),
    "caption": TextTransform({"caption": 1}, optional=True),
}
MAKER = {"maker": "m:Maker", "version": "1"}
PICTURES = [encoded(scene(seed=number)) for number in range(STORED)]


def video(_: str, image_id: str):
    """Return the frames of every row but each sixth, and a caption of every second one."""
    number = int(image_id, 16)
    if number % 6 == 5:
        return None
    frames = [PICTURES[(number + n) % STORED] for n in range(STORED)]
    caption = None if number % 2 else f"caption {number}"
    return {"frames": frames, "frame_times": [*range(STORED)], "subtitle": None, "caption": caption}


@pytest.fixture
def lake(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(ROWS)], group_rows=8)
    publish_annotations(shard_lake, "frames", value=video, maker=MAKER)
    return shard_lake.lake


def index_of(lake, **keys):
    columns = annotation_columns(VIEWS.values())
    return build_index(lake, "default", annotations=columns, select={"frames": Interval()}, **keys)


@pytest.fixture
def make(lake, tokenizer):
    def start(order=ORDER, steps=6, **settings) -> ShardDataset:
        config = LoaderConfig(order=order, image_size=SIDE, batch_size=12, views=VIEWS, **settings)
        return ShardDataset(index_of(lake).train, lake.storage, tokenizer, config, start=START, steps=steps)

    return start


@pytest.mark.parametrize("jitter", [True, False])
def test_frames_are_those_that_are_chosen_in_one_crop(jitter):
    transform, frames = FramesTransform(3, jitter), [memoryview(picture) for picture in PICTURES]
    result, expected = np.zeros((2, 3, SIDE, SIDE, 3), np.uint8)
    transform.write(frames, 9, result)
    chosen = frame_indices(STORED, 3, u64(9, "frames") if jitter else None)
    for number, pixels in zip(chosen, expected, strict=True):
        random_crop(PICTURES[number], 9, pixels)
    assert (result == expected).all()


@pytest.mark.parametrize(("world_size", "workers"), [(2, 1), (1, 3), (3, 2)])
def test_videos_do_not_depend_on_ranks_and_workers(make, world_size, workers):
    def of_all(**keys):
        return make(SampleOrder(0, 6, 6), **keys)

    alone, together = list(of_all()), list(global_batches(of_all, world_size, workers))
    assert all(equal(a, b) for a, b in zip(together, alone, strict=True))


def test_a_batch_has_frames_and_tells_which_samples_have_a_caption(make, tokenizer):
    for batch in make():
        assert batch.views["frames"].shape == (12, 3, SIDE, SIDE, 3)
        assert batch.views["middle"].shape == (12, 1, SIDE, SIDE, 3)
        empty = (batch.views["caption"] == tokenizer([""])[0]).all(1)
        assert (batch.views["caption.present"] == ~empty).all()
        assert 0 < empty.sum() < 12


def test_rows_without_frames_are_left_out_of_both_splits(lake):
    split = index_of(lake, validation_share=0.4)
    with_frames = [number for number in range(ROWS) if number % 6 != 5]
    assert split.train.samples + split.validation.samples == len(with_frames)
    reader = ShardReader(split.validation, lake.storage)
    for group in np.flatnonzero(split.validation.counts):
        rows = reader.load(group)
        assert all(len(rows.frames(row)) == STORED for row in range(len(rows)))


def test_a_row_without_frames_that_is_not_left_out_is_a_bad_row(lake):
    index = build_index(lake, "default", annotations=["frames"]).train
    rows = ShardReader(index, lake.storage).load(0)
    with pytest.raises(
        InputError, match=r"the sample has no frames: leave out such samples with select: \{frames: \{\}"
    ):
        rows.frames(5)
