"""Damage of any kind raises nothing, loses nothing from before it and, where there is a checksum, gives nothing false.

10,000 cases: real records, as a gzip member each, as one member and as plain text, cut, flipped, overwritten,
shortened, lengthened and moved about.
"""

from __future__ import annotations

import gzip
import io
import random
import zlib
from bisect import bisect_right

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.readers.extract import FileReport
from curation.readers.wat import read_wat

RECORDS = 9


def read(data):
    report = FileReport("x.wat")
    found = list(read_wat(io.BytesIO(data), report))
    assert report.counters.read == len(found) + report.counters.drops.total()
    return found, report


def members(data, count):
    found = []
    while data and len(found) < count:
        inflater = zlib.decompressobj(31)
        inflater.decompress(data)
        found.append(data[: len(data) - len(inflater.unused_data)])
        data = inflater.unused_data
    return found


@pytest.fixture(scope="module")
def corpus(shared_data):
    """For each form of the same records: its bytes, where they begin, occurrences before each, and all of them."""
    forms = []
    for name in ("dev-00000", "dev-00004"):
        packed = members((shared_data / "crawl" / f"{name}.warc.wat.gz").read_bytes(), RECORDS)
        plain = [gzip.decompress(member) for member in packed]
        before = [len(read(b"".join(plain[:i]))[0]) for i in range(len(plain) + 1)]
        clean = read(b"".join(plain))[0]
        for parts in (packed, plain):
            starts = [len(b"".join(parts[:i])) for i in range(len(parts))]
            forms.append((b"".join(parts), starts, before, clean))
        forms.append((gzip.compress(b"".join(plain), 1), [0], before, clean))
    return forms


def damaged(data, dice):
    """Bytes with one piece of damage, and where it begins."""
    where = dice.randrange(len(data))
    piece = bytearray(data)
    kind = dice.randrange(6)
    if kind == 0:
        del piece[where:]
    elif kind == 1:
        piece[where] ^= 1 << dice.randrange(8)
    elif kind == 2:
        piece[where : where + 40] = dice.randbytes(dice.randrange(1, 60))
    elif kind == 3:
        del piece[where : where + dice.randrange(1, 2000)]
    elif kind == 4:
        piece[where:where] = dice.choice([dice.randbytes(5), b"\0" * 30, b"\r\n\r\n", b"WARC/1.0\r\n", data[:200]])
    else:
        other = dice.randrange(len(data))
        piece[where : where + 300] = data[other : other + 300]
    return bytes(piece), where


def check(corpus, dice):
    data, starts, before, clean = dice.choice(corpus)
    broken, where = damaged(data, dice)
    found, report = read(broken)
    whole = before[bisect_right(starts, where) - 1]
    assert found[:whole] == clean[:whole]
    if data.startswith(b"\x1f\x8b") and report.status == "ok" and found != clean:
        # no checksum speaks of members that are gone, twice there, or cut off between two
        assert set(found) <= set(clean)


def test_damage_raises_nothing_and_loses_nothing_from_before_it(corpus):
    dice = random.Random(1)
    for _ in range(150):
        check(corpus, dice)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_damaged_files(corpus):
    dice = random.Random(2)
    for _ in range(10_000):
        check(corpus, dice)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_survived(data, packed):
    read(gzip.compress(data) if packed else data)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000)
@given(st.binary(max_size=2000), st.booleans(), st.sampled_from([b"", b"WARC/1.0\r\nWARC-Type: metadata\r\n"]))
def test_ten_thousand_inputs_of_any_bytes_are_survived(data, packed, head):
    read(gzip.compress(head + data) if packed else head + data)
