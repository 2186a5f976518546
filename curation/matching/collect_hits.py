"""From the hits of a block, in whatever order they were made, to the sorted ids of each text, compiled."""

from __future__ import annotations

from typing import Final

import numpy as np

from curation.jit.compiler import Int, Ints, Offsets, Words, borrowing, compiled, inlined
from curation.matching.trie import ID_SHIFT, VALUE_SHIFT

FEW: Final = 128  # ids of one text that are sorted without branches
LANES: Final = 16  # ids that are compared with another at a time
_MOST: Final = np.int32(2**31 - 1)


@borrowing
def gather(hits: Words, many: Int, ids: Ints, places: Offsets, found: Ints, count: Int, text_ends: Ints) -> Int:
    """Append the ids of the texts of a block to the `count` found, sorted, each once a text; return the new count.

    Args:
        hits: `text << 32 | value` of each hit, see `walking`.
        many: how many they are.
        ids: room for FEW ids, as many as hits, and LANES for each text.
        places: room for a number of each text.
        found: with room for as many ids more.
        count: how many ids are found before.
        text_ends: one number more than texts; where the ids of each end in `found` is put behind the first.
    """
    texts = len(text_ends) - 1
    for text in range(texts):
        places[text] = 0
    ranked = ids[:FEW]
    for hit in range(many):
        places[hits[hit] >> VALUE_SHIFT] += 1
    start = FEW
    for text in range(texts):
        start += places[text] + LANES
        places[text] = start - places[text] - LANES
        for at in range(start - LANES, start):
            ids[at] = _MOST
    for hit in range(many):
        text = hits[hit] >> VALUE_SHIFT
        ids[places[text]] = np.int32((hits[hit] & np.uint64(0xFFFFFFFF)) >> np.uint64(ID_SHIFT))
        places[text] += 1
    start = FEW
    for text in range(texts):
        end = places[text]
        if end - start <= FEW:
            _rank(ids, start, end, ranked)
        else:
            _sort(ids, start, end)
        before = -1
        for at in range(start, end):
            own = ids[at]
            found[count] = own
            count += np.int64((own >= 0) & (own != before))
            before = own
        start = end + LANES
        text_ends[text + 1] = count
    return count


@compiled
def _sort(ids: Ints, start: Int, end: Int) -> None:
    ids[start:end].sort()


@inlined
def _rank(ids: Ints, start: Int, end: Int, ranked: Ints) -> None:
    """Put each of few ids where as many as are smaller go before it, which takes no branch.

    Of equal ones one is put, and the places then left over are marked by -1. Behind the last stand LANES large ones.
    """
    for at in range(end - start):
        ranked[at] = -1
    for at in range(start, end):
        own = ids[at]
        smaller: Int = np.int32(0)
        for lane in range(start, end, LANES):
            for other in range(lane, lane + LANES):  # one instruction
                smaller = np.int32(smaller + np.int32(ids[other] < own))
        ranked[smaller] = own
    for at in range(end - start):
        ids[start + at] = ranked[at]
