"""Finds the end of the data in the footer of a Parquet file.

pyarrow knows it too, but ends the process when it is asked about the columns of some damaged footers. The footer is in
Thrift's compact encoding; its numbers here are those of parquet.thrift.
"""

from __future__ import annotations

from typing import Any, Final

ROW_GROUPS: Final = 4  # of FileMetaData
COLUMNS: Final = 1  # of RowGroup
META_DATA: Final = 3  # of ColumnChunk
COMPRESSED_SIZE, DATA_PAGE, DICTIONARY_PAGE = 7, 9, 11  # of ColumnMetaData

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _, STRUCT = range(1, 13)


def data_end(footer: bytes) -> int | None:
    """Return the position after the last page of a file's columns; None if the footer cannot be parsed."""
    try:
        file, _ = _read_struct(footer, 0)
        chunks = [chunk[META_DATA] for group in file[ROW_GROUPS] for chunk in group[COLUMNS]]
        starts = [chunk.get(DICTIONARY_PAGE) or chunk[DATA_PAGE] for chunk in chunks]
        return max((start + chunk[COMPRESSED_SIZE] for start, chunk in zip(starts, chunks, strict=True)), default=4)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of the struct at a position, by number, and the position after it."""
    fields: dict[int, Any] = {}
    number = 0
    while header := data[at]:
        at += 1
        if delta := header >> 4:
            number += delta
        else:
            number, at = _read_value(data, at, I16)
        fields[number], at = _read_value(data, at, header & 15)
    return fields, at + 1


def _read_value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    """Return a value, or None in place of one that is not needed, and the position after it."""
    if kind in {TRUE, FALSE}:
        return kind == TRUE, at
    if kind in {I16, I32, I64}:
        value, at = _read_varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    if kind == BINARY:
        size, at = _read_varint(data, at)
        return None, at + size
    if kind in {BYTE, DOUBLE}:
        return None, at + (1 if kind == BYTE else 8)
    if kind in {LIST, SET}:
        return _read_list(data, at)
    if kind == STRUCT:
        return _read_struct(data, at)
    raise ValueError(f"type {kind} is not in Parquet footers")


def _read_list(data: bytes, at: int) -> tuple[list[Any], int]:
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _read_varint(data, at)
    values = []
    for _ in range(size):
        if kind in {TRUE, FALSE}:
            value, at = data[at] == TRUE, at + 1
        else:
            value, at = _read_value(data, at, kind)
        if at > len(data):
            raise ValueError("a list is longer than the footer")
        values.append(value)
    return values, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
