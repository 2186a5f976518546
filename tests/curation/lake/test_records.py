"""Small files of the lake are read as they were written, or named as damaged."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.errors import DamagedLakeError, InputError, UsageError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.records import encode_record, read_record
from curation.matching.store import Manifest, MatcherStore

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(max_size=8).filter(lambda key: key != "sha256"), values, max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=records, data=st.data())
def test_a_changed_record_is_damaged_or_reads_the_same(tmp_path, record, data):
    whole, path = encode_record(record), tmp_path / "record.json"
    kind = data.draw(st.sampled_from(["flip", "cut", "whole"]))
    changed = bytearray(whole)
    if kind == "flip":
        bit = data.draw(st.integers(0, 8 * len(whole) - 1))
        changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))] if kind == "cut" else changed)
    try:
        read = read_record(Storage(), str(path), {})
    except DamagedLakeError as error:
        assert kind != "whole"
        message = str(error)
        assert message.startswith(f"{path}: damaged: ")
        assert "\n" not in message
    else:
        assert kind != "cut"
        assert {key: value for key, value in read.items() if key in record} == record


def test_a_damaged_recipe_is_named(tmp_path):
    lake = Lake(str(tmp_path), Storage())
    lake.freeze_recipe("default", {"match_id": "m", "seed": 0})
    path = tmp_path / "recipes" / "default.json"
    changed = path.read_bytes().replace(b'"seed": 0', b'"seed": 1')
    for content in (path.read_bytes()[:-9], b"", b"\0\0\0\0", b'{"match_id": "m', b"[]", b'"m"', b"\xff", changed):
        path.write_bytes(content)
        for use in (lake.recipe, lambda name: lake.check_recipe(name, {"match_id": "m", "seed": 0})):
            with pytest.raises(
                DamagedLakeError, match=r"default\.json: damaged: .*: run `python -m jobs\.verify --config .* --repair`"
            ):
                use("default")


def test_damaged_files_of_the_metadata_are_named(tmp_path):
    store = MatcherStore(Storage(), str(tmp_path))
    store.write_manifest(Manifest("v", {"en": 1}, {}))
    store.set_latest("v")
    assert store.read_manifest("latest") == Manifest("v", {"en": 1}, {})
    manifest, latest = tmp_path / store.manifest_path("v"), tmp_path / store.latest_path
    manifest.write_bytes(manifest.read_bytes().replace(b'"en": 1', b'"en": 2'))
    with pytest.raises(DamagedLakeError, match=r"manifest\..*json: damaged: its checksum does not match"):
        store.read_manifest("v")
    latest.write_bytes(b"")
    with pytest.raises(DamagedLakeError, match=r"latest\.json: damaged: empty: run jobs\.build_metadata"):
        store.read_manifest("latest")
    latest.unlink()
    with pytest.raises(UsageError, match=r"run jobs\.build_metadata first"):
        store.read_manifest("latest")


def test_records_of_earlier_versions_have_no_checksum(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps({"batch": "b1"}))
    assert read_record(Storage(), str(tmp_path / "old.json"), {"batch": str}) == {"batch": "b1"}
    with pytest.raises(InputError, match="cannot read"):
        read_record(Storage(), str(tmp_path / "none.json"), {})
