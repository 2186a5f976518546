"""Annotations are read with the samples beside which they were made, and with no others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from curation.lake.tombstones import add_tombstones
from support.annotations import publish_annotations
from support.batches import ORDER, ROWS, SIDE, START, equal, global_batches
from support.shards import shard_row
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.views.image_transform import PUBLISHED
from training.data.views.text_transform import TextTransform

MAKER = {"kind": "rewrites", "maker": "m:Maker", "version": "1"}


def number_of(image_id: str) -> int:
    return int(image_id, 16)


def rewrite(number: int) -> str:
    return f"rewrite of {number}"


def value(kind: str, image_id: str):
    number = number_of(image_id)
    if kind == "teacher_text":
        return [float(number), -1.0]
    return [{"text": rewrite(number), "style": "", "of": None}] if number % 5 else None


annotate = partial(publish_annotations, value=value, maker=MAKER)


def index_of(shard_lake, *columns, **keys):
    return build_index(shard_lake.lake, "default", annotations=columns, **keys).train


def dataset_of(shard_lake, tokenizer, sources, order=ORDER, **keys):
    index = index_of(shard_lake, *TextTransform(sources).columns)

    def make(order=order, steps=12, **settings) -> ShardDataset:
        views = {"image": PUBLISHED, "text": TextTransform(sources)}
        config = LoaderConfig(order=order, image_size=SIDE, batch_size=12, views=views, **settings)
        return ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=steps)

    return make(**keys) if keys else make


def test_every_sample_has_the_annotations_of_its_image(published):
    annotate(published)
    annotate(published, "teacher_text")
    gone = [f"{number:024x}" for number in (3, 30, 31)]
    add_tombstones(published.lake, image_ids=gone, reason="test")
    index = index_of(published, "teacher_text", "rewrites")
    reader, read = ShardReader(index, published.lake.storage), []
    for group in range(len(index.counts)):
        rows = reader.load(group)
        for row, number in enumerate(index.rows(group).tolist()):
            path = index.files[index.group_file[group]]
            stored = pq.ParquetFile(path).read_row_group(int(index.group_number[group])).to_pylist()[number]
            sample = number_of(stored["image_id"])
            assert rows.text(row) == stored["text"]
            assert rows.annotation("rewrites", row) == value("rewrites", stored["image_id"])
            assert rows.vector("teacher_text", row, 2).tolist() == [sample, -1.0]
            read.append(sample)
    reader.close()
    assert sorted(read) == [number for number in range(ROWS) if f"{number:024x}" not in gone]


def test_a_vector_of_another_size_is_refused(published):
    annotate(published, "teacher_text")
    rows = ShardReader(index_of(published, "teacher_text"), published.lake.storage).load(0)
    with pytest.raises(InputError, match=r"annotations: the vector teacher_text has 2 numbers, not 3: run jobs\.annot"):
        rows.vector("teacher_text", 0, 3)
    assert rows.vector("teacher_text", 1, 2).dtype == np.float32


def test_with_weight_on_published_texts_alone_nothing_of_a_batch_changes(published, tokenizer, loaded):
    plain = list(dataset_of(published, tokenizer, {"published": 1})())
    reads = list(loaded)
    annotate(published)
    with_weights = dataset_of(published, tokenizer, {"published": 1, "rewrites": 0})
    assert with_weights().index.annotations is None
    loaded.clear()
    assert all(equal(a, b) for a, b in zip(with_weights(), plain, strict=True))
    assert loaded == reads


@pytest.mark.parametrize(("world_size", "workers"), [(2, 1), (1, 3), (3, 2)])
def test_the_texts_do_not_depend_on_ranks_and_workers(published, tokenizer, world_size, workers):
    annotate(published)
    make = dataset_of(published, tokenizer, {"published": 1, "rewrites": 4}, SampleOrder(0, 6, 6))
    alone, together = list(make()), list(global_batches(make, world_size, workers))
    assert all(equal(a, b) for a, b in zip(together, alone, strict=True))


def test_a_visit_draws_among_the_original_and_the_rewrites_of_its_own_image(published, tokenizer):
    annotate(published)
    texts = TextTransform({"published": 1, "rewrites": 1})
    reader = ShardReader(index_of(published, *texts.columns), published.lake.storage)
    rows = reader.load(0)
    for row in range(len(rows)):
        written = rows.written(row, texts.columns)
        shown = {texts.show(rows.text(row), "en", {}, seed, written)[0] for seed in range(40)}
        assert shown == {rows.text(row), *(text["text"] for text in rows.annotation("rewrites", row) or ())}


def test_annotations_that_do_not_belong_to_the_shards_are_refused_in_one_line(published, shard_lake):
    def refused(error, problem, *columns, **keys):
        with pytest.raises(error, match=problem) as caught:
            index_of(shard_lake, *columns, **keys)
        assert "\n" not in str(caught.value)

    missing = r"annotations: no rewrites for recipe=default batch=b1 in .*: run jobs\.annotate --annotate\.kinds rewri"
    refused(InputError, missing, "rewrites")
    refused(UsageError, r"annotations: there is no column 'rewrite': choose among caption, ", "rewrite")
    annotate(shard_lake)
    assert index_of(shard_lake, "rewrites").annotations.makers == {"rewrites": MAKER}
    shard_lake.publish([shard_row(n) for n in range(9)], batch="b2", run="r2")
    refused(InputError, r"annotations: no rewrites for recipe=default batch=b2", "rewrites")
    annotate(shard_lake, batch="b2", run="20300101T000000-a-2", maker={**MAKER, "version": "2"})
    refused(InputError, r"rewrites of recipe=default batch=b1 and of .*b2 were made by different makers", "rewrites")
    shard_lake.publish([shard_row(n) for n in range(ROWS)], batch="b1", run="r9")
    refused(
        InputError, r"rewrites of .*batch=b1 were made from other shards \(run r1\): run jobs\.annotate", "rewrites"
    )


def test_a_file_with_rows_of_other_images_is_found_when_it_is_read(published):
    annotate(published, ids=lambda name: "f" * 24 if name.endswith("5") else name)
    reader = ShardReader(index_of(published, "rewrites"), published.lake.storage)
    with pytest.raises(InputError, match=r"annotations/.*, row group 0: it has rows of other images: run jobs\.annot"):
        reader.load(0)


def test_annotations_of_texts_are_refused_if_others_are_drawn(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(20)], selection="all")
    annotate(shard_lake)
    with pytest.raises(UsageError, match="draw: rewrites are annotations of published texts, but `draw: online` draws"):
        index_of(shard_lake, "rewrites", online=True)
