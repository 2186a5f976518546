"""Emoji with names in 15 languages go through a night, and other programs read its shards and exports as they are."""

from __future__ import annotations

import csv
import io
import json
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import export, nightly
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.in_process import without_spark
from support.nights import publish_metadata

LANGUAGES = ("ar", "de", "el", "en", "es", "fa", "fr", "he", "hi", "ja", "ko", "ru", "th", "tr", "zh")
EMOJI = 8  # in each language
Pair = tuple[str, bytes]  # a name and its picture, as PNG


def named_pictures(data: Path) -> list[Pair]:
    """Return the first emoji that are no mere variant of another, with their names in each language."""
    pairs: dict[str, list[Pair]] = {language: [] for language in LANGUAGES}
    with (data / "emoji-pairs-base.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            of_language = pairs.get(row["lang"], [])
            if row["lang"] in pairs and len(row["emoji"]) == 1 and len(of_language) < EMOJI:
                name = unicodedata.normalize("NFC", row["tts"])
                of_language.append((name, (data / "emoji64" / row["png"]).read_bytes()))
    return [pair for of_language in pairs.values() for pair in of_language]


@pytest.fixture(scope="module")
def pairs(fixtures_dir) -> list[Pair]:
    """All names with their pictures."""
    return named_pictures(fixtures_dir)


@pytest.fixture(scope="module")
def night(pairs, tmp_path_factory) -> Context:
    """A context whose night has been run over the pairs."""
    folder = tmp_path_factory.mktemp("emoji")
    rows = [{"ref": f"in.parquet#{n}", "name": name, "image": png} for n, (name, png) in enumerate(pairs)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
    ingest = {"inputs": str(folder / "in.parquet"), "format": "parquet", "ref_column": "ref", "text_columns": ["name"]}
    config = Config(lake=str(folder / "lake"), batch="b1", ingest=ingest, balance={"policy": "none"})
    made = Context(config, "nightly")
    words = sorted({word for name, _ in pairs for word in (name, name.lower())})
    publish_metadata(made, dict.fromkeys((*LANGUAGES, "other"), words))
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        nightly.run(made)
    return made


@pytest.fixture
def offline(monkeypatch) -> None:
    """No program connects to any address."""

    def refuse(_, address):
        raise AssertionError(f"connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def exported(night, in_process, tmp_path) -> Callable[[str], Path]:
    """Exports the night in a format, in several files, and returns the folder."""

    def export_as(name: str) -> Path:
        options = export.ExportOptions(format=name, output=str(tmp_path / name), shard_bytes=30_000)
        assert len(export.run_export(night, options)) > (name != "jsonl")
        return tmp_path / name

    return export_as


def over_white(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"), int)


def assert_same(pairs: list[Pair], read: list[tuple[str, Image.Image]]) -> None:
    """Assert that each name was read as often as it is there, each time with the picture that it names.

    That is the picture, of all, which the one that was read resembles most.
    """
    assert sorted(name for name, _ in read) == sorted(name for name, _ in pairs)
    originals = {png: over_white(png) for _, png in pairs}
    for name, picture in read:
        shown = np.asarray(picture.convert("RGB"), int)
        distance = {png: np.abs(shown - original).mean() for png, original in originals.items()}
        nearest = min(distance, key=distance.__getitem__)
        assert (name, nearest) in pairs
        assert distance[nearest] < 8


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def shard_files(night: Context) -> list[str]:
    return [file.path for file in night.lake.snapshot("shards").files]


def test_pyarrow_and_pillow_read_the_shards(night, pairs):
    tables = [pq.ParquetFile(path).read() for path in shard_files(night)]
    rows = [row for table in tables for row in table.to_pylist()]
    assert_same(pairs, [(row["text"], opened(row["image"])) for row in rows])
    assert all(opened(row["image"]).size == (row["width"], row["height"]) for row in rows)
    assert len({row["lang"] for row in rows}) >= 12


def test_duckdb_reads_the_shards(night, pairs):
    import duckdb

    found = duckdb.execute("select text, image, lang from read_parquet(?) where width = 64", [shard_files(night)])
    assert_same(pairs, [(text, opened(image)) for text, image, _ in found.fetchall()])


def test_datasets_opens_the_exported_folder_with_decoded_images(exported, pairs, offline, tmp_path):
    import datasets

    rows = datasets.load_dataset(str(exported("hf")), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows.features["image"], datasets.Image)
    assert_same(pairs, [(row["text"], row["image"]) for row in rows])
    assert len(set(rows["lang"])) >= 12


def test_webdataset_reads_the_exported_tars(exported, pairs, offline):
    import webdataset

    tars = sorted(map(str, exported("webdataset").glob("*.tar")))
    rows = webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("jpg;png", "txt", "json")
    read = list(rows)
    assert_same(pairs, [(text, picture) for picture, text, _ in read])
    assert all(columns["text"] == text for _, text, columns in read)


def test_duckdb_reads_the_exported_lines(exported, pairs):
    import duckdb

    folder = exported("jsonl")
    found = duckdb.execute("select text, lang from read_json(?)", [str(folder / "*.jsonl.gz")]).fetchall()
    assert sorted(text for text, _ in found) == sorted(name for name, _ in pairs)
    rows = json.loads((folder / "manifest.json").read_text())["rows"]
    assert len(found) == rows
