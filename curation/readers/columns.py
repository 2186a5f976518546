"""Names the columns of a table that ingest reads, by the config keys that set them, and checks that a file has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.cli.ingest_config import IngestSection
from curation.errors import UsageError

NAMES_SHOWN = 50


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a table.

    Attributes:
        texts: the texts.
        url: URL of the image; optional in the table if `ref` or `image` is given.
        ref: path of the image bytes, or `path#member-or-row`.
        page: URL of the page, the base of relative URLs.
        image: the image bytes, in a Parquet file. They are not read; the row is referred to as `path#row`.
    """

    texts: Sequence[str]
    url: str = "url"
    ref: str | None = None
    page: str | None = None
    image: str | None = None

    @property
    def required(self) -> list[str]:
        """Names of the columns that every file must have."""
        named = [self.ref or (None if self.image else self.url), self.page, *self.texts]
        return [name for name in dict.fromkeys(named) if name is not None]

    def key_of(self, column: str) -> str:
        """Return the config key that names a column."""
        if column in self.texts:
            return "ingest.text_columns"
        keys = {self.url: "url_column", self.ref: "ref_column", self.page: "page_column", self.image: "image_column"}
        return f"ingest.{keys[column]}"

    def check_schema(self, schema: pa.Schema, name: str) -> list[str]:
        """Return the columns to read from a Parquet file.

        Raises UsageError if a column is missing, occurs twice, or its type cannot hold text.
        """
        names = list(dict.fromkeys([*self.required, *({self.url} & set(schema.names))]))
        for column in [*names, *([self.image] if self.image else [])]:
            if column not in schema.names:
                raise UsageError(f"{self.key_of(column)}: {name}: no column {column!r}, {_only(schema.names)}")
            if (times := schema.names.count(column)) > 1:
                raise UsageError(
                    f"{self.key_of(column)}: {name}: {times} columns are named {column!r}: rename all but one of them"
                )
        for column in names:
            kind = schema.field(column).type
            value = kind.value_type if column in self.texts and pa.types.is_list(kind) else kind
            if not _holds_text(value):
                key = self.key_of(column)
                raise UsageError(f"{key}: {name}: column {column!r} holds {kind}, not text: name a column of strings")
        return names

    def check_names(self, missing: Iterable[str], names: Iterable[str], name: str) -> None:
        """Raise UsageError if columns occur in no row of a JSON Lines file; `names` are those that do."""
        if column := min(missing, default=None):
            raise UsageError(f"{self.key_of(column)}: {name}: no row has the column {column!r}, {_only(names)}")


def columns_of(section: IngestSection) -> Columns:
    """Return the columns that the config names."""
    return Columns(
        section.text_columns, section.url_column, section.ref_column, section.page_column, section.image_column
    )


def _only(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"only {', '.join(names[:NAMES_SHOWN])}{more}: name a column that exists"


def _holds_text(kind: Any) -> bool:
    types = pa.types
    return any(check(kind) for check in (types.is_string, types.is_binary, types.is_null))
