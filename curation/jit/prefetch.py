"""Asking for memory ahead of time, in compiled loops."""

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
        place = [arguments[1], context.get_constant(numba.intp, 0)]
        address = cgutils.get_item_pointer(context, builder, table, array, place)  # type: ignore[no-untyped-call]
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        builder.call(function, [builder.bitcast(address, byte), number(0), number(3), number(1)])  # to read; data
        return context.get_dummy_value()

    return numba.void(table, numba.intp), generate


_made: Any = extending.intrinsic(_prefetch)
prefetch: Callable[[Any, Int], None] = _made
"""In a compiled function, ask for a row of a table from memory without waiting for it."""
