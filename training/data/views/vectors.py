"""Vectors of annotations, such as embeddings of a teacher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VectorTransform:
    """Reads a vector of a column of annotations.

    Attributes:
        column: the column.
        size: numbers per vector.
    """

    column: str
    size: int
