"""Files of exports are what other programs expect: tars without traces, gzip without times, bounded row groups."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.export import hugging_face
from curation.export.formats import FORMATS, exported_schema
from curation.export.image_names import image_extension
from curation.export.part import HashingSink
from curation.io.storage import Storage
from curation.lake.parquet_read import read_row_groups, read_rows
from support.shards import matched_row

ROWS = st.lists(
    st.builds(
        lambda number, text, image: matched_row(number) | {"text": text, "image": b"\x89PNG\r\n\x1a\n" + image},
        st.integers(0, 99),
        st.text(max_size=40),
        st.binary(max_size=1500),
    ),
    max_size=12,
)


def table(rows: list[dict], name: str) -> pa.Table:
    schema = FORMATS[name].schema
    return pa.Table.from_pylist([{key: row.get(key) for key in schema.names} for row in rows], schema=schema)


def write(name: str, rows: list[dict], batch: int = 5) -> bytes:
    sink, kind = io.BytesIO(), FORMATS[name]
    hashing = HashingSink(sink)
    writer = kind.open_writer(hashing, 3)
    for start in range(0, len(rows), batch):
        writer.write(table(rows[start : start + batch], name))
    writer.close()
    assert hashing.size == len(sink.getvalue())
    return sink.getvalue()


@given(ROWS, st.integers(1, 12))
def test_a_tar_equals_one_that_tarfile_writes(rows, batch):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, row in enumerate(rows):
            key = f"000003_{number:06d}"
            [columns] = table([row], "jsonl").to_pylist()
            columns = json.dumps({"key": key, **columns}, ensure_ascii=False, separators=(",", ":"))
            for extension, data in (("png", row["image"]), ("txt", row["text"].encode()), ("json", columns.encode())):
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size, member.mode = len(data), 0o444
                archive.addfile(member, io.BytesIO(data))
    written = write("webdataset", rows, batch)
    assert sink.getvalue().startswith(written)  # which ends in more zero blocks
    assert not any(sink.getvalue()[len(written) :])


@given(ROWS, st.integers(1, 12))
def test_json_lines_are_the_columns_without_the_image_and_the_file_has_no_time(rows, batch):
    data = write("jsonl", rows, batch)
    names = exported_schema(images=False).names
    assert [json.loads(line) for line in gzip.decompress(data).splitlines()] == [
        {name: row.get(name) for name in names} for row in rows
    ]
    assert data[3:8] == bytes(5)  # neither a name nor a time


@settings(deadline=None)
@given(ROWS, st.integers(1, 12), st.integers(1, 8000))
def test_row_groups_are_bounded_and_hold_the_rows(rows, batch, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hugging_face, "ROW_GROUP_BYTES", limit)
        file = pq.ParquetFile(io.BytesIO(write("hf", rows, batch)))
    read = file.read().to_pylist()
    assert [row["image"]["bytes"] for row in read] == [row["image"] for row in rows]
    assert [row["image"]["path"] for row in read] == [f"{row['image_id']}.png" for row in rows]
    assert [row["text"] for row in read] == [row["text"] for row in rows]
    groups = [file.read_row_group(n) for n in range(file.num_row_groups)]
    assert all(group.num_rows <= batch or group.nbytes <= limit * 2 for group in groups)


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("TIFF", "tif"), ("AVIF", "avif")],
)
def test_the_extension_of_an_image_is_that_of_its_bytes(kind, extension):
    sink = io.BytesIO()
    Image.new("RGB", (20, 20)).save(sink, kind)
    assert image_extension(sink.getvalue()) == extension
    assert image_extension(b"?" + sink.getvalue()) == "img"


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.data())
def test_row_groups_of_a_range_are_its_rows(tmp_path_factory, rows, group, data):
    path = str(tmp_path_factory.mktemp("rows") / "a.parquet")
    pq.write_table(pa.table({"a": list(range(rows)), "b": ["x"] * rows}), path, row_group_size=group)
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    tables = list(read_row_groups(Storage(), path, start, stop, ["a"]))
    assert [row for table in tables for row in table["a"].to_pylist()] == list(range(start, stop))
    assert all(0 < table.num_rows <= group and table.column_names == ["a"] for table in tables)
    if start < stop:
        assert pa.concat_tables(tables) == read_rows(Storage(), path, start, stop, ["a"])
