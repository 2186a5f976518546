"""The earlier batches of `duplicates` are found with work that grows with the files, not with files times batches."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.lake import Lake
from jobs.tasks.dedup.stage import _earlier_batches

NAMES = [f"b{number:02}" for number in range(40)]


def snapshot(table, names, looks=None):
    class Partition(dict):
        def __getitem__(self, key):
            if looks is not None:
                looks[table] += 1
            return super().__getitem__(key)

    files = [
        DataFile(f"{table}/{number}.parquet", 1, 1, Partition(recipe="r", batch=name))
        for number, name in enumerate(names)
    ]
    return Snapshot(table, 7, tuple(files))


def context(images, duplicates):
    tables = {"images": images, "duplicates": duplicates}
    lake = SimpleNamespace(snapshot=lambda name, _: tables[name], up_to=Lake("/lake", Storage()).up_to)
    return SimpleNamespace(lake=lake, config=SimpleNamespace(recipe="r"), batch=NAMES[-1])


@given(st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from(NAMES)))
def test_each_earlier_batch_with_images_comes_with_its_files_in_order(images, duplicates):
    images, duplicates = snapshot("images", images), snapshot("duplicates", duplicates)
    expected = [(name, (images.of(batch=name), duplicates.of(batch=name))) for name in NAMES[:-1]]
    assert list(_earlier_batches(context(images, duplicates))) == [each for each in expected if each[1][0].files]


def test_each_file_is_looked_at_once():
    looks = Counter()
    list(_earlier_batches(context(snapshot("images", NAMES * 3, looks), snapshot("duplicates", NAMES, looks))))
    assert looks == {"images": 3 * len(NAMES), "duplicates": len(NAMES)}
