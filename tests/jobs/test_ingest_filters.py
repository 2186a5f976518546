"""The filters a config asks for, and inputs that bring their pictures, end to end."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import UsageError
from jobs import ingest, nightly
from jobs.runtime.config import Config
from support.nights import NIGHT, TEXTS, picture, publish_metadata

pytestmark = pytest.mark.spark


def rows_of(made, table):
    files = made.lake.snapshot(table).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def test_every_filter_drops_under_its_reason_and_the_books_balance(context, tmp_path):
    texts = {
        "blocked_url": ("http://ads.example.com/1", "a banner"),
        "email": ("http://h/2", "write to иван@пример.рф"),
        "file_name": ("http://h/3", "写真12.jpg"),
        "too_short": ("http://h/4", "x"),
        "too_long": ("http://h/5", "long " * 30),
        "mojibake": ("http://h/6", "cafÃ© du coin"),
        "blocked_text": ("http://h/7", "das ist ein sehr verbotenes Wort in einem deutschen Satz"),
    }
    kept = {"Tom &amp; Jerry": "Tom & Jerry", "call 555-123-4567 now": "call [phone] now", "犬の\u200b写真": "犬の写真"}
    rows = [*texts.values(), *((f"http://k/{n}", text) for n, text in enumerate(kept))]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps({"url": url, "text": text}) for url, text in rows))
    (tmp_path / "urls.txt").write_text("# ads\nexample.com\n")
    (tmp_path / "de.txt").write_text("verbotenes Wort\n")
    keys = {
        "inputs": [str(source)],
        "format": "jsonl",
        "clean": {"entities": True, "controls": True, "mojibake": "drop"},
        "filters": {
            "min_chars": 2,
            "max_chars": 100,
            "file_names": True,
            "emails": "drop",
            "phones": "mask",
            "block_urls": [f"{tmp_path}/urls.txt"],
            "block_texts": {"de": f"{tmp_path}/de.txt", "en": f"{tmp_path}/de.txt"},
        },
    }
    made = context("ingest", ingest=keys)
    (outcome,) = ingest.run(made)
    assert outcome.drops == dict.fromkeys(texts, 1)
    assert sorted(text["text"] for row in rows_of(made, "pairs") for text in row["texts"]) == sorted(kept.values())
    totals = outcome.totals
    assert (totals["read"], totals["kept"], totals["duplicates"]) == (len(rows), len(kept), 0)
    assert {"entities": 1, "phone_masked": 1, "controls_removed": 1}.items() <= totals["notes"].items()
    (tmp_path / "de.txt").write_text("anderes\n")  # a list is an input by its content
    (changed,) = ingest.run(made)
    assert changed.fresh
    assert "blocked_text" not in changed.drops
    (tmp_path / "de.txt").unlink()
    with pytest.raises(UsageError, match=r"ingest\.filters: cannot read .*de\.txt"):
        ingest.run(made)


def test_a_sample_of_images_is_counted(context, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps({"url": f"http://h/{n}", "text": "a text"}) for n in range(400)))
    made = context("ingest", ingest={"inputs": [str(source)], "format": "jsonl", "sample": 0.25, "sample_of": "images"})
    (outcome,) = ingest.run(made)
    assert outcome.drops == {"not_sampled": 400 - outcome.totals["images"]}
    assert 60 < outcome.totals["images"] < 140


def test_an_image_column_belongs_to_parquet():
    with pytest.raises(ValueError, match="image_column is a column of format parquet, not jsonl"):
        Config(ingest={"format": "jsonl", "image_column": "x"})


def as_webdataset(path, count):
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            for kind, data in (("png", picture(number)), ("txt", TEXTS[number % 3].encode())):
                info = tarfile.TarInfo(f"{number:04d}.{kind}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def as_parquet(path, count):
    rows = [{"text": TEXTS[number % 3], "pixels": picture(number)} for number in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)


@pytest.mark.parametrize(
    ("write", "name", "keys"),
    [
        (as_webdataset, "input.tar", {"format": "webdataset"}),
        pytest.param(
            as_parquet,
            "input.parquet",
            {"format": "parquet", "image_column": "pixels"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_pictures_at_hand_travel_to_the_shards(context, tmp_path, write, name, keys):
    path = tmp_path / name
    write(path, 30)
    night = {**NIGHT, "balance": {"p": 0.5, "selection": "all"}, "ingest": {"inputs": [str(path)], **keys}}
    made = context("nightly", **night)
    publish_metadata(made)
    nightly.run(made)
    shards = rows_of(made, "shards")
    assert len(shards) == len(rows_of(made, "matches")) > 20
    pictures = {picture(number) for number in range(30)}
    assert {row["image"] for row in shards} <= pictures
