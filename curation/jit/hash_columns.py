"""Hash columns of strings as `curation.hashing.u64` does: BLAKE2b in compiled code, several rows side by side.

BLAKE2b (RFC 7693) mixes a block of 128 bytes into eight words of state. Every row runs the same instructions, so the
words of `LANES` rows are stored next to each other and the compiler turns each loop over the lanes into vector
instructions. Rows have different numbers of blocks; the state of a row that has ended no longer changes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.jit.compiler import Bytes, Int, Offsets, Words, jit_inline, jit_nogil
from curation.jit.utf8 import string_buffers

LANES: Final = 16
BLOCK: Final = 128
ALL_ONES: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
IV: Final = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
PARAMETERS: Final = np.uint64(0x01010008)  # no key, sequential mode, a digest of 8 bytes
ROUNDS: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)  # order of the words of a block in each round


def u64_column(seed: int, purpose: str, *keys: str | pa.Array) -> npt.NDArray[np.uint64]:
    """Return `u64` of every row; a key is a column of strings or one string for all rows, and the last is a column."""
    rows = pc.binary_join_element_wise(f"{seed}|{purpose}", *keys, "|")
    hashes = np.empty(len(rows), np.uint64)
    if len(rows):
        hash_rows(*string_buffers(rows), hashes)
    return hashes.byteswap()  # a digest is read big-endian


@jit_inline
def _mix(v: Words, a: Int, b: Int, c: Int, d: Int, x: Int) -> None:
    """Mix the words `x` and `x + 1` into four words of the state (the function G of RFC 7693)."""
    for lane in range(LANES):
        va, vb, vc, vd = v[a, lane], v[b, lane], v[c, lane], v[d, lane]
        va = va + vb + v[x, lane]
        vd ^= va
        vd = (vd >> np.uint64(32)) | (vd << np.uint64(32))
        vc += vd
        vb ^= vc
        vb = (vb >> np.uint64(24)) | (vb << np.uint64(40))
        va = va + vb + v[x + 1, lane]
        vd ^= va
        vd = (vd >> np.uint64(16)) | (vd << np.uint64(48))
        vc += vd
        vb ^= vc
        vb = (vb >> np.uint64(63)) | (vb << np.uint64(1))
        v[a, lane], v[b, lane], v[c, lane], v[d, lane] = va, vb, vc, vd


@jit_inline
def _word(data: Bytes, at: Int) -> Int:
    """Return the 8 bytes from an offset on as a little-endian word; the compiler makes it one load."""
    low = np.uint64(data[at]) | np.uint64(data[at + 1]) << np.uint64(8) | np.uint64(data[at + 2]) << np.uint64(16)
    low |= np.uint64(data[at + 3]) << np.uint64(24) | np.uint64(data[at + 4]) << np.uint64(32)
    low |= np.uint64(data[at + 5]) << np.uint64(40) | np.uint64(data[at + 6]) << np.uint64(48)
    return low | np.uint64(data[at + 7]) << np.uint64(56)


@jit_inline
def _read_block(data: Bytes, start: Int, stop: Int, lane: Int, m: Words) -> None:
    """Write the bytes of a block to the words of a lane; the rest of the words stays 0."""
    words = max(0, stop - start) >> 3
    for word in range(words):
        m[word, lane] = _word(data, start + 8 * word)
    for position in range(start + 8 * words, stop):
        m[words, lane] |= np.uint64(data[position]) << np.uint64(8 * (position - start - 8 * words))


@jit_inline
def _compress(v: Words, m: Words) -> None:
    """Mix the words of a block into the state in 12 rounds; each round copies them in its order after the state."""
    for number in range(12):
        for word in range(16):
            for lane in range(LANES):
                v[16 + word, lane] = m[ROUNDS[number, word], lane]
        _mix(v, 0, 4, 8, 12, 16)
        _mix(v, 1, 5, 9, 13, 18)
        _mix(v, 2, 6, 10, 14, 20)
        _mix(v, 3, 7, 11, 15, 22)
        _mix(v, 0, 5, 10, 15, 24)
        _mix(v, 1, 6, 11, 12, 26)
        _mix(v, 2, 7, 8, 13, 28)
        _mix(v, 3, 4, 9, 14, 30)


@jit_inline
def _hash_lanes(data: Bytes, starts: Offsets, ends: Offsets, h: Words, v: Words, m: Words) -> None:
    """Write the final states of `LANES` rows, `data[starts[lane]:ends[lane]]`, to `h`."""
    most = np.int64(1)
    for lane in range(LANES):
        most = max(most, (ends[lane] - starts[lane] + BLOCK - 1) // BLOCK)
        for word in range(8):
            h[word, lane] = IV[word]
        h[0, lane] ^= PARAMETERS
    for block in range(most):
        for word in range(8):
            for lane in range(LANES):
                v[word, lane] = h[word, lane]
                v[8 + word, lane] = IV[word]
        m[:] = np.uint64(0)
        for lane in range(LANES):
            start = starts[lane] + block * BLOCK
            stop = min(ends[lane], start + BLOCK)
            _read_block(data, start, stop, lane, m)
            v[12, lane] ^= np.uint64(max(0, stop - starts[lane]))  # bytes so far
            if stop == ends[lane]:
                v[14, lane] ^= ALL_ONES  # the last block
        _compress(v, m)
        for lane in range(LANES):
            if block == 0 or starts[lane] + block * BLOCK < ends[lane]:
                for word in range(8):
                    h[word, lane] ^= v[word, lane] ^ v[8 + word, lane]


@jit_nogil
def hash_rows(data: Bytes, offsets: Offsets, hashes: Words) -> None:
    """Write the digest of every row, as a little-endian word, to `hashes`; row i is `data[offsets[i]:offsets[i + 1]]`.

    A digest of 8 bytes is the first word of the final state.
    """
    h, v, m = np.empty((8, LANES), np.uint64), np.empty((32, LANES), np.uint64), np.empty((16, LANES), np.uint64)
    starts, ends = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    for first in range(0, len(hashes), LANES):
        for lane in range(LANES):  # lanes after the last row hash it again
            row = min(first + lane, len(hashes) - 1)
            starts[lane], ends[lane] = offsets[row], offsets[row + 1]
        _hash_lanes(data, starts, ends, h, v, m)
        for row in range(first, min(first + LANES, len(hashes))):
            hashes[row] = h[0, row - first]
