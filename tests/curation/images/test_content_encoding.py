"""Compressed bodies: unpacked within limits of size and ratio, or refused with a reason."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images.content_encoding import FREE_BYTES, MAX_RATIO, unpack
from curation.images.failures import FetchError

LIMIT = 32 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


ENCODERS = [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
@given(data=st.binary(min_size=1, max_size=200))
def test_every_supported_encoding_gives_the_content_back(name, encode, data):
    assert unpack(encode(data), f" {name.upper()} ", LIMIT) == data


@given(st.binary(max_size=100))
def test_a_plain_body_is_itself(data):
    assert unpack(data, "", LIMIT) == unpack(data, "identity", LIMIT) == data


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "gzip,gzip", "aes128gcm"])
def test_an_encoding_that_was_not_asked_for_and_is_not_supported_is_refused(name):
    with pytest.raises(FetchError, match="content_encoding"):
        unpack(b"\x0b\x02\x80body\x03", name, LIMIT)


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
def test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(name, encode):
    with pytest.raises(FetchError, match="encoding_bomb"):
        unpack(encode(bytes(16 << 20)), name, LIMIT)
    with pytest.raises(FetchError, match="too_large"):
        unpack(encode(bytes(16 << 20)), name, 1 << 10)


def test_a_small_body_may_have_any_ratio():
    small = bytes(FREE_BYTES)
    assert len(gzip.compress(small)) * MAX_RATIO < FREE_BYTES
    assert unpack(gzip.compress(small), "gzip", LIMIT) == small


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
def test_a_body_that_ends_early_or_is_damaged_is_refused(name, encode):
    packed = encode(bytes(range(256)) * 9)
    for damaged in (packed[:-9], packed[: len(packed) // 2]):
        with pytest.raises(FetchError, match="content_encoding"):
            unpack(damaged, name, LIMIT)
