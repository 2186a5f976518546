"""Every sample of a WebDataset tar is read once, and its `image_ref` leads to its image."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.images.refs.read import ImageRefs, open_local
from curation.readers.file_report import FileReport
from curation.readers.tabular import Columns, read_parquet
from curation.readers.webdataset import read_webdataset
from support.archives import tar


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
    bytes_of = ImageRefs(open_local, max_bytes=100, column=lambda _: "pixels")
    assert [(o.text, bytes_of.read(o.image_ref)) for o in occurrences] == [
        (f"text {n}", f"picture {n}".encode()) for n in range(10)
    ]


# Members that vanished


def texts_by_image(data, **columns):
    occurrences, report = read(data, **columns)
    notes = {reason: count for reason, count in report.counters.notes.items() if reason.endswith("_member")}
    return [(o.image_ref and o.image_ref.partition("#")[2], o.source, o.text) for o in occurrences], notes, report


def test_names_with_dots_are_samples_of_their_own():
    members = [
        ("v1.5 photo.png", b"5"),
        ("v1.5 photo.txt", b"five"),
        ("v1.6 photo.JPG", b"6"),
        ("v1.6 photo.txt", b"six"),
    ]
    members += [
        ("v1.png", b"1"),
        ("v1.txt", b"one"),
        ("v1.mask.png", b"m"),
        ("dr. who.jpg", b"d"),
        ("dr. who.txt", b"who"),
    ]
    members += [("d.d/e.f.g.jpg", b"e"), ("d.d/e.f.g.json", json.dumps({"caption": "eff"}).encode())]
    found, notes, report = texts_by_image(tar(members))
    assert found == [
        ("v1.5 photo.png", "txt", "five"),
        ("v1.6 photo.JPG", "txt", "six"),
        ("v1.png", "txt", "one"),
        ("dr. who.jpg", "txt", "who"),
        ("d.d/e.f.g.jpg", "caption", "eff"),
    ]
    assert (notes, report.status) == ({"unused_member": 1}, "ok")


def test_members_that_programs_added_are_noted_and_separate_no_sample():
    members = [
        ("._a.png", b"mac"),
        ("a.png", b"a"),
        ("._a.txt", b"mac"),
        ("__MACOSX/._a.txt", b"mac"),
        ("a.txt", b"one"),
    ]
    members += [("d/.DS_Store", b""), ("d/b.jpg", b"b"), ("d/PaxHeaders.12/b.txt", b"mtime"), ("d/b.txt", b"two")]
    found, notes, report = texts_by_image(tar(members))
    assert found == [("a.png", "txt", "one"), ("d/b.jpg", "txt", "two")]
    assert (notes, report.counters.drops) == ({"hidden_member": 5}, {})


def test_several_texts_and_images_of_a_key_are_kept_or_noted():
    members = [("a.jpg", b"1"), ("a.png", b"2"), ("a.txt", b"one"), ("a.text", b"two"), ("a.de.txt", b"eins")]
    members += [("a.caption", b"three"), ("a.json", json.dumps({"caption": "four", "text": "five"}).encode())]
    members += [("a.jsn", b"{}"), ("a.cls", b"7"), ("a", b"no extension")]
    found, notes, _ = texts_by_image(tar(members), texts=["caption", "de.txt"])
    assert found == [
        ("a.jpg", "txt", "one"),
        ("a.jpg", "text", "two"),
        ("a.jpg", "caption", "three"),
        ("a.jpg", "caption", "four"),
        ("a.jpg", "de.txt", "eins"),
    ]
    assert notes == {"unused_member": 4}


def test_an_image_is_paired_with_no_text_of_an_earlier_member_of_its_name(tmp_path):
    members = [
        ("a.png", b"old"),
        ("a.txt", b"old"),
        ("b.png", b"b"),
        ("b.txt", b"b"),
        ("a.png", b"new"),
        ("a.txt", b"new"),
    ]
    again = [("c.png", b"1"), ("c.txt", b"1"), ("c.png", b"2"), ("c.txt", b"2")]
    path = tmp_path / "x.tar"
    path.write_bytes(tar(members + again))
    occurrences, report = read(path.read_bytes(), str(path))
    references = ImageRefs(open_local, max_bytes=100)
    assert [(references.read(o.image_ref), o.text) for o in occurrences] == [(b"b", "b"), (b"new", "new"), (b"2", "2")]
    assert report.counters.drops == {"no_reference": 2}
    assert report.counters.notes["repeated_member"] == 2


def test_links_are_read_or_noted(tmp_path):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, data, link in (
            ("a.jpg", b"a", None),
            ("a.txt", b"a dog", None),
            ("b.jpg", None, "a.jpg"),
            ("b.txt", None, "a.txt"),
            ("c.jpg", None, "./a.jpg"),
        ):
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE if name == "c.jpg" else tarfile.LNKTYPE, link
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data or b""))
    (tmp_path / "x.tar").write_bytes(sink.getvalue())
    occurrences, report = read(sink.getvalue(), str(tmp_path / "x.tar"))
    references = ImageRefs(open_local, max_bytes=100)
    assert [(references.read(o.image_ref), o.text) for o in occurrences] == [(b"a", "a dog")] * 2
    assert report.counters.notes["special_member"] == 1


BASES = st.sampled_from(["a", "b", "v1.5 x", "v1.6 x", "\udcff", "\udcfe", "\ufffd", "é", "d.d/a", "._a", ".DS_Store"])
ENDINGS = st.sampled_from([".png", ".jpg", ".txt", ".json", ".cls", "", ".seg.png", ".PNG", ".text"])


@settings(max_examples=100)
@given(st.lists(st.tuples(BASES, ENDINGS), max_size=12), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_member_is_read_or_noted_and_every_reference_leads_to_its_image(tmp_path_factory, names, form):
    """Texts are unique, so that each is found once: with its image, in a drop, or in a note."""
    members = [
        (
            base + ending,
            json.dumps({"caption": f"text {n}"}).encode() if ending == ".json" else f"text {n}".encode(),
        )
        for n, (base, ending) in enumerate(names)
    ]
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(tar(members, form))
    occurrences, report = read(path.read_bytes(), str(path))
    notes = report.counters.notes
    references = ImageRefs(open_local, max_bytes=100)
    images = [int(references.read(o.image_ref).split()[1]) for o in occurrences]
    for image, occurrence in zip(images, occurrences, strict=True):
        text = int(occurrence.text.split()[1])
        assert names[image][0] == names[text][0]
        assert names[image][1].lower() in (".png", ".jpg", ".seg.png")
    texts = sum(ending in (".txt", ".json", ".text") for _, ending in names)
    images = sum(ending.lower() in (".png", ".jpg", ".seg.png") for _, ending in names)
    left_over = notes["hidden_member"] + notes["unused_member"]
    other = len(names) - texts - images
    assert report.status == "ok"
    assert report.counters.read + left_over >= texts
    assert report.counters.read + left_over + notes["images"] >= len(names) - other


def test_an_archive_whose_images_could_not_be_found_is_refused():
    with pytest.raises(InputError, match=r"cannot read x\.tar\.1: its name must end in \.tar"):
        read(tar(SAMPLES), "x.tar.1")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_damage_anywhere_is_partial_and_all_samples_before_it_are_read(form):
    samples = [(f"{n}.{kind}", f"text {n}".encode()) for n in range(4) for kind in ("png", "txt")]
    data = tar(samples, form)
    for cut in range(512, 8 * 1024 + 512, 13):
        occurrences, report = read(data[:cut])
        assert report.status == "partial"
        assert len(occurrences) >= cut // 2048
    for block in range(0, 16, 2):
        spoilt = bytearray(data)
        spoilt[block * 512 + 1] ^= 4
        if block:
            occurrences, report = read(bytes(spoilt))
            assert (len(occurrences), report.status) == (block // 4, "partial")
        else:
            with pytest.raises(InputError):
                read(bytes(spoilt))
    occurrences, report = read(data + tar([("9.png", b"9"), ("9.txt", b"nine")], form))
    assert ([o.text for o in occurrences][4:], report.status) == (["nine"], "ok")
    assert read(data + b"garbage")[1].status == "partial"
