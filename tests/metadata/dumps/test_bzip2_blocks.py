from __future__ import annotations

import bz2
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from metadata.dumps import bzip2_blocks as bzip2
from metadata.dumps.bzip2_blocks import blocks_from

NOISE = random.Random(0).randbytes(400_000)  # does not shrink: four blocks of 100 kB
ONE = bz2.compress(NOISE, 1)
MANY = b"".join(bz2.compress(NOISE[at : at + 50_000], 9) for at in range(0, len(NOISE), 50_000))


def read(data, start=0):
    return list(blocks_from(io.BytesIO(data), start, "d.bz2"))


@pytest.mark.parametrize(
    "packed", [ONE, MANY, bz2.compress(b""), bz2.compress(b"") + ONE, bz2.compress(b"a" * 5_000_000)]
)
def test_all_blocks_make_up_the_file(packed):
    assert b"".join(block for _, block in read(packed)) == bz2.decompress(packed)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([ONE, MANY]), st.integers(0, len(MANY)))
def test_from_any_place_on_the_blocks_are_those_that_begin_there(packed, start):
    assert read(packed, start) == [(place, block) for place, block in read(packed) if place >= start]


@pytest.mark.parametrize("size", [64, 1000, 65536])
def test_marks_across_the_edges_of_reading_are_found(monkeypatch, size):
    monkeypatch.setattr(bzip2, "READ", size)
    packed = bz2.compress(NOISE[:3000], 1) + bz2.compress(NOISE[3000:6000], 1)
    assert b"".join(block for _, block in read(packed)) == NOISE[:6000]


@pytest.mark.parametrize("packed", [ONE, MANY])
def test_a_mark_that_stands_inside_a_block_by_chance_ends_nothing(monkeypatch, packed):
    real = bzip2._marks

    def marks(buffer):
        found = list(real(buffer))
        return iter(sorted([*found, *((place + 9_999, True) for place, _ in found)]))

    monkeypatch.setattr(bzip2, "_marks", marks)
    assert b"".join(block for _, block in read(packed)[:1]) == NOISE[: len(read(packed)[0][1])]


@pytest.mark.parametrize("cut", [5, 40, 60_000, 250_000])
def test_the_blocks_before_the_end_of_a_truncated_file_are_given(cut):
    found = []
    with pytest.raises(InputError, match=r"cannot read d\.bz2 to its end: the block at byte \d+ is cut off or damaged"):
        found.extend(block for _, block in blocks_from(io.BytesIO(ONE[:-cut]), 0, "d.bz2"))
    assert NOISE.startswith(b"".join(found))
    ends = [*(place for place, _ in read(ONE)[1:]), len(ONE) - 11]
    assert len(found) == sum(end + 7 <= len(ONE) - cut for end in ends)


def test_a_damaged_block_is_named():
    damaged = bytearray(ONE)
    damaged[len(ONE) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"the block at byte \d+ is cut off or damaged"):
        read(bytes(damaged))
