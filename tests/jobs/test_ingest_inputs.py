"""What is wrong with inputs is said at once and by name; what is left out of them is counted."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from jobs import ingest
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support import archives
from support.nights import run_here

ROWS = [{"url": f"http://h/{n}.png", "text": f"text {n}"} for n in range(3)]
JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def maker(tmp_path, monkeypatch, start_spark):
    """Return a function that makes a context whose inputs are files with given content."""
    monkeypatch.setattr("jobs.runtime.session.start", start_spark)
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)

    def make(files, **keys):
        for name, content in files.items():
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(content)
        given = {"lake": str(tmp_path / "lake"), "create": True, "batch": "b1"}
        given["max_failed_inputs"] = keys.pop("max_failed_inputs", 0)
        return Context(Config(**given, ingest={"inputs": str(tmp_path / "in"), **keys}), "ingest")

    return make


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Make a context whose tasks run in this process."""
    return maker(tmp_path, monkeypatch, lambda *_: None)


@pytest.fixture
def before_spark(tmp_path, monkeypatch):
    """Make a context that must not start Spark."""

    def refuse(*_):
        raise AssertionError("Spark was started")

    return maker(tmp_path, monkeypatch, refuse)


def parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def tar(members):
    return archives.tar(members.items(), tarfile.PAX_FORMAT)


def zipped(data):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.jsonl", data)
    return sink.getvalue()


def warc(kind, body=b"x"):
    return (
        b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 2\r\n\r\n{}\r\n\r\n"
        b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (kind, len(body), body)
    )


TABLE = pa.table({"url": ["http://h/1.png"], "text": ["one"]})
WAT = warc(b"metadata", json.dumps({"Envelope": {"WARC-Header-Metadata": {"WARC-Target-URI": "http://h/"}}}).encode())
IN_OTHER_FORMATS = {
    "WARC": (["wat", "jsonl"], warc(b"response")),
    "WARC ": (["wat"], gzip.compress(warc(b"request")) + gzip.compress(warc(b"response", b"GET" * 90_000))),
    "WET": (["wat", "parquet"], gzip.compress(warc(b"conversion")[:65]) + gzip.compress(warc(b"conversion")[65:])),
    "WAT": (["jsonl", "parquet", "webdataset"], WAT),
    "Parquet": (["wat", "jsonl", "webdataset"], parquet(TABLE)),
    "zstd": (["wat", "jsonl", "parquet", "webdataset"], b"\x28\xb5\x2f\xfd" + bytes(range(256))),
    "bzip2": (["wat", "jsonl", "parquet", "webdataset"], bz2.compress(JSONL)),
    "xz": (["wat", "jsonl", "parquet", "webdataset"], lzma.compress(JSONL)),
    "zip": (["wat", "jsonl", "parquet", "webdataset"], zipped(JSONL)),
    "a JSON array": (["wat", "jsonl", "parquet"], json.dumps(ROWS).encode()),
    "a JSON array ": (["jsonl"], json.dumps(ROWS, indent=1).encode()),
    "a JSON array  ": (["jsonl"], gzip.compress(b"[\n" + JSONL.replace(b"}\n", b"},\n")[:-2] + b"\n]\n")),
    "a JSON document": (["jsonl"], json.dumps({"rows": ROWS}, indent=1).encode()),
    "JSON Lines": (["wat", "parquet", "webdataset"], JSONL),
    "tar": (["wat", "jsonl", "parquet"], tar({"1.png": b"1", "1.txt": b"one"})),
    "tar packed with gzip": (["webdataset"], gzip.compress(tar({"1.png": b"1", "1.txt": b"one"}))),
    "HTML": (["wat", "parquet"], b"<!DOCTYPE html><title>404</title>"),
    "XML": (["wat"], b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    "a pointer of Git LFS": (["parquet"], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
}


NAMES = {"wat": "WAT", "jsonl": "JSON Lines", "parquet": "Parquet", "webdataset": "tar"}


@pytest.mark.parametrize("label", IN_OTHER_FORMATS)
def test_a_file_in_another_format_is_named_before_spark_starts(before_spark, label):
    formats, content = IN_OTHER_FORMATS[label]
    for form in formats:
        message = rf"^ingest\.format: .*/a\.tar is {label.strip()}.*, not {NAMES[form]}: ."
        with pytest.raises(UsageError, match=message):
            ingest.run(before_spark({"a.tar": content}, format=form))


@pytest.mark.parametrize("label", IN_OTHER_FORMATS)
def test_a_file_in_another_format_among_others_fails_alone(here, label, monkeypatch):
    monkeypatch.setattr("jobs.ingest.check_first_inputs", lambda *_: None)
    formats, content = IN_OTHER_FORMATS[label]
    for form in formats:
        message = rf"1 of 1 input files failed.*ingest\.format: .*/a\.tar is {label.strip()}.*, not {NAMES[form]}: ."
        with pytest.raises(InputError, match=message):
            ingest.run(here({"a.tar": content}, format=form))


def test_files_in_the_configured_format_are_read(here):
    files = {"a.jsonl": JSONL, "b.jsonl": gzip.compress(JSONL), "c.jsonl": b"\n", "d.jsonl": b'[["x"]]\n' + JSONL * 2}
    (outcome,) = ingest.run(here(files, format="jsonl"))
    assert (outcome.totals["files_failed"], outcome.totals["images"]) == (0, 3)
    assert outcome.totals["notes"]["broken_record"] == 1


def test_one_file_in_another_format_fails_alone(here):
    made = here({"a.jsonl": zipped(JSONL), "b.jsonl": JSONL}, format="jsonl", max_failed_inputs=0.5)
    (outcome,) = ingest.run(made)
    assert (outcome.totals["files_failed"], outcome.totals["images"]) == (1, 3)
    rows = {row["path"][-7:]: row for row in made.lake.rows("ledger").to_pylist()}
    assert (rows["a.jsonl"]["status"], rows["b.jsonl"]["status"]) == ("failed", "ok")
    assert "a.jsonl is zip, not JSON Lines: unpack it" in rows["a.jsonl"]["error"]


# Columns


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("text_columns", "caption"),
        ("text_columns", ["text", "caption"]),
        ("url_column", "URL"),
        ("ref_column", "path"),
        ("page_column", "page"),
    ],
)
@pytest.mark.parametrize("form", ["parquet", "jsonl", "jsonl.gz"])
def test_a_missing_column_names_its_key_and_the_columns_that_exist(before_spark, key, value, form):
    content = {"parquet": parquet(TABLE), "jsonl": JSONL, "jsonl.gz": gzip.compress(JSONL)}[form]
    made = before_spark({f"a.{form}": content}, format=form.partition(".")[0], **{key: value})
    column = value[-1] if isinstance(value, list) else value
    with pytest.raises(UsageError, match=rf"ingest\.{key}: .*/a\.{form}: no .*column '{column}', only url, text: ."):
        ingest.run(made)


def test_a_missing_image_column_names_its_key(before_spark):
    made = before_spark({"a.parquet": parquet(TABLE)}, format="parquet", image_column="jpg")
    with pytest.raises(UsageError, match=r"ingest\.image_column: .*/a\.parquet: no column 'jpg', only url, text: ."):
        ingest.run(made)


@pytest.mark.parametrize("column", ["url", "text"])
def test_a_column_that_occurs_twice_is_named_and_matters_only_if_it_is_read(before_spark, column):
    schema = pa.schema([("url", pa.string()), ("text", pa.string()), (column, pa.string()), ("n", pa.int8())] * 1)
    columns = [pa.array(["http://h/1.png"]), pa.array(["one"]), pa.array(["two"]), pa.array([1], pa.int8())]
    twice = pa.Table.from_arrays([*columns, columns[3]], schema=schema.append(pa.field("n", pa.int8())))
    made = before_spark({"a.parquet": parquet(twice)}, format="parquet")
    key = {"url": "url_column", "text": "text_columns"}[column]
    with pytest.raises(UsageError, match=rf"ingest\.{key}: .*/a\.parquet: 2 columns are named '{column}': rename"):
        ingest.run(made)


def test_a_column_that_only_later_rows_have_is_not_missing(here):
    first = b'{"url": "http://h/1.png", "text": "%s"}\n' % (b"x" * 1000)
    files = {"a.jsonl": first * 1200 + b'{"url": "http://h/2.png", "text": "b", "page": "http://h/"}\n'}
    (outcome,) = ingest.run(here(files, format="jsonl", page_column="page"))
    assert outcome.totals["images"] == 2


# Folders


def test_the_marks_and_hidden_files_of_spark_are_not_inputs(here, caplog):
    files = {f"day={day}/part-0.parquet": parquet(TABLE) for day in (1, 2)}
    marks = ("_SUCCESS", "_metadata", "_common_metadata", "_committed_1", "_started_1", ".part-0.parquet.crc")
    files |= dict.fromkeys(marks, b"")
    files |= {"_temporary/0/part-0.parquet": b"cut", "_delta_log/0.json": b"{}", ".hidden/a.parquet": b"x"}
    with caplog.at_level("INFO"):
        (outcome,) = ingest.run(here(files, format="parquet"))
    assert (outcome.totals["files"], outcome.totals["files_failed"], outcome.totals["images"]) == (2, 0, 1)
    assert "hidden files left out, because their names start with _ or .: 8" in caplog.text


# Damage


def test_damaged_containers_are_partial_and_counted_as_failed(here):
    members = {f"{n}.{kind}": f"text {n}".encode() for n in range(4) for kind in ("png", "txt")}
    whole = tar(members)
    spoilt = bytearray(whole)
    spoilt[4 * 1024 + 3] ^= 1
    files = {"cut.tar": whole[: 4 * 1024 + 200], "spoilt.tar": bytes(spoilt), "whole.tar": whole}
    made = here({**files, "twice.tar": whole + whole}, format="webdataset", max_failed_inputs=1)
    (outcome,) = ingest.run(made)
    status = {
        row["path"].rpartition("/")[2]: (row["status"], row["read"]) for row in made.lake.rows("ledger").to_pylist()
    }
    assert status == {
        "cut.tar": ("partial", 2),
        "spoilt.tar": ("partial", 2),
        "whole.tar": ("ok", 4),
        "twice.tar": ("ok", 8),
    }
    assert outcome.totals["files_failed"] == 2
    assert not made.lake.rows("runs").to_pylist()[-1]["complete"]


def test_the_working_directory_changes_neither_references_nor_ids(here, tmp_path, monkeypatch):
    rows = b"".join(json.dumps({"ref": name, "text": f"text {name}"}).encode() + b"\n" for name in ("a.png", "b/c.png"))
    (tmp_path / "elsewhere").mkdir()
    published = []
    for folder, inputs in ((tmp_path, "in"), (tmp_path / "in", "."), (tmp_path / "elsewhere", "../in/rows.jsonl")):
        monkeypatch.chdir(folder)
        context = here({"rows.jsonl": rows}, format="jsonl", ref_column="ref")
        section = context.config.ingest.model_copy(update={"inputs": [inputs]})
        context = Context(context.config.model_copy(update={"ingest": section}), "ingest")
        [outcome] = ingest.run(context)
        published.append((outcome.totals["kept"], context.lake.rows("pairs").to_pylist()))
        assert set(context.lake.rows("ledger")["path"].to_pylist()) == {f"{tmp_path}/in/rows.jsonl"}
    assert published[0] == published[1] == published[2]
    references = {row["image_ref"] for row in published[0][1]}
    assert references == {f"{tmp_path}/in/a.png", f"{tmp_path}/in/b/c.png"}


def test_an_input_of_no_bytes_counts_as_failed_and_one_without_rows_does_not(here):
    context = here(
        {"empty.jsonl": b"", "line.jsonl": b"\n", "good.jsonl": JSONL}, format="jsonl", max_failed_inputs=0.5
    )
    [outcome] = ingest.run(context)
    assert (outcome.totals["files_failed"], outcome.totals["images"], outcome.complete) == (1, 3, False)
    [row] = [row for row in context.lake.rows("ledger").to_pylist() if row["status"] != "ok"]
    assert (row["path"].endswith("empty.jsonl"), row["error"]) == (True, "the file is empty (0 bytes)")
