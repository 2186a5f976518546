"""Count the bits of a word with one machine instruction, in compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import extending

from curation.jit.compiler import Int


def _popcount(_typing: Any, _word: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return context.cast(builder, builder.ctpop(arguments[0]), numba.uint64, numba.int64)

    return numba.int64(numba.uint64), generate


_intrinsic: Any = extending.intrinsic(_popcount)
popcount: Callable[[Int], Int] = _intrinsic
"""Return the number of bits that are set in a 64-bit word (`popcount(word)`); in compiled functions only."""
