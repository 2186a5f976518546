"""Regions of an image without a detector: a grid and the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypedDict

import pyarrow as pa


class Region(TypedDict):
    """A part of an image: left, top, right and bottom as shares of its sides, a score and a label."""

    box: list[float]
    score: float
    label: str


@dataclass(frozen=True)
class Grid:
    """Makes `regions`: the cells of a grid, row by row, then the whole image.

    Attributes:
        rows: cells from top to bottom.
        columns: cells from left to right.
        whole: whether the whole image is the last region.
    """

    rows: int = 2
    columns: int = 2
    whole: bool = True

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong."""
        if self.rows < 1 or self.columns < 1:
            raise ValueError("rows and columns must be at least 1")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[Region]]:  # noqa: ARG002 - it draws nothing
        """Return the regions of each image, which are the same for all."""
        boxes = [
            [column / self.columns, row / self.rows, (column + 1) / self.columns, (row + 1) / self.rows]
            for row in range(self.rows)
            for column in range(self.columns)
        ]
        boxes += [[0.0, 0.0, 1.0, 1.0]] if self.whole else []
        return [[Region(box=box, score=1.0, label="") for box in boxes] for _ in range(rows.num_rows)]
