"""Tombstones name images by id and URL, are read from tables of earlier releases, and follow changed ids."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones, add_tombstones, rekey
from curation.urls import UrlError, image_id, normalize_url

DAY = date(2024, 5, 31)
OLD_URL = "http://h/a/../b.jpg"  # as an earlier algorithm left it
NEW_ID = image_id("http://h/b.jpg")


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"), Storage())


@pytest.fixture
def old_lake(lake):
    """A lake with tombstones of a release that stored no URL."""
    names = ["image_id", "host", "reason", "date"]
    schema = pa.schema([SCHEMAS["tombstones"].field(name) for name in names])
    ids = [image_id(OLD_URL), image_id("http://h/same.jpg"), image_id("gone"), None]
    columns = [ids, [None, None, None, "h.example"], ["asked"] * 4, [DAY] * 4]
    write_deltalake(lake.layout.table("tombstones"), pa.table(columns, schema=schema))
    return lake


def write_pairs(lake, urls):
    rows = [{"image_id": image_id(url), "image_url": url, "texts": []} for url in urls]
    rows.append({"image_id": image_id("x.tar#1"), "image_ref": "x.tar#1", "texts": []})
    rows.sort(key=lambda row: row["image_id"])
    with PartitionWriter(lake.storage, lake.layout.table("pairs"), "batch=b/run", 0, SCHEMAS["pairs"]) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["pairs"]))
    return [f"{lake.layout.table('pairs')}/{file.path}" for file in writer.files]


def test_tombstones_without_the_column_of_urls_are_read_and_added_to(old_lake):
    before = Tombstones.read(old_lake)
    assert before.image_ids == {image_id(OLD_URL), image_id("http://h/same.jpg"), image_id("gone")}
    assert before.hosts == {"h.example"}
    add_tombstones(old_lake, image_urls=["http://H/My Photo.png#x"], reason="asked")
    assert Tombstones.read(old_lake).image_ids == before.image_ids | {image_id("http://h/My%20Photo.png")}
    assert {row["image_url"] for row in old_lake.rows("tombstones").to_pylist()} == {None, "http://h/My%20Photo.png"}


def test_rekeying_adds_the_present_ids_and_keeps_the_old_ones(old_lake):
    pairs = write_pairs(old_lake, [OLD_URL, "http://h/same.jpg", "http://h/other.jpg"])
    before = Tombstones.read(old_lake).image_ids
    assert rekey(old_lake, pairs) == 2
    assert Tombstones.read(old_lake).image_ids == before | {NEW_ID}
    added = [row for row in old_lake.rows("tombstones").to_pylist() if row["image_url"]]
    assert {(row["image_id"], row["image_url"], row["reason"], row["date"]) for row in added} == {
        (NEW_ID, "http://h/b.jpg", "asked", DAY),
        (image_id("http://h/same.jpg"), "http://h/same.jpg", "asked", DAY),
    }


def test_rekeying_again_adds_nothing_and_needs_no_pairs(old_lake):
    pairs = write_pairs(old_lake, [OLD_URL, "http://h/same.jpg"])
    rekey(old_lake, pairs)
    digest = Tombstones.read(old_lake).digest
    assert rekey(old_lake, pairs) == rekey(old_lake, []) == 0
    assert Tombstones.read(old_lake).digest == digest


def test_rekeying_leaves_the_set_alone_where_no_id_changed(lake):
    add_tombstones(lake, image_ids=[image_id("http://h/same.jpg"), image_id("x.tar#1")], reason="asked")
    digest = Tombstones.read(lake).digest
    rekey(lake, write_pairs(lake, ["http://h/same.jpg"]))
    assert Tombstones.read(lake).digest == digest


def test_a_stored_url_gives_the_present_id_without_pairs(lake):
    row = {"image_id": image_id(OLD_URL), "image_url": OLD_URL, "reason": "asked", "date": DAY}
    bad = {"image_id": image_id("https://:0"), "image_url": "https://:0", "reason": "asked", "date": DAY}
    lake.append("tombstones", pa.Table.from_pylist([row, bad], schema=SCHEMAS["tombstones"]))
    assert rekey(lake, []) == 1
    assert NEW_ID in Tombstones.read(lake).image_ids


hosts = st.sampled_from(
    ["EXAMPLE.org", "straße.example", "bücher.example", "127.0.0.1", "[::1]", "例え。テスト", "a.b."]
)


@given(hosts, st.sampled_from(["http", "https"]), st.sampled_from(["", ":8080"]))
def test_a_removed_host_hides_every_spelling_of_its_urls(tmp_path_factory, name, scheme, port):
    lake = Lake(str(tmp_path_factory.mktemp("lake")), Storage())
    add_tombstones(lake, hosts=[name], reason="asked")
    url = normalize_url(f"{scheme}://{name.upper() if name.isascii() else name}{port}/a.png", None)
    rows = pa.table({"image_id": ["x", "y"], "image_url": [url, "http://other.example/"]})
    assert Tombstones.read(lake).keep_mask(rows).to_pylist() == [False, True]


@pytest.mark.parametrize("name", ["h/x", "h:8080", "u@h", "", "http://h", "a b", "h?x", "h#x", "h:80", "h\\x"])
def test_a_host_that_is_more_or_less_than_a_host_is_refused(lake, name):
    with pytest.raises(UrlError):
        add_tombstones(lake, hosts=[name], reason="asked")
