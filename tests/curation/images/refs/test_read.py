from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.images.failures import FetchError
from curation.images.refs.read import ImageRefs, open_local
from curation.io.storage import Storage

BODY = b"picture" * 100


def reader(**options) -> ImageRefs:
    column = options.pop("column", "image")
    options["column"] = lambda _: column
    return ImageRefs(options.pop("open_binary", open_local), **({"max_bytes": 10_000} | options))


def reason_of(references: ImageRefs, reference: str) -> str:
    with pytest.raises(FetchError) as caught:
        references.read(reference)
    return caught.value.reason


def tar_of(path: Path, members: list[tuple[str, bytes]], **options) -> Path:
    with tarfile.open(path, "w", **options) as archive:
        for name, body in members:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


@pytest.mark.parametrize("name", ["a.png", "a#1.png", "a.tar", "b.parquet", "#.tar"])
def test_a_path_is_the_file(tmp_path, name):
    (tmp_path / name).write_bytes(BODY)
    assert reader().read(str(tmp_path / name)) == BODY


@given(st.lists(st.tuples(st.sampled_from(["a.png", "d/b.png", "x#y.jpg", "日本.png", "n" * 150]), st.binary())))
@settings(max_examples=40, deadline=None)
def test_a_member_is_its_last_file_of_that_name(tmp_path_factory, members):
    path = tar_of(tmp_path_factory.mktemp("tar") / "shard.tar", members)
    references = reader()
    for name, body in dict(members).items():
        assert references.read(f"{path}#{name}") == body
    assert reason_of(references, f"{path}#absent.png") == "ref_missing"


@given(st.lists(st.none() | st.binary(max_size=30), min_size=1), st.integers(1, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_row_is_counted_through_the_row_groups(tmp_path_factory, images, group_size, as_struct):
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    values = [image if image is None or not as_struct else {"bytes": image, "path": "x"} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if as_struct else pa.binary()
    pq.write_table(
        pa.table({"n": range(len(images)), "image": pa.array(values, kind)}), path, row_group_size=group_size
    )
    references = reader()
    for row, image in enumerate(images):
        if image is None:
            assert reason_of(references, f"{path}#{row}") == "ref_missing"
        else:
            assert references.read(f"{path}#{row}") == image
    assert reason_of(references, f"{path}#{len(images)}") == "ref_missing"


def test_the_column_can_be_named(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"jpg": pa.array([BODY], pa.large_binary()), "words": ["text"]}), path)
    assert reader(column="jpg").read(f"{path}#0") == BODY
    assert reason_of(reader(), f"{path}#0") == "ref_missing"
    assert reason_of(reader(column="words"), f"{path}#0") == "ref_unreadable"


def test_the_storage_class_opens_references(tmp_path):
    pq.write_table(pa.table({"image": [BODY]}), tmp_path / "rows.parquet")
    tar_of(tmp_path / "a.tar", [("a.png", BODY)])
    (tmp_path / "a.png").write_bytes(BODY)
    references = reader(open_binary=Storage().open_input)
    for reference in ("a.png", "a.tar#a.png", "rows.parquet#0"):
        assert references.read(f"{tmp_path}/{reference}") == BODY
    for reference in ("b.png", "b.tar#a.png", "b.parquet#0", "no/a.png"):
        assert reason_of(references, f"{tmp_path}/{reference}") == "ref_missing"


@pytest.mark.parametrize(
    "reference",
    [
        "absent.png",
        "absent/a.png",
        "absent.tar#a.png",
        "absent.parquet#0",
        "a.png/b",
        "a.tar#d",
        "r.parquet#x",
        "r.parquet#-1",
        "r.parquet#²",
        "r.parquet#99999999999999999999",
    ],
)
def test_a_reference_to_nothing_is_missing(tmp_path, reference):
    (tmp_path / "a.png").write_bytes(BODY)
    tar_of(tmp_path / "a.tar", [("a.png", BODY)])
    pq.write_table(pa.table({"image": [BODY]}), tmp_path / "r.parquet")
    assert reason_of(reader(), f"{tmp_path}/{reference}") == "ref_missing"


@pytest.mark.parametrize("reference", ["junk.tar#a.png", "junk.parquet#0", "cut.parquet#0", ".", "nul\x00.png"])
def test_a_reference_that_cannot_be_read_is_unreadable(tmp_path, reference):
    for suffix in ("tar", "parquet"):
        (tmp_path / f"junk.{suffix}").write_bytes(b"<html>" * 300)
    pq.write_table(pa.table({"image": [BODY]}), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-9])
    assert reason_of(reader(), f"{tmp_path}/{reference}") == "ref_unreadable"


@pytest.mark.parametrize(("length", "reason"), [(2400, "ref_unreadable"), (1800, "ref_missing"), (1536, "ref_missing")])
def test_members_before_the_end_of_a_truncated_archive_are_read(tmp_path, length, reason):
    path = tar_of(tmp_path / "a.tar", [("a.png", BODY), ("b.png", BODY)])
    path.write_bytes(path.read_bytes()[:length])
    assert reader().read(f"{path}#a.png") == BODY
    assert reason_of(reader(), f"{path}#b.png") == reason


def test_the_size_limit_holds_for_references(tmp_path):
    (tmp_path / "a.png").write_bytes(BODY)
    tar_of(tmp_path / "a.tar", [("a.png", BODY)])
    pq.write_table(pa.table({"image": [BODY]}), tmp_path / "r.parquet")
    for reference in ("a.png", "a.tar#a.png", "r.parquet#0"):
        assert reader(max_bytes=len(BODY)).read(f"{tmp_path}/{reference}") == BODY
        assert reason_of(reader(max_bytes=len(BODY) - 1), f"{tmp_path}/{reference}") == "too_large"


def test_an_archive_is_indexed_once(tmp_path):
    path = tar_of(tmp_path / "a.tar", [(f"{i}.png", BODY) for i in range(50)])
    opened = []

    def counting(name: str):
        opened.append(name)
        return open_local(name)

    references = reader(open_binary=counting)
    assert all(references.read(f"{path}#{i}.png") == BODY for i in range(50))
    assert len(opened) == 51
