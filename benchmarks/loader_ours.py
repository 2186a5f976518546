"""Measure our loader in a process of its own, with the arguments FOLDER WORKERS [--encoded | --resume]; prints JSON.

FOLDER has a lake with the recipe `default`. `bench_loader.py` starts it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from loader_peers import BATCH, SIZE, measure

from curation.io.storage import Storage
from curation.lake.lake import Lake
from training.data.loader import load_batches, load_steps, start_worker_server
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.tokenizer import Tokenizer


class EncodedDataset(ShardDataset):
    """Writes the bytes of the images, one after another, to the rows of a worker's share of the batch."""

    def _load(self, *arguments: Any) -> Any:
        _, groups, order, state, (worker, workers), memory = arguments
        positions, _ = self._share(state, worker, workers)
        places = [order.locate(position) for position in positions]
        rows = [(groups.group(place), place.row) for place in places]
        start = worker * len(memory) // workers
        target, ends = memoryview(memory.numpy()), [start]
        for group, row in rows:
            image = group.image(row)
            target[ends[-1] : ends[-1] + len(image)] = image
            ends.append(ends[-1] + len(image))
        return ends, [group.text(row) for group, row in rows]


def encoded_batches(dataset: EncodedDataset) -> Iterator[Any]:
    """Yield the images and texts of every worker's share, the images without another copy."""
    for memory, shares in load_steps(dataset):
        data = memoryview(memory.numpy())
        for ends, texts in shares:
            yield [data[start:end] for start, end in pairwise(ends)], texts


def main() -> None:
    """Measure one epoch, or the first batch at half of it."""
    folder, workers, options = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    start_worker_server()  # as the trainer does
    lake, started = Lake(str(folder / "lake"), Storage()), time.perf_counter()
    index = build_index(lake, "default").train
    index_s = time.perf_counter() - started
    tokenizer = Tokenizer.train(["a picture, number 0"] * 9, vocab_size=300, context_length=77)
    size = BATCH * workers if "--encoded" in options else BATCH
    config = LoaderConfig(SampleOrder(0, max(1, workers)), image_size=SIZE, batch_size=size, num_workers=workers)
    steps, keys = index.samples // size, {"start": DataState()}
    if "--encoded" in options:
        dataset = EncodedDataset(index, lake.storage, tokenizer, config, steps=steps, **keys)
        result = measure(lambda: encoded_batches(dataset))
    elif "--resume" in options:
        keys = {"start": DataState(0, index.samples // 2)}
        batches = load_batches(ShardDataset(index, lake.storage, tokenizer, config, steps=2, **keys))
        result = {"index_s": index_s, **measure(lambda: batches)}
    else:
        result = measure(
            lambda: load_batches(ShardDataset(index, lake.storage, tokenizer, config, steps=steps, **keys))
        )
    print(json.dumps(result))
