"""Lay out rows of cells as aligned lines of text, for output on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def format_table(rows: Sequence[Sequence[str]], *, right_align: bool = False) -> Iterator[str]:
    """Yield one line per row, each column as wide as its longest cell.

    Args:
        rows: rows of equally many cells, the header first.
        right_align: whether to align all columns but the first on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if right_align and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
