from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.batches import equal
from training.data.batch_memory import BatchShape, Field, MemoryPool
from training.data.loader import load_batches
from training.distributed import RunInterruptedError


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_no_memory_that_is_in_use_is_given_out_again(plan):
    """Some consumers hold the tensor, some a view of it, and some an array."""
    pool, held = MemoryPool.local(8), []
    for number, (take, which) in enumerate(plan):
        if take:
            memory = pool.take().memory.fill_(number)
            held.append((number, (memory, memory[2:4], memory.numpy())[which % 3]))
            del memory
        elif held:
            held.pop(which % len(held))
        assert all((part == value).all() for value, part in held)


def test_memory_is_used_again_when_its_last_user_is_gone():
    pool = MemoryPool.local(8)
    view = pool.take().memory[:4]
    assert pool.take().number == 1
    array = view.numpy()
    del view
    assert pool.take().number == 1
    del array
    assert {pool.take().number, pool.take().number} <= {0, 1}
    assert len(pool) == 2


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_columns_of_a_batch_fill_its_memory_without_overlap(rows, side, context):
    fields = [
        Field("image", (side, side, 3), torch.uint8),
        Field("text", (context,), torch.int32),
        Field("key", (), torch.int64),
        Field("vector", (context,), torch.float32),
    ]
    shape = BatchShape(rows, fields)
    columns = shape.columns(torch.zeros(shape.num_bytes, dtype=torch.uint8))
    for number, (name, of_row, dtype) in enumerate(fields):
        assert (tuple(columns[name].shape), columns[name].dtype) == ((rows, *of_row), dtype)
        columns[name].fill_(number + 1)
    assert all((columns[field.name] == number + 1).all() for number, field in enumerate(fields))
    assert sum(column.numel() * column.element_size() for column in columns.values()) == shape.num_bytes


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_that_the_consumer_holds_never_change(dataset, workers):
    alone = [batch._replace(views={name: rows.clone() for name, rows in batch.views.items()}) for batch in dataset()]
    batches = enumerate(load_batches(dataset(num_workers=workers)))
    held = {number: batch for number, batch in batches if number % 3 != 1}
    assert len({batch.images.data_ptr() for batch in held.values()}) == len(held)
    assert all(equal(batch, alone[number]) for number, batch in held.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_consumer_that_holds_no_batch_gets_the_same_memory_again(dataset, workers):
    batches = load_batches(dataset(num_workers=workers, steps=12))
    addresses = [next(batches).images.data_ptr() for _ in range(12)]
    assert len(set(addresses)) <= 4


def test_full_shared_memory_is_one_clear_line():
    with pytest.raises(
        RunInterruptedError, match=r"^num_workers: shared memory has no room for a batch of .*: enlarge"
    ):
        MemoryPool.shared(1 << 50).take()
