"""An export that is read by another lake gives the same pairs there."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from jobs import export, nightly
from support.in_process import change, prepare

SAME = (
    "image_id",
    "image_url",
    "source",
    "text",
    "lang",
    "entry_ids",
    "image",
    "width",
    "height",
    "image_sha256",
    "phash",
)
READ_AS = {
    "webdataset": {"inputs": "*.tar"},
    "hf": {"inputs": "data", "format": "parquet", "image_column": "image"},
    "jsonl": {"inputs": "*.jsonl.gz"},  # has no images: they are requested again
}


def shards(context) -> list[dict]:
    """Read the columns of the shards that an export keeps, ordered by image."""
    files = context.lake.snapshot("shards").files
    rows = [row for file in files for row in pq.ParquetFile(file.path).read(list(SAME)).to_pylist()]
    return sorted(rows, key=lambda row: row["image_id"])


@pytest.mark.parametrize("name", READ_AS)
def test_a_night_over_an_export_has_the_same_shards(crawled, site, tmp_path, name):
    first = crawled[0]
    options = export.ExportOptions(format=name, output=str(tmp_path / "out"), shard_bytes=9000)
    assert len(export.run_export(first, options)) > 1
    section = {"format": name, "url_column": "image_url", "text_columns": ["text"], **READ_AS[name]}
    section["inputs"] = [f"{tmp_path}/out/{section['inputs']}"]
    images = first.config.images.model_dump()
    back = change(
        prepare(tmp_path / "back"),
        ingest={**section, "ref_column": None},
        balance={"policy": "none", "t_en": None},
        images=images,
    )
    site.requests.clear()
    nightly.run(back)
    expected, made = shards(first), shards(back)
    assert [{**row, "source": "text"} for row in expected] == made
    assert len(made) > 30
    assert bool(site.requests) == (name == "jsonl")
