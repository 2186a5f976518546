"""Load a row of a table into the processor's cache ahead of its use, in compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import extending
from numba.core import cgutils

from curation.jit.compiler import Int


def _prefetch(_typing: Any, table: Any, _row: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = context.make_array(table)(context, builder, arguments[0])
        indices = [arguments[1], context.get_constant(numba.intp, 0)]
        address = cgutils.get_item_pointer(context, builder, table, array, indices)  # type: ignore[no-untyped-call]
        byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # for reading (0), into every cache level (3), as data (1)
        builder.call(function, [builder.bitcast(address, byte), int32(0), int32(3), int32(1)])
        return context.get_dummy_value()

    return numba.void(table, numba.intp), generate


_intrinsic: Any = extending.intrinsic(_prefetch)
prefetch: Callable[[Any, Int], None] = _intrinsic
"""Start to load row `row` of a table (`prefetch(table, row)`) without waiting for it; in compiled functions only."""
