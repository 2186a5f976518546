"""Benchmark pictures are found by lists made from folders, archives and tables of them."""

from __future__ import annotations

import hashlib
import io
import logging
import tarfile
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.dedup.hash_list import HashSettings, check_hash_list, read_hash_list
from curation.errors import InputError
from curation.images.decode import ImageLimits, verify
from curation.io.storage import Storage
from jobs import make_hash_list
from support.nights import picture

PICTURES = {f"{n}.png": picture(n) for n in range(5)}


@pytest.fixture
def command(in_process, tmp_path, capsys):
    """Run the command in the test's folder; return the exit code, the output, the error lines and the rows."""
    handlers = logging.getLogger().handlers[:]

    def run(*inputs, flags=()):
        output = tmp_path / "lists" / "list.parquet"
        given = [argument for path in inputs for argument in ("--inputs", str(path))]
        code = make_hash_list.main([*given, "--output", str(output), *flags])
        said = capsys.readouterr()
        return code, said.out, said.err, pq.read_table(output).to_pylist() if output.exists() else None

    yield run
    logging.getLogger().handlers[:] = handlers


def expected(names):
    limits = ImageLimits()
    rows = []
    for name, data in zip(names, PICTURES.values(), strict=True):
        rows.append(
            {
                "name": name,
                "sha256": hashlib.sha256(data).hexdigest(),
                "phash": verify(data, limits).phash,
                "embedding": None,
            }
        )
    return sorted(rows, key=lambda row: row["name"])


def write_folder(folder, pictures=PICTURES):
    for name, data in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path, pictures=PICTURES):
    with tarfile.open(path, "w") as archive:
        for name, data in pictures.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def write_parquet(path, *, as_struct, column="image"):
    values = [{"bytes": data, "path": name} if as_struct else data for name, data in PICTURES.items()]
    pq.write_table(pa.table({column: values}), path)
    return path


def test_a_folder_is_listed_by_paths_below_it(command, tmp_path):
    folder = write_folder(
        tmp_path / "val", {f"class{n}/{name}": data for n, (name, data) in enumerate(PICTURES.items())}
    )
    code, out, _, rows = command(folder)
    assert (code, out) == (0, f"{tmp_path}/lists/list.parquet: 5 pictures\n")
    assert rows == expected([f"class{n}/{n}.png" for n in range(5)])


def test_archives_and_tables_are_listed(command, tmp_path):
    (tmp_path / "in").mkdir()
    assert command(write_tar(tmp_path / "in" / "a.tar"))[3] == expected([f"a.tar#{n}.png" for n in range(5)])
    for as_struct in (True, False):
        table = write_parquet(tmp_path / "in" / "b.parquet", as_struct=as_struct)
        assert command(table)[3] == expected([f"b.parquet#{n}" for n in range(5)])
    assert len(command(tmp_path / "in")[3]) == 10


def test_the_list_is_the_same_in_any_number_of_tasks(command, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "val")
    command(folder)
    before = (tmp_path / "lists" / "list.parquet").read_bytes()
    monkeypatch.setattr("jobs.tasks.dedup.hash_pictures.FILES_PER_UNIT", 2)
    command(folder)
    assert (tmp_path / "lists" / "list.parquet").read_bytes() == before


def test_what_is_no_picture_is_counted(command, tmp_path):
    folder = write_folder(tmp_path / "val", {**PICTURES, "labels.txt": b"1 2 3", "cut.png": picture(9)[:-30]})
    code, _, errors, rows = command(folder)
    assert code == 0
    assert len(rows) == 5
    assert "cannot be decoded: not_an_image 1, truncated 1\n" in errors


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: write_folder(folder / "v", {"a.txt": b"no"}), "none of 1 file is a picture (not_an_image 1)"),
        (lambda folder: write_parquet(folder / "p.parquet", as_struct=False, column="jpg"), "no column 'image'"),
        (lambda folder: folder / "absent", "absent"),
    ],
)  # fmt: skip
def test_inputs_without_pictures_end_with_3(command, tmp_path, make, said):
    code, out, errors, rows = command(make(tmp_path))
    assert (code, out, rows) == (3, "", None)
    assert said in errors


def test_a_damaged_archive_ends_with_3_because_the_list_would_lack_pictures(command, tmp_path):
    path = write_tar(tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:3000])
    code, _, errors, rows = command(path)
    assert (code, rows) == (3, None)
    assert f"--inputs: {path}: " in errors
    assert errors.rstrip().endswith("replace the file")


def test_missing_flags_are_named(in_process, capsys):
    assert make_hash_list.main([]) == 2
    assert "--inputs, --output: missing: give them as flags" in capsys.readouterr().err


def test_a_file_that_is_no_list_is_refused(tmp_path):
    path = str(tmp_path / "list.parquet")
    good = {"name": ["a"], "sha256": ["0" * 64], "phash": ["0" * 16], "embedding": ["0" * 16]}
    for bad, said in (
        ({**good, "phash": [1]}, "no text column phash"),
        ({"name": ["a"]}, "no text column sha256, phash, embedding"),
    ):
        pq.write_table(pa.table(bad), path)
        with pytest.raises(InputError, match=f"dedup.hash_lists: {path} is not a hash list .*{said}"):
            check_hash_list(Storage(), path)
    pq.write_table(pa.table({**good, "sha256": ["0" * 63 + "x"]}), path)
    check_hash_list(Storage(), path)
    with pytest.raises(InputError, match="column sha256 must consist of 64 hexadecimal digits"):
        read_hash_list(Storage(), path)


def test_a_list_whose_hashes_were_made_otherwise_is_refused_unless_only_bytes_are_compared(command, tmp_path):
    command(write_folder(tmp_path / "val"), flags=["--images.resize", "border", "--images.max_side", "128"])
    path, made = str(tmp_path / "lists" / "list.parquet"), HashSettings("border", 128)
    check_hash_list(Storage(), path, made)
    check_hash_list(Storage(), path)
    for other, said in (
        (replace(made, resize="keep_ratio"), "was made with images.resize border, not keep_ratio"),
        (replace(made, max_side=256), "was made with images.max_side 128, not 256"),
        (replace(made, model_sha256="0" * 64), "was not made with the model of dedup.model"),
    ):
        with pytest.raises(InputError, match=f"dedup.hash_lists: {path} {said}.*: make it again with this config"):
            check_hash_list(Storage(), path, other)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(InputError, match=r"was made with images.resize an unknown value, not border"):
        check_hash_list(Storage(), path, made)


def test_copies_of_listed_pictures_are_near_them(command, tmp_path):
    """The list of the originals has perceptual hashes within the radius of those of resized copies."""
    rows = command(write_folder(tmp_path / "val"))[3]
    for row, data in zip(rows, PICTURES.values(), strict=True):
        image = Image.open(io.BytesIO(data))
        copy = io.BytesIO()
        image.resize((3 * image.width, 3 * image.height)).convert("RGB").save(copy, "JPEG", quality=80)
        other = verify(copy.getvalue(), ImageLimits()).phash
        assert (int(row["phash"], 16) ^ int(other, 16)).bit_count() <= 4
