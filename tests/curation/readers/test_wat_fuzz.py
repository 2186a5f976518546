"""Damage raises no error, loses nothing before it and, in files with checksums, gives no false occurrence.

The cases are real records, stored as one gzip member per record, as one member and as plain text, that are truncated or
have bits flipped and bytes overwritten, removed, inserted or copied.
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

from curation.readers.file_report import FileReport
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
    """Return several forms of the same records: bytes, record offsets, number of occurrences before each, and all."""
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


def damaged(data, rng):
    """Return the data with one damage, and its offset."""
    offset = rng.randrange(len(data))
    changed = bytearray(data)
    kind = rng.randrange(6)
    if kind == 0:
        del changed[offset:]
    elif kind == 1:
        changed[offset] ^= 1 << rng.randrange(8)
    elif kind == 2:
        changed[offset : offset + 40] = rng.randbytes(rng.randrange(1, 60))
    elif kind == 3:
        del changed[offset : offset + rng.randrange(1, 2000)]
    elif kind == 4:
        changed[offset:offset] = rng.choice([rng.randbytes(5), b"\0" * 30, b"\r\n\r\n", b"WARC/1.0\r\n", data[:200]])
    else:
        other = rng.randrange(len(data))
        changed[offset : offset + 300] = data[other : other + 300]
    return bytes(changed), offset


def check(corpus, rng):
    data, starts, before, clean = rng.choice(corpus)
    broken, offset = damaged(data, rng)
    found, report = read(broken)
    whole = before[bisect_right(starts, offset) - 1]
    assert found[:whole] == clean[:whole]
    if data.startswith(b"\x1f\x8b") and report.status == "ok" and found != clean:
        # checksums do not reveal members that are missing or duplicated, nor a cut between two
        assert set(found) <= set(clean)


def test_damage_raises_no_error_and_loses_nothing_before_it(corpus):
    rng = random.Random(1)
    for _ in range(150):
        check(corpus, rng)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_damaged_files(corpus):
    rng = random.Random(2)
    for _ in range(10_000):
        check(corpus, rng)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_raise_an_unexpected_error(data, packed):
    read(gzip.compress(data) if packed else data)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000)
@given(st.binary(max_size=2000), st.booleans(), st.sampled_from([b"", b"WARC/1.0\r\nWARC-Type: metadata\r\n"]))
def test_ten_thousand_random_inputs_raise_no_unexpected_error(data, packed, head):
    read(gzip.compress(head + data) if packed else head + data)
