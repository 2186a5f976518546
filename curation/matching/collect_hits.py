"""Turn the hits of a block, which are in no particular order, into sorted distinct entry ids per text, compiled.

This is a counting sort by text, followed by a sort of each text's ids. Most texts have few ids; these are sorted by
rank (how many ids are smaller), which needs no branches and compares 16 ids per instruction.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curation.jit.compiler import Int, Ints, Offsets, Words, jit, jit_inline, jit_no_refcount
from curation.matching.trie import ID_SHIFT, VALUE_SHIFT

MAX_RANKED: Final = 128  # texts with more ids are sorted by `numpy.sort`
LANES: Final = 16  # ids that are compared with another at once
_LARGEST_ID: Final = np.int32(2**31 - 1)


@jit_no_refcount
def collect_hits(hits: Words, num_hits: Int, ids: Ints, cursors: Offsets, out: Ints, count: Int, ends: Ints) -> Int:
    """Append the sorted, distinct ids of each text of a block to `out` and return its new length.

    Args:
        hits: `text << 32 | value` per hit, see `trie_search`.
        num_hits: their number.
        ids: scratch space for MAX_RANKED ids, `num_hits` ids, and LANES ids per text.
        cursors: scratch space for one number per text.
        out: ids of all texts; has space for `num_hits` more.
        count: the length of `out` before.
        ends: one number more than texts; element `i + 1` is set to the end of text i's ids in `out`.
    """
    num_texts = len(ends) - 1
    for text in range(num_texts):
        cursors[text] = 0
    ranked = ids[:MAX_RANKED]
    for hit in range(num_hits):
        cursors[hits[hit] >> VALUE_SHIFT] += 1
    start = MAX_RANKED
    for text in range(num_texts):
        start += cursors[text] + LANES
        cursors[text] = start - cursors[text] - LANES
        for at in range(start - LANES, start):
            ids[at] = _LARGEST_ID
    for hit in range(num_hits):
        text = hits[hit] >> VALUE_SHIFT
        ids[cursors[text]] = np.int32((hits[hit] & np.uint64(0xFFFFFFFF)) >> np.uint64(ID_SHIFT))
        cursors[text] += 1
    start = MAX_RANKED
    for text in range(num_texts):
        end = cursors[text]
        if end - start <= MAX_RANKED:
            _sort_by_rank(ids, start, end, ranked)
        else:
            _sort(ids, start, end)
        previous = -1
        for at in range(start, end):
            entry_id = ids[at]
            out[count] = entry_id
            count += np.int64((entry_id >= 0) & (entry_id != previous))
            previous = entry_id
        start = end + LANES
        ends[text + 1] = count
    return count


@jit
def _sort(ids: Ints, start: Int, end: Int) -> None:
    ids[start:end].sort()


@jit_inline
def _sort_by_rank(ids: Ints, start: Int, end: Int, ranked: Ints) -> None:
    """Sort up to MAX_RANKED ids without branches: put each at the index that equals the number of smaller ids.

    Equal ids get the same index, and the indices left over are filled with -1. The ids must be followed by LANES ids
    that are larger than all of them.
    """
    for at in range(end - start):
        ranked[at] = -1
    for at in range(start, end):
        entry_id = ids[at]
        smaller: Int = np.int32(0)
        for lane in range(start, end, LANES):
            for other in range(lane, lane + LANES):  # compiled to one comparison of LANES ids
                smaller = np.int32(smaller + np.int32(ids[other] < entry_id))
        ranked[smaller] = entry_id
    for at in range(end - start):
        ids[start + at] = ranked[at]
