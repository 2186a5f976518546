from __future__ import annotations

import gzip
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.io import gzip_stream
from curation.io.gzip_stream import DamagedError, GzipStream

MEMBERS = [random.Random(i).randbytes(50) * 40 + bytes(f"member {i}\n" * 30, "ascii") for i in range(6)]
PLAIN = b"".join(MEMBERS)
PACKED = [gzip.compress(member) for member in MEMBERS]


def read_all(data: bytes, size: int = 100):
    """All bytes returned, how many of them are trusted, and the damage."""
    source = GzipStream(io.BytesIO(data))
    out = b""
    try:
        while piece := source.read(size):
            assert len(piece) <= size
            out += piece
            assert source.tell() == len(out)
            assert source.tail == out[-4:]
    except DamagedError as damage:
        with pytest.raises(DamagedError):
            source.read(1)
        return out, source.trusted, str(damage)
    return out, source.trusted, None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 400), st.integers(0, 600))
def test_members_and_padding_read_as_one_stream(members, size, padding):
    packed = b"".join(gzip.compress(member) for member in members) + bytes(padding if members else 0)
    plain = b"".join(members)
    assert read_all(packed, size) == (plain, len(plain), None)


@settings(deadline=None)
@given(st.binary(max_size=300).filter(lambda data: not data.startswith(b"\x1f\x8b")))
def test_a_file_that_is_not_gzip_passes_through(data):
    assert read_all(data) == (data, len(data), None)
    assert GzipStream(io.BytesIO(data)).readall() == data


def test_lines_can_be_read_through_a_buffer():
    assert list(io.BufferedReader(GzipStream(io.BytesIO(b"".join(PACKED))))) == PLAIN.splitlines(keepends=True)


@pytest.mark.parametrize("packed", [b"".join(PACKED), gzip.compress(PLAIN)], ids=["members", "one member"])
def test_a_truncated_file_gives_all_bytes_before_its_end_and_reports_it(packed):
    ends = set()
    for cut in range(2, len(packed)):  # a single byte is not recognized as gzip
        out, trusted, damage = read_all(packed[:cut], 5000)
        assert PLAIN.startswith(out)
        assert trusted == len(out)
        if damage is None:
            ends.add(len(out))
    boundaries = {len(b"".join(MEMBERS[:i])) for i in range(1, 6)} if packed == b"".join(PACKED) else set()
    assert ends == boundaries  # a cut between members cannot be seen
    assert len(read_all(packed[:-1])[0]) == len(PLAIN)


def test_bytes_before_a_flipped_bit_are_returned_and_none_after_it_are_trusted():
    packed = b"".join(PACKED)
    starts = [len(b"".join(PACKED[:i])) for i in range(6)]
    choose = random.Random(0)
    for _ in range(300):
        position = choose.randrange(2, len(packed))
        damaged = bytearray(packed)
        damaged[position] ^= 1 << choose.randrange(8)
        member = max(i for i in range(6) if starts[i] <= position)
        before = len(b"".join(MEMBERS[:member]))
        out, trusted, damage = read_all(bytes(damaged), choose.choice([100, 10_000]))
        assert out[:before] == PLAIN[:before]
        if damage:  # header fields such as the time are covered by no checksum
            assert trusted == before
        else:
            assert out == PLAIN


def test_everything_inflated_before_the_damage_is_returned():
    packed = bytearray(gzip.compress(PLAIN, compresslevel=0))  # stored: every byte but the last block's is clean
    packed[-8] ^= 1
    assert read_all(bytes(packed), 1 << 20) == (PLAIN, 0, read_all(bytes(packed))[2])


def test_members_too_long_to_hold_are_read_the_same(monkeypatch):
    packed = gzip.compress(PLAIN)
    monkeypatch.setattr(gzip_stream, "REPLAY", len(packed) // 3)
    monkeypatch.setattr(gzip_stream, "FEED", len(packed) // 5)
    assert read_all(packed * 2) == (PLAIN * 2, 2 * len(PLAIN), None)
    for cut in range(2, len(packed)):
        out, trusted, damage = read_all(packed[:cut], 5000)
        assert PLAIN.startswith(out)
        assert (trusted, damage is None) == (len(out), False)
    broken = bytearray(packed)
    broken[-8] ^= 1
    out, trusted, damage = read_all(packed + bytes(broken))
    assert (out, trusted) == (PLAIN * 2, len(PLAIN))
    assert "corrupt" in damage


def test_garbage_after_the_last_member_is_damage():
    out, trusted, damage = read_all(b"".join(PACKED) + b"garbage")
    assert (out, trusted) == (PLAIN, len(PLAIN))
    assert "corrupt" in damage
