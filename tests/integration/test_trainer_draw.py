"""Shards of every matched pair are enough for the trainer to draw what balance would draw."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from curation.balance.sampling import DrawKey
from curation.errors import UsageError
from jobs import nightly
from jobs.runtime.context import Context
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader

pytestmark = pytest.mark.spark


def test_the_trainers_draw_from_all_matched_pairs_is_the_jobs_draw(night_done):
    context = night_done
    balance = context.config.balance.model_copy(update={"selection": "all"})
    every = Context(context.config.model_copy(update={"recipe": "every", "balance": balance}), "nightly")
    nightly.run(every)
    with pytest.raises(UsageError, match="would balance it twice"):
        build_index(context.lake, "default", online=True)
    index = build_index(context.lake, "every", online=True).train
    reader = ShardReader(index, context.storage)
    drawn = []
    for group in range(len(index.counts)):
        mask, texts, _ = reader.draw(group, DrawKey(context.config.seed))
        ids = reader.read(group, ("image_id",))["image_id"].to_pylist()
        drawn += [(image, text.as_py()) for image, text, kept in zip(ids, texts, mask, strict=True) if kept]
    files = context.lake.snapshot("shards", {"recipe": "default"}).files
    rows = [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]
    assert drawn == [(row["image_id"], row["text"]) for row in rows]
    assert 0 < len(drawn) < index.samples
