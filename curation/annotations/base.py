"""The protocol of makers of annotations: rows of shards in, one value per row out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypedDict

import pyarrow as pa


class WrittenText(TypedDict):
    """A text that a maker has written, its style, and the number of its original in the `texts` of the row."""

    text: str
    style: str
    of: int | None


class NoValue(NamedTuple):
    """In the place of a value that cannot be made: the reason, which the run counts."""

    reason: str


class Maker(Protocol):
    """Makes the annotations of one kind.

    The value of a row must depend on nothing but the columns in `reads`, the seed and the parameters of the maker: not
    on the other rows. The constructor takes the parameters as keywords and raises an Exception if one is wrong. It runs
    before Spark starts and once per worker process, so it loads nothing large; the first call does.

    Attributes:
        version: changes whenever a value may change with the same parameters.
        reads: the columns of `shards` that are read; the table has them, and `image_id`.
        uses_seed: whether values depend on the seed.
    """

    version: str
    reads: tuple[str, ...]
    uses_seed: bool

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[Any]:
        """Return the value of each row, None if it has none, or a `NoValue` if it should have one.

        The value of a kind with several columns is a dictionary by column. Raises any Exception, which ends the stage.
        """


def written(text: str, style: str, of: int | None) -> WrittenText:
    """Return a text that a maker has written, in a style, from the text number `of` in its row's `texts`."""
    return WrittenText(text=text, style=style, of=of)
