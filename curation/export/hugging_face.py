"""Writes Parquet files that the package `datasets` opens with decoded images.

The column `image` is a struct of `bytes` and `path`, and the schema's metadata declare it as an `Image`, as `datasets`
itself writes it.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curation.export.image_names import image_extension
from curation.export.part import HashingSink

ROW_GROUP_BYTES: Final = 32 << 20
IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the features of a schema in the JSON form of `datasets`; `image` is an Image."""
    return {field.name: {"_type": "Image"} if field.name == "image" else _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def dataset_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of an exported file from that of the exported columns of `shards`."""
    fields = [pa.field("image", IMAGE) if field.name == "image" else field for field in schema]
    features = {"info": {"features": features_of(schema)}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(features)})


class DatasetWriter:
    """Writes the rows of one Parquet file to `sink`, in row groups of about 32 MiB; `schema` is that of the rows."""

    def __init__(self, sink: HashingSink, schema: pa.Schema) -> None:
        self._schema = dataset_schema(schema)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"), self._schema, compression="zstd", write_page_checksum=True
        )
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        images = rows["image"].combine_chunks().cast(pa.binary())
        ids = rows["image_id"].to_pylist()
        names = [f"{name}.{image_extension(data.as_py())}" for name, data in zip(ids, images, strict=True)]
        structs = pa.StructArray.from_arrays([images, pa.array(names, pa.string())], fields=list(IMAGE))
        table = rows.set_column(rows.schema.get_field_index("image"), "image", structs).cast(self._schema)
        if self._pending and self._pending_bytes + table.nbytes > ROW_GROUP_BYTES:
            self._flush()
        self._pending.append(table)
        self._pending_bytes += table.nbytes

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            rows = pa.concat_tables(self._pending)
            self._writer.write_table(rows, row_group_size=rows.num_rows)
            self._pending, self._pending_bytes = [], 0
