"""HEIC pictures go through a whole night if `images.formats` asks for them, and are counted as refused otherwise."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import nightly
from jobs.runtime.context import Context
from support.in_process import IMAGES, change, prepare_crawl
from support.loopback import file_server, serving
from support.scenes import encoded, scene

pytest.importorskip("pillow_heif", reason="the package of the extra `heif` is not installed")
FORMATS = ["jpeg", "png", "heif"]


@pytest.fixture(scope="module")
def heif_site():
    """A server of pictures; every second one is HEIC, whatever its URL says."""
    from curation.images.codec.heif import register_heif

    register_heif()
    files = {f"/{n}.png": encoded(scene(seed=n), "PNG" if n % 2 else "HEIF") for n in range(IMAGES)}
    with serving(file_server(files)) as server:
        yield server


def numbers(context: Context, table: str) -> dict[int, dict]:
    """Return the rows of a table by the number in their URL."""
    url_of = {row["image_id"]: row["image_url"] for row in context.lake.rows("curated").to_pylist()}
    files = context.lake.snapshot(table).files
    rows = [row for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]
    return {int(url_of[row["image_id"]].rpartition("/")[2].removesuffix(".png")): row for row in rows}


def test_heic_is_stored_as_jpeg_when_it_is_asked_for_and_refused_before(in_process, heif_site, tmp_path):
    night = change(prepare_crawl(tmp_path, heif_site), balance={"policy": "none", "t_en": None})
    refused = {outcome.stage: outcome for outcome in nightly.run(night)}["images"]
    images = numbers(night, "images")
    assert {n: row["reason"] for n, row in images.items()} == {n: None if n % 2 else "format_refused" for n in images}
    assert refused.drops == {"format_refused": sum(n % 2 == 0 for n in images)}
    assert len(images) > 20

    asked = change(night, images={"formats": FORMATS})
    assert {outcome.stage: outcome for outcome in nightly.run(asked)}["images"].drops == {}
    shards = numbers(asked, "shards")
    assert shards.keys() == images.keys()
    for n, row in shards.items():
        stored = Image.open(io.BytesIO(row["image"]))
        assert (stored.format, stored.size) == ("PNG" if n % 2 else "JPEG", scene().size)
        shown = np.asarray(stored, int)
        assert min(shards, key=lambda other: np.abs(shown - np.asarray(scene(seed=other), int)).mean()) == n
