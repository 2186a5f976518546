from __future__ import annotations

import io
import logging
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.hashing import u64
from support.batches import ORDER, ROWS, SIDE, START, equal, global_batches
from support.shards import draw, shard_row
from training.data import loader
from training.data import random_crop as random_crop_module
from training.data.loader import load_batches
from training.data.random_crop import random_crop
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index


def test_a_batch_contains_the_samples_that_the_order_lists(dataset, published, tokenizer):
    index = build_index(published.lake, "default").train
    numbers = {(f, g, r): 25 * f + 9 * g + r for f in range(3) for g in range(3) for r in range(9)}
    for step, batch in enumerate(dataset()):
        epoch, number = divmod(step, ROWS // 12)
        epoch_order = ORDER.epoch(epoch, index.counts)
        assert batch.positions.tolist() == list(range(12 * number, 12 * number + 12))
        for k, position in enumerate(batch.positions.tolist()):
            group, row = epoch_order.locate(position)[-2:]
            data, text = draw(numbers[int(index.group_file[group]), int(index.group_number[group]), row])
            expected = np.empty((SIDE, SIDE, 3), np.uint8)
            random_crop(data, u64(5, "crop", str(epoch), str(position)), expected)
            assert np.array_equal(batch.images[k], expected)
            assert torch.equal(batch.tokens[k], tokenizer([text])[0])


def test_jpegs_in_shards_are_decoded_without_pillow(shard_lake, tokenizer, monkeypatch):
    rows = [shard_row(n) for n in range(20)]
    for row in rows:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(row["image"])).save(buffer, "JPEG")
        row["image"] = buffer.getvalue()
    shard_lake.publish(rows)
    monkeypatch.setattr(random_crop_module, "decode", lambda _: pytest.fail("Pillow was used"))
    index = build_index(shard_lake.lake, "default").train
    config = LoaderConfig(SampleOrder(), image_size=SIDE, batch_size=20)
    assert len(list(ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=1))) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([1, 2, 3, 4, 6]), st.integers(1, 4), st.integers(0, 9))
def test_any_number_of_ranks_and_workers_loads_the_same_batches_from_any_start(dataset, world_size, workers, done):
    alone = list(dataset(steps=10))
    start = DataState()
    for _ in range(done):
        start = start.batch_start(12, ROWS).advance(12)
    resumed = list(global_batches(dataset, world_size, workers, start=start, steps=10 - done))
    assert len(resumed) == 10 - done
    assert all(equal(a, b) for a, b in zip(resumed, alone[done:], strict=True))


def test_real_loader_processes_give_the_same_batches(dataset):
    alone = list(load_batches(dataset()))
    with_workers = list(load_batches(dataset(num_workers=2)))
    assert all(equal(a, b) for a, b in zip(with_workers, alone, strict=True))


def test_the_log_states_how_often_row_groups_were_read(dataset, caplog):
    with caplog.at_level(logging.INFO):
        list(load_batches(dataset(steps=10, order=SampleOrder(0, 1, 6))))
    lines = [line for line in caplog.messages if "row groups" in line]
    assert [line[: len("epoch 0:")] for line in lines] == ["epoch 0:", "epoch 1:"]
    # 60 of 67 samples fill batches; the group that only the rest needs is read ahead, or not in time
    ends = {f"read {n} row groups, {share} times this rank's share of them" for n, share in ((7, "0.98"), (8, "1.12"))}
    assert {line.removesuffix("; replaced 0 samples")[len("epoch 0: ") :] for line in lines} <= ends


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_copied_once_into_pinned_memory(dataset, monkeypatch, workers):
    """Pinning the shares and merging them afterwards left batches in pageable memory."""
    pinned: list[int] = []

    def empty(*shape, pin_memory=False, **keys):
        tensor = torch.zeros(*shape, **keys)
        pinned.extend([tensor.data_ptr()] if pin_memory else [])
        return tensor

    alone = list(load_batches(dataset()))
    monkeypatch.setattr(loader.torch, "empty", empty)
    batches = list(load_batches(dataset(pin_memory=True, num_workers=workers)))
    assert all(equal(a, b) for a, b in zip(batches, alone, strict=True))
    assert all(column.data_ptr() in pinned for batch in batches for column in (batch.positions, *batch.views.values()))


def test_loader_processes_do_not_import_the_main_module(dataset, monkeypatch):
    """For the trainer it would load the model's libraries in each of them."""
    main = ModuleType("__main__")
    main.__file__ = "/does/not/exist.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert len(list(load_batches(dataset(num_workers=1, steps=2)))) == 2
    assert sys.modules["__main__"] is main
