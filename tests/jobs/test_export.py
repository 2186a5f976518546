"""An export holds the shards of one version, whatever kills it, and nothing that was taken down."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation.export.folder import ExportFolder
from curation.images.decode import ImageLimits, verify
from curation.images.refs.read import ImageRefs, open_local
from curation.io.storage import Storage
from curation.lake.tombstones import add_tombstones
from jobs import export, ingest
from jobs.runtime.batches.removal import plan_removal, remove
from support.in_process import change, files_below, prepare, second_night

FORMATS = ("webdataset", "hf", "jsonl")
SMALL = ("--shard_bytes", "20000")


@pytest.fixture
def run(night_here, tmp_path, capsys):
    """Run the command on the night; return its exit code and its error."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(night_here.config.model_dump(mode="json", exclude_none=True)))

    def command(*flags: str) -> tuple[int, str]:
        code = export.main(["--config", str(path), *flags])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if "error: " in line]
        assert code != 1, err
        assert len(lines) == bool(code)
        assert bool(out) == (not code)
        return code, "".join(lines)

    return command


def shards(context, version: int | None = None) -> list[dict]:
    """Read the rows of the shards, in order, with pyarrow alone."""
    files = context.lake.snapshot("shards", version=version).files
    return [row for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]


def read_export(folder: Path) -> list[dict]:
    """Read the rows of an export, in the order of its files; each has its text and other columns."""
    rows = []
    for name in [file["name"] for file in json.loads((folder / "manifest.json").read_text())["files"]]:
        data = (folder / name).read_bytes()
        if name.endswith(".tar"):
            rows += tar_rows(data)
        elif name.endswith(".parquet"):
            rows += [{**row, "image": row["image"]["bytes"]} for row in pq.read_table(io.BytesIO(data)).to_pylist()]
        else:
            rows += [json.loads(line) for line in gzip.decompress(data).splitlines()]
    return rows


def tar_rows(data: bytes) -> list[dict]:
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = archive.extractfile(member).read()
    rows = []
    for key, sample in samples.items():
        row = json.loads(sample["json"])
        assert row.pop("key") == key
        assert row["text"] == sample["txt"].decode()
        rows.append({**row, "image": sample["png"]})
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    return {str(Path(path).relative_to(folder)): data for path, data in files_below(folder)}


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_has_the_rows_of_the_shards_in_their_order(run, night_here, tmp_path, name):
    assert run("--format", name, "--output", str(tmp_path / "out"), *SMALL)[0] == 0
    expected = shards(night_here)
    for row in expected:
        del row["image_ref"]
        if name == "jsonl":
            del row["image"]
    assert len(expected) > 20
    assert read_export(tmp_path / "out") == expected


@pytest.mark.parametrize("name", FORMATS)
def test_the_manifest_describes_every_file(run, night_here, tmp_path, name):
    run("--format", name, "--output", str(tmp_path / "out"), *SMALL)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    rows = shards(night_here)
    assert manifest["rows"] == sum(file["rows"] for file in manifest["files"]) == len(rows)
    assert manifest["languages"] == Counter(row["lang"] for row in rows)
    assert manifest["plan"]["request"]["version"] == night_here.lake.snapshot("shards").version
    stored = contents(tmp_path / "out")
    for file in manifest["files"]:
        data = stored.pop(file["name"])
        assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    extra = {"manifest.json", "README.md"} | ({"sizes.json"} if name == "webdataset" else set())
    assert set(stored) == extra
    if name == "webdataset":
        assert json.loads(stored["sizes.json"]) == {file["name"]: file["rows"] for file in manifest["files"]}
        assert [file["name"] for file in manifest["files"]] == [f"{n:06d}.tar" for n in range(len(manifest["files"]))]
        assert len(manifest["files"]) > 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_that_was_killed_at_any_write_continues_to_the_same_bytes(night_here, tmp_path, monkeypatch, name):
    def export_to(folder: Path) -> dict[str, bytes]:
        size = 8000 if name == "jsonl" else 60_000
        export.run_export(night_here, export.ExportOptions(format=name, output=str(folder), shard_bytes=size))
        return contents(folder)

    expected = export_to(tmp_path / "whole")
    for number in range(100):
        folder = tmp_path / f"killed-{number}"
        with monkeypatch.context() as patch:
            writes = kill_at(patch, number)
            try:
                assert export_to(folder) == expected
            except KeyboardInterrupt:
                pass
            else:
                assert number == sum(writes) > 7
                return
        assert export_to(folder) == expected
    raise AssertionError("the export never ended")


@pytest.mark.parametrize("complete", [False, True], ids=["continued", "complete"])
def test_a_finished_file_with_other_bytes_of_its_size_is_written_again(night_here, tmp_path, monkeypatch, complete):
    options = export.ExportOptions(format="webdataset", output=str(tmp_path / "out"), shard_bytes=60_000)
    with monkeypatch.context() as patch:
        if not complete:
            patch.setattr(ExportFolder, "finish", lambda *_, **__: None)
        export.run_export(night_here, options)
    [damaged, *_] = sorted((tmp_path / "out").glob("*.tar"))
    intact = damaged.read_bytes()
    damaged.write_bytes(intact[:2000] + bytes([intact[2000] ^ 1]) + intact[2001:])
    export.run_export(night_here, options)
    assert damaged.read_bytes() == intact


def kill_at(patch, number: int) -> list[int]:
    """Interrupt the process after its write or removal `number`, counted from 0."""
    done: list[int] = []

    def counted(method):
        def call(self, path, *arguments):
            result = method(self, path, *arguments)
            done.append(1)
            if len(done) == number + 1:
                raise KeyboardInterrupt
            return result

        return call

    for name in ("write_bytes", "put_if_absent", "sync", "delete_folder"):
        patch.setattr(Storage, name, counted(getattr(Storage, name)))
    return done


def test_what_a_killed_process_left_unfinished_is_removed(run, tmp_path):
    flags = ("--format", "hf", "--output", str(tmp_path / "out"))
    run(*flags)
    expected = contents(tmp_path / "out")
    [name] = [name for name in expected if name.endswith(".parquet")]
    (tmp_path / "out" / "manifest.json").unlink()
    shutil.move(tmp_path / "out", tmp_path / "old")
    plan = {"plan": json.loads(expected["manifest.json"])["plan"]}
    unfinished = tmp_path / "out" / Path(name).with_name(f".{Path(name).name}.0123456789abcdef")
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"half")
    (tmp_path / "out" / "_export").mkdir()
    (tmp_path / "out" / "_export" / "plan.json").write_text(json.dumps(plan))
    assert run(*flags)[0] == 0
    assert contents(tmp_path / "out") == expected


def test_a_finished_export_is_left_alone_and_a_lost_file_is_written_again(run, tmp_path, caplog):
    flags = ("--format", "webdataset", "--output", str(tmp_path / "out"), *SMALL)
    run(*flags)
    expected = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert run(*flags)[0] == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "000001.tar").unlink()
    assert run(*flags)[0] == 0
    assert contents(tmp_path / "out") == expected


def test_other_settings_and_other_folders_are_refused(run, night_here, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    assert "not empty" in run("--format", "hf", "--output", str(tmp_path / "full"))[1]
    lake = night_here.config.lake
    assert "inside the lake" in run("--format", "hf", "--output", f"{lake}/export")[1]
    out = str(tmp_path / "out")
    assert run("--format", "hf", "--output", out)[0] == 0
    code, error = run("--format", "webdataset", "--output", out)
    assert (code, "holds another export (format 'hf' -> 'webdataset')" in error) == (2, True)
    code, error = run("--format", "hf", "--output", out, *SMALL)
    assert (code, "shard_bytes 268435456 -> 20000" in error) == (2, True)
    assert run("--output", out)[0] == 2
    assert run("--format", "hf", "--output", out, "--version", "99")[0] == 2
    code, error = run("--format", "hf", "--output", str(tmp_path / "other"), "--batches", "b1,b7")
    assert (code, "batch=b7" in error) == (3, True)
    assert run("--format", "hf", "--output", str(tmp_path / "other"), "--recipe", "unknown")[0] == 2


def test_what_was_taken_down_is_not_exported_and_an_older_export_is_not_continued(run, night_here, tmp_path):
    rows = shards(night_here)
    run("--format", "jsonl", "--output", str(tmp_path / "before"))
    add_tombstones(night_here.lake, image_ids=[rows[3]["image_id"]], reason="takedown")
    assert run("--format", "jsonl", "--output", str(tmp_path / "after"))[0] == 0
    left = [row["image_id"] for row in rows if row != rows[3]]
    assert [row["image_id"] for row in read_export(tmp_path / "after")] == left
    manifest = json.loads((tmp_path / "after" / "manifest.json").read_text())
    assert (manifest["rows"], manifest["drops"]) == (len(rows) - 1, {"tombstone": 1})
    code, error = run("--format", "jsonl", "--output", str(tmp_path / "before"))
    assert (code, "before the last takedown" in error) == (2, True)


def test_an_export_is_of_one_version_whatever_is_published_later(run, night_here, tmp_path):
    version = night_here.lake.snapshot("shards").version
    run("--format", "hf", "--output", str(tmp_path / "first"))
    first = contents(tmp_path / "first")
    second_night(night_here, tmp_path)
    assert run("--format", "hf", "--output", str(tmp_path / "first"))[0] == 0
    assert contents(tmp_path / "first") == first
    run("--format", "hf", "--output", str(tmp_path / "pinned"), "--version", str(version))
    assert contents(tmp_path / "pinned") == first
    run("--format", "hf", "--output", str(tmp_path / "one"), "--batches", "b1")
    run("--format", "hf", "--output", str(tmp_path / "both"))
    one, both = read_export(tmp_path / "one"), read_export(tmp_path / "both")
    assert one == read_export(tmp_path / "first")
    assert both[: len(one)] == one
    assert len(both) == night_here.lake.snapshot("shards").rows > len(one)


def test_batches_are_named_with_or_without_blanks(run, night_here, tmp_path):
    second_night(night_here, tmp_path)
    run("--format", "jsonl", "--output", str(tmp_path / "named"), "--batches", " b2, b1,")
    run("--format", "jsonl", "--output", str(tmp_path / "all"))
    assert contents(tmp_path / "named") == contents(tmp_path / "all")


def test_an_old_version_is_exported_with_the_batches_that_were_removed_since(run, night_here, tmp_path, caplog):
    second_night(night_here, tmp_path)
    version = night_here.lake.snapshot("shards").version
    export.run_export(night_here, export.ExportOptions(format="jsonl", output=str(tmp_path / "before")))
    assert "removed since" not in caplog.text
    remove(night_here.lake, plan_removal(night_here, [], {"batch": "b1"}))
    pinned = export.ExportOptions(format="jsonl", output=str(tmp_path / "after"), version=version)
    export.run_export(night_here, pinned)
    assert f"version {version} has batches that were removed since: b1" in caplog.text
    assert read_export(tmp_path / "after") == read_export(tmp_path / "before")
    run("--format", "jsonl", "--output", str(tmp_path / "newest"))
    assert json.loads((tmp_path / "newest" / "manifest.json").read_text())["plan"]["request"]["batches"] == ["b2"]


@pytest.mark.parametrize("name", ["webdataset", "hf"])
def test_an_export_that_is_ingested_gives_the_same_texts_and_images(run, night_here, tmp_path, name):
    run("--format", name, "--output", str(tmp_path / "out"), *SMALL)
    made = prepare(tmp_path / "back")
    if name == "webdataset":
        section = {"format": name, "inputs": [f"{tmp_path}/out/*.tar"]}
    else:
        section = {"format": "parquet", "inputs": [f"{tmp_path}/out/data"], "image_column": "image"}
    names = {"url_column": "image_url", "text_columns": ["text"], "ref_column": None}
    back = change(made, ingest={**section, **names})
    ingest.run(back)
    files = back.lake.snapshot("pairs").files
    pairs = [row for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]
    refs = ImageRefs(open_local, max_bytes=1 << 20)
    read = []
    for pair in pairs:
        stored = verify(refs.read(pair["image_ref"]), ImageLimits()).image
        read += [(text, stored) for text in {text["text"] for text in pair["texts"]}]
    assert sorted(read) == sorted((row["text"], row["image"]) for row in shards(night_here))


def test_the_card_names_languages_thresholds_and_files(run, night_here, tmp_path):
    run("--format", "hf", "--output", str(tmp_path / "out"))
    card = (tmp_path / "out" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    front = yaml.safe_load(front)
    langs = Counter(row["lang"] for row in shards(night_here))
    assert set(front["language"]) == {lang for lang in langs if lang != "other"}
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    [thresholds] = night_here.lake.snapshot("thresholds").files
    for row in pq.ParquetFile(thresholds.path).read().to_pylist():
        assert f"| {row['lang']} |" in body
        line = next(line for line in body.splitlines() if line.startswith(f"| {row['lang']} |"))
        assert line.endswith(f"| {langs[row['lang']]:,} | {row['t']:,} |")
    for heading in ("## Licenses", "## Takedowns", "## Citation"):
        assert heading in body


def test_images_are_declared_for_the_package_datasets(run, tmp_path):
    run("--format", "hf", "--output", str(tmp_path / "out"))
    [path] = (tmp_path / "out" / "data").iterdir()
    assert path.name == "train-00000-of-00001.parquet"
    schema = pq.read_schema(path)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["text"] == {"dtype": "string", "_type": "Value"}
    assert schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_the_package_datasets_opens_a_folder(run, night_here, tmp_path):
    datasets = pytest.importorskip("datasets")
    run("--format", "hf", "--output", str(tmp_path / "out"), *SMALL)
    data = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    rows = shards(night_here)
    assert isinstance(data.features["image"], datasets.Image)
    assert data["text"][:] == [row["text"] for row in rows]
    assert [image.size for image in data["image"]] == [(row["width"], row["height"]) for row in rows]
    assert [texts[0]["text"] for texts in data["texts"]] == [row["texts"][0]["text"] for row in rows]


def test_the_package_webdataset_opens_the_tars(run, night_here, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    run("--format", "webdataset", "--output", str(tmp_path / "out"), *SMALL)
    tars = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    data = webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("jpg;png;webp", "txt", "json")
    rows = shards(night_here)
    read = [(image.size, text, columns["image_id"]) for image, text, columns in data]
    assert read == [((row["width"], row["height"]), row["text"], row["image_id"]) for row in rows]


def test_an_export_to_s3_has_the_bytes_of_one_to_a_local_disk(run, s3, night_here, tmp_path):
    run("--format", "webdataset", "--output", str(tmp_path / "out"), *SMALL)
    assert run("--format", "webdataset", "--output", "s3://lake/exports/tars", *SMALL)[0] == 0
    storage = night_here.storage
    stored = {file.path: storage.read_bytes(file.path) for file in storage.list_files("s3://lake/exports/tars")}
    assert {path.removeprefix("s3://lake/exports/tars/"): data for path, data in stored.items()} == contents(
        tmp_path / "out"
    )
    storage.delete_files(["s3://lake/exports/tars/000001.tar"])
    assert run("--format", "webdataset", "--output", "s3://lake/exports/tars", *SMALL)[0] == 0
    assert {file.path for file in storage.list_files("s3://lake/exports/tars")} == set(stored)
