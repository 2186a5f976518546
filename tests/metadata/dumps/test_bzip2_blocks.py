from __future__ import annotations

import bz2
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.dumps import bzip2_blocks as bzip2
from metadata.dumps.bzip2_blocks import iter_blocks

NOISE = random.Random(0).randbytes(400_000)  # incompressible: four blocks of 100 kB
ONE = bz2.compress(NOISE, 1)
MANY = b"".join(bz2.compress(NOISE[at : at + 50_000], 9) for at in range(0, len(NOISE), 50_000))


def read(data, start=0):
    return list(iter_blocks(io.BytesIO(data), start, "d.bz2"))


@pytest.mark.parametrize(
    "packed", [ONE, MANY, bz2.compress(b""), bz2.compress(b"") + ONE, bz2.compress(b"a" * 5_000_000)]
)
def test_the_blocks_together_are_the_file(packed):
    assert b"".join(block for _, block in read(packed)) == bz2.decompress(packed)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([ONE, MANY]), st.integers(0, len(MANY)))
def test_reading_from_an_offset_gives_the_blocks_that_start_after_it(packed, start):
    assert read(packed, start) == [(offset, block) for offset, block in read(packed) if offset >= start]


@pytest.mark.parametrize("size", [64, 1000, 65536])
def test_marks_that_cross_the_edge_of_a_read_are_found(monkeypatch, size):
    monkeypatch.setattr(bzip2, "READ", size)
    packed = bz2.compress(NOISE[:3000], 1) + bz2.compress(NOISE[3000:6000], 1)
    assert b"".join(block for _, block in read(packed)) == NOISE[:6000]


@pytest.mark.parametrize("packed", [ONE, MANY])
def test_a_mark_that_occurs_inside_a_block_by_chance_does_not_end_it(monkeypatch, packed):
    real = bzip2._marks

    def marks(buffer):
        found = list(real(buffer))
        return iter(sorted([*found, *((bit + 9_999, True) for bit, _ in found)]))

    monkeypatch.setattr(bzip2, "_marks", marks)
    assert b"".join(block for _, block in read(packed)[:1]) == NOISE[: len(read(packed)[0][1])]


@pytest.mark.parametrize("cut", [5, 40, 60_000, 250_000])
def test_a_truncated_file_gives_the_blocks_before_its_end(cut):
    found = []
    message = r"cannot read d\.bz2 to its end: the block at byte \d+ is truncated or damaged"
    with pytest.raises(InputError, match=message):
        found.extend(block for _, block in iter_blocks(io.BytesIO(ONE[:-cut]), 0, "d.bz2"))
    assert NOISE.startswith(b"".join(found))
    ends = [*(offset for offset, _ in read(ONE)[1:]), len(ONE) - 11]
    assert len(found) == sum(end + 7 <= len(ONE) - cut for end in ends)


def test_a_damaged_block_is_named_by_its_offset():
    damaged = bytearray(ONE)
    damaged[len(ONE) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"the block at byte \d+ is truncated or damaged"):
        read(bytes(damaged))
