"""Every member of a tar is read, and no damage to an archive passes for its end."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.io import tar_members as module
from curation.io.gzip_stream import DamagedError
from curation.io.tar_members import ESCAPE, portable_name, read_member, tar_members
from support import archives

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = st.sampled_from(
    ["a.png", "d/b.txt", "日本.png", "n" * 150 + ".txt", "d" * 90 + "/" + "e" * 90, "b%FF\udcff.png"]
)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1200)), min_size=1, max_size=4)


def tar(members, form=tarfile.GNU_FORMAT):
    return archives.tar(members, form)


def read(data):
    """The files (name, content) that are whole, and the damage."""
    stream, files, error = io.BytesIO(data), [], None
    try:
        files.extend((m.name, read_member(stream, m)) for m in tar_members(stream) if m.is_file and m.whole)
    except DamagedError as damage:
        error = str(damage)
    return files, error


def portable(members):
    return [(portable_name(name), data) for name, data in members]


@given(MEMBERS, st.sampled_from(FORMATS), st.lists(MEMBERS, max_size=2))
def test_all_members_of_one_or_several_archives_are_read(members, form, more):
    with suppress(ValueError):  # a name that the old format cannot hold
        data = b"".join(tar(part, form) for part in (members, *more))
        assert read(data) == (portable(sum(more, members)), None)
        assert read(data + bytes(700)) == (portable(sum(more, members)), None)


@given(MEMBERS, st.sampled_from(FORMATS[1:]), st.data())
def test_a_cut_archive_is_damaged_unless_only_its_padding_is_lost(members, form, data):
    archive = tar(members, form)
    last = max(position for position, byte in enumerate(archive) if byte)
    end = -(-(last + 1) // 512) * 512 + 512  # of the first zero block; a file of zeros may be longer
    cut = data.draw(st.integers(0, len(archive)))
    files, error = read(archive[:cut])
    assert files == portable(members)[: len(files)]
    if cut < last:
        assert error
    if cut >= end:
        assert (files, error) == (portable(members), None)


@given(MEMBERS, st.sampled_from(FORMATS), st.data())
def test_a_spoilt_header_is_damage(members, form, data):
    with suppress(ValueError):
        archive = bytearray(tar(members, form))
        starts = []
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            starts = [info.offset_data - 512 for info in opened]
        number = data.draw(st.integers(0, len(starts) - 1))
        place = starts[number] + data.draw(st.integers(0, 499).filter(lambda at: not 148 <= at < 156))
        archive[place] ^= data.draw(st.integers(1, 255))
        files, error = read(bytes(archive))
        assert files == portable(members)[:number]
        assert error


@given(MEMBERS, st.binary(min_size=1, max_size=1500).filter(lambda tail: tail.strip(b"\0")))
def test_bytes_after_the_end_marker_are_damage(members, tail):
    files, error = read(tar(members) + tail)
    assert files == portable(members)
    assert error


def test_an_archive_after_a_damaged_one_is_not_passed_over_in_silence():
    one, two = tar([("a.png", b"a" * 600)]), tar([("b.png", b"b")])
    files, error = read(one[:1536] + two)  # joined as the program that wrote the first was killed: no end marker
    assert (files, error) == ([("a.png", b"a" * 600), ("b.png", b"b")], None)
    zeroed = tar([("a.png", b"a"), ("b.png", b""), ("c.png", b"c")])
    zeroed = zeroed[:1024] + bytes(512) + zeroed[1536:]
    assert read(zeroed) == ([("a.png", b"a")], "the tar header at byte 1024 is damaged: it is zero, and members follow")


def test_an_empty_archive_has_no_members_and_an_empty_file_is_none():
    assert read(tar([])) == ([], None)
    assert read(b"")[1]
    assert "not a tar" in read(b"<html>" * 500)[1]


@given(st.lists(st.binary(min_size=1, max_size=5).map(lambda raw: raw.replace(b"\0", b"_")), max_size=8))
def test_names_that_are_not_utf8_stay_different_and_can_be_recovered(names):
    names += ["\ufffd".encode(), b"\xff", "\ufffdFF".encode()]
    for raw in names:
        portable = portable_name(raw.decode("utf-8", "surrogateescape"))
        portable.encode()
        parts = portable.split(ESCAPE)
        assert parts[0].encode() + b"".join(bytes.fromhex(p[:2]) + p[2:].encode() for p in parts[1:]) == raw
    assert portable_name("日本 %FF.png") == "日本 %FF.png"


def test_a_hard_link_has_the_data_of_its_target():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"a dog"))
        for name, kind, target in (("b.txt", tarfile.LNKTYPE, "a.txt"), ("c.txt", tarfile.SYMTYPE, "a.txt")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    assert read(sink.getvalue()) == ([("a.txt", b"a dog"), ("b.txt", b"a dog")], None)


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_are_read_with_their_holes(tmp_path, form):
    program = shutil.which("tar")
    if not program or b"GNU" not in subprocess.run([program, "--version"], capture_output=True).stdout:
        pytest.skip("GNU tar, which writes sparse files, is not installed")
    content = b"x" * 5000 + bytes(1 << 20) + b"y" * 5000 + bytes(1 << 20)
    with (tmp_path / "a.bin").open("wb") as sink:
        for start, part in ((0, b"x" * 5000), (5000 + (1 << 20), b"y" * 5000)):
            sink.seek(start)
            sink.write(part)
        sink.truncate(len(content))
    (tmp_path / "b.bin").write_bytes(b"after")
    options = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    command = [program, "--sparse", *options, "-cf", "x.tar", "a.bin", "b.bin"]
    subprocess.run(command, cwd=tmp_path, check=True)
    data = (tmp_path / "x.tar").read_bytes()
    assert len(data) < 1 << 20
    assert read(data) == ([("a.bin", content), ("b.bin", b"after")], None)
    stream = io.BytesIO(data)
    first = next(tar_members(stream))
    assert [read_member(stream, first, limit) for limit in (1, 5003)] == [content[:1], content[:5003]]


def test_no_bytes_raise_an_unexpected_error():
    rng = random.Random(5)
    members = [("n" * 150 + ".txt", b"x" * 600), ("é.png", b"y"), ("c.txt", b"z")]
    for case in range(1500):
        data = bytearray(tar(members, FORMATS[1 + case % 2]))
        for _ in range(rng.randrange(1, 4)):
            start = rng.randrange(0, len(data) // 2)
            block = start // 512 * 512
            data[start] = rng.choice([0, 32, 49, 120, 128, 255, rng.randrange(256)])
            if rng.random() < 0.5:  # type and size of a member
                data[block + 156] = rng.choice(b"LKxgXSVM017\0")
                data[block + 124 : block + 136] = rng.choice([b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12])
            data[block + 148 : block + 156] = b" " * 8
            data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])
        read(bytes(data))


def test_headers_of_absurd_size_are_not_read_into_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_HEADER", 2048)
    data = tar([("n" * 5000, b"x")])
    assert "claims" in read(data)[1]
