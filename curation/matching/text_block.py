"""Hold a block of texts with their normalized forms and tokens, all as offsets into one byte array.

An example of a `Block` with the text "New York, 猫™":

    data           New York, 猫™ ␣New␣York␣,␣猫␣TM␣       the texts, then their normalized forms
    spans          one (start, end) per text             of the normalized text in `data`
    starts, ends   one each per token                    of the token in `data`: New · York · , · 猫 · TM
    token_offsets  one per text                          index of the text's first token in `starts` and `ends`
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, jit

BLOCK_TEXTS: Final = 256
BLOCK_BYTES: Final = 1 << 15


class Block(NamedTuple):
    """A block of texts with their normalized forms and tokens, and scratch space.

    Attributes:
        data: the texts one after the other, then the normalized texts, all in UTF-8.
        spans: start and end of each normalized text in `data`, two numbers per text. Empty for printable ASCII under
            the rules `worldwide`, whose tokens are in the text itself.
        token_offsets: index in `starts` and `ends` of each text's first token. The tokens of a text are followed by one
            unused entry, so that a loop may look one token ahead.
        starts, ends: start and end of each token in `data`; 0 in an unused entry.
        states: NORMALIZED, NEEDS_NFKC or UNKNOWN_CHAR per text; a text in another state than NORMALIZED has an empty
            span and no tokens.
        folded: scratch space for the code points of one text.
        letter_flags, run_flags, start_flags, end_flags: scratch space, one flag per byte of the texts.
    """

    data: Bytes
    spans: Offsets
    token_offsets: Offsets
    starts: Ints
    ends: Ints
    states: npt.NDArray[np.int8]
    folded: Codes
    letter_flags: Bytes
    run_flags: Bytes
    start_flags: Bytes
    end_flags: Bytes


@jit
def make_block(longest: Int) -> Block:
    """Allocate a block for texts of at most BLOCK_BYTES in total, or for one text of `longest` bytes.

    U+FDFA grows most: its three bytes become 18 characters in 33 bytes, and spaces around them. Under the rules
    `reference` a comma makes two tokens. The 16 bytes per text allow reading 8 bytes at a time past a text's end.
    """
    size = max(longest, BLOCK_BYTES)
    tokens = 2 * size + 4 * BLOCK_TEXTS
    return Block(
        np.zeros((12 * size + 16 * (BLOCK_TEXTS + 1)) // 8 * 8, np.uint8),
        np.empty(2 * BLOCK_TEXTS, np.int64),
        np.empty(BLOCK_TEXTS + 1, np.int64),
        np.empty(tokens, np.int32),
        np.empty(tokens, np.int32),
        np.empty(BLOCK_TEXTS, np.int8),
        np.empty(6 * longest + 16, np.uint32),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
    )
