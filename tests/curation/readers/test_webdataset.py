"""Every sample of a WebDataset tar is read once, and its `image_ref` leads to its image."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError
from curation.images.refs import ImageRefs, open_local
from curation.readers.file_report import FileReport
from curation.readers.tabular import Columns, read_parquet
from curation.readers.webdataset import read_webdataset


def tar(members, form=tarfile.USTAR_FORMAT):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def read(data, name="x.tar", **columns):
    report = FileReport(name)
    return list(read_webdataset(io.BytesIO(data), report, Columns(**{"texts": ["caption"], **columns}))), report


SAMPLES = [
    ("a/1.jpg", b"jpeg 1"),
    ("a/1.txt", b"ein Hund\n"),
    ("a/1.json", json.dumps({"url": "http://h/1.jpg", "caption": ["a dog", "собака"]}).encode()),
    ("a/2.png", b"png 2"),
    ("a/2.json", json.dumps({"caption": "猫", "image_ref": "elsewhere"}).encode()),
    ("a/3.cls", b"7"),
    ("a/3.webp", b"webp 3"),
    ("a/3.seg.png", b"not the picture"),
    ("a/3.txt", b"three"),
    ("b/4.txt", b"no picture"),
    ("b/5.JPEG", b"jpeg 5"),
    ("b/5.txt", b" "),
]


def test_every_sample_gives_its_texts_with_a_reference_to_its_image(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar(SAMPLES))
    occurrences, report = read(path.read_bytes(), str(path))
    assert [(o.image_url, o.image_ref and o.image_ref.rpartition("#")[2], o.source, o.text) for o in occurrences] == [
        ("http://h/1.jpg", "a/1.jpg", "txt", "ein Hund"),
        ("http://h/1.jpg", "a/1.jpg", "caption", "a dog"),
        ("http://h/1.jpg", "a/1.jpg", "caption", "собака"),
        (None, "a/2.png", "caption", "猫"),
        (None, "a/3.webp", "txt", "three"),
    ]
    assert report.counters.drops == {"no_reference": 1, "empty_text": 1}
    assert (report.counters.read, report.status) == (7, "ok")
    bytes_of = ImageRefs(open_local, max_bytes=100)
    assert [bytes_of.read(o.image_ref) for o in occurrences[2:]] == [b"jpeg 1", b"png 2", b"webp 3"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_samples_of_a_truncated_tar_are_read_up_to_its_end(form):
    data = tar(
        [(f"{n}.{kind}", b"x" * (600 if kind == "png" else 9)) for n in range(4) for kind in ("png", "txt")], form
    )
    whole = [o.image_ref for o in read(data)[0]]
    for cut in range(1, len(data), 37):
        try:
            occurrences, _ = read(data[:cut])
        except InputError:
            assert cut < 512
            continue
        refs = [o.image_ref for o in occurrences]
        assert refs == whole[: len(refs)]
        assert len(refs) >= min(4, cut // (4 * 512 + 512) - 1)


def test_a_bad_member_affects_only_itself(monkeypatch):
    from curation.readers import webdataset

    monkeypatch.setattr(webdataset, "MAX_MEMBER", 20)
    bad = [("1.jpg", b"j"), ("1.json", b"{"), ("1.txt", b"one"), ("2.jpg", b"j"), ("2.txt", b"\xff two")]
    occurrences, report = read(
        tar([*bad, ("3.jpg", b"j"), ("3.txt", b"long" * 9), ("4.jpg", b"j"), ("4.txt", b"four")])
    )
    assert [o.text for o in occurrences] == ["one", "\ufffd two", "four"]
    notes = report.counters.notes
    assert (notes["broken_record"], notes["oversized_record"], notes["invalid_utf8"]) == (1, 1, 1)
    with pytest.raises(InputError, match=r"cannot read x\.tar"):
        read(b"no tar at all" * 99)


def test_rows_with_image_bytes_are_referred_to_by_row_number(tmp_path):
    table = pa.table(
        {"caption": [f"text {n}" for n in range(10)], "pixels": [f"picture {n}".encode() for n in range(10)]}
    )
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=3)
    report = FileReport(str(path))
    with path.open("rb") as stream:
        occurrences = list(read_parquet(stream, report, Columns(["caption"], image="pixels")))
    bytes_of = ImageRefs(open_local, max_bytes=100, column="pixels")
    assert [(o.text, bytes_of.read(o.image_ref)) for o in occurrences] == [
        (f"text {n}", f"picture {n}".encode()) for n in range(10)
    ]
