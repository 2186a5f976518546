"""The language of every row of an index, as small numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Codes = npt.NDArray[np.uint16]


class RowLanguages(NamedTuple):
    """The languages of rows: `names[code]` for each of `codes`."""

    names: tuple[str, ...]
    codes: Codes

    @classmethod
    def of(cls, parts: Sequence[pa.Array | pa.ChunkedArray]) -> Self:
        """Return the languages of columns of strings, one after another; null is the empty name."""
        chunks = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
        strings = [chunk.cast(pa.string()) for chunk in chunks]  # dictionaries differ between chunks
        column = pc.fill_null(pa.chunked_array(strings, pa.string()), "").dictionary_encode().combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
        return cls(tuple(column.dictionary.to_pylist()), column.indices.to_numpy().astype(np.uint16))
