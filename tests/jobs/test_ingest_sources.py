"""One batch reads sources of several formats, each as if it were alone, and its images are found where they are."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.cli.ingest_config import IngestSection
from curation.cli.settings import load_config
from curation.errors import UsageError
from curation.images.failures import FetchError
from jobs import balance, fetch_images, ingest, match, nightly
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.status import read_status
from jobs.tasks.images.inputs import ref_sources
from support import archives
from support.in_process import change
from support.nights import NIGHT, TEXTS, picture, publish_metadata

FIRST = {"jsonl": 100, "image": 200, "pixels": 300, "tar": 400}  # the pictures of each source
ROWS = 4


def text_of(number: int) -> str:
    return f"{TEXTS[0]} {number}"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four sources of four pictures each: JSON Lines with references, two Parquet files, a tar."""
    for name in FIRST:
        (tmp_path / name).mkdir()
    rows = []
    for number in range(FIRST["jsonl"], FIRST["jsonl"] + ROWS):
        (tmp_path / "jsonl" / f"{number}.png").write_bytes(picture(number))
        rows.append({"ref": f"{tmp_path}/jsonl/{number}.png", "caption": text_of(number)})
    (tmp_path / "jsonl" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for column, texts in (("image", "text"), ("pixels", "alt")):
        numbers = range(FIRST[column], FIRST[column] + ROWS)
        table = {column: [picture(number) for number in numbers], texts: [text_of(number) for number in numbers]}
        pq.write_table(pa.table(table), tmp_path / column / "rows.parquet")
    members = {}
    for number in range(FIRST["tar"], FIRST["tar"] + ROWS):
        members |= {f"{number}.png": picture(number), f"{number}.txt": text_of(number).encode()}
    (tmp_path / "tar" / "samples.tar").write_bytes(archives.tar(members.items(), tarfile.PAX_FORMAT))
    return tmp_path


def sources_in(folder: Path) -> list[dict]:
    return [
        {"inputs": f"{folder}/jsonl/rows.jsonl", "format": "jsonl", "ref_column": "ref", "text_columns": "caption"},
        {"inputs": f"{folder}/image", "format": "parquet", "image_column": "image"},
        {"inputs": f"{folder}/pixels", "format": "parquet", "image_column": "pixels", "text_columns": ["alt"]},
        {"inputs": f"{folder}/tar", "format": "webdataset"},
    ]


def sourced(sources: list[dict]) -> dict:
    return {"sources": IngestSection(sources=sources).sources}


def night_of(folder: Path, **ingest_keys) -> Context:
    keys = {**NIGHT, "balance": {"policy": "none"}, "lake": str(folder / "lake"), "batch": "b1"}
    made = Context(Config(**{**keys, "ingest": ingest_keys}), "nightly")
    publish_metadata(made)
    return made


def pairs(made: Context) -> list[dict]:
    return sorted(made.lake.rows("pairs").to_pylist(), key=lambda row: row["image_id"])


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((16, 16)), dtype=np.int64)


def nearest(data: bytes) -> int:
    """The number of the picture that was stored as `data`."""
    numbers = [first + place for first in FIRST.values() for place in range(ROWS)]
    return min(numbers, key=lambda number: np.abs(pixels(picture(number)) - pixels(data)).sum())


def test_a_batch_of_sources_has_the_pairs_that_its_sources_have_alone(in_process, folder):
    together = night_of(folder, sources=sources_in(folder))
    [outcome] = ingest.run(together)
    assert outcome.totals["images"] == outcome.totals["read"] == 4 * ROWS
    alone = []
    for number, source in enumerate(sources_in(folder)):
        ingest.run(made := change(night_of(folder, **source), lake=str(folder / str(number)), create=True))
        alone += pairs(made)
    assert pairs(together) == sorted(alone, key=lambda row: row["image_id"])


def test_every_image_comes_from_the_column_or_file_of_its_source(in_process, folder):
    made = night_of(folder, sources=sources_in(folder))
    nightly.run(made)
    rows = made.lake.rows("shards").to_pylist()
    assert sorted(int(row["text"].split()[-1]) for row in rows) == sorted(
        first + place for first in FIRST.values() for place in range(ROWS)
    )
    assert all(nearest(row["image"]) == int(row["text"].split()[-1]) for row in rows)


def test_inputs_of_the_section_and_of_sources_are_read_together(in_process, folder):
    # the section has the columns of tables and no reference column, which would be inherited
    others, tar = sources_in(folder)[:3], sources_in(folder)[3]
    together, split = night_of(folder, sources=[*others, tar]), night_of(folder, **tar, sources=others)
    ingest.run(together)
    ingest.run(split := change(split, lake=str(folder / "split"), create=True))
    assert pairs(split) == pairs(together)


def test_a_source_takes_the_keys_that_it_does_not_set_from_the_section():
    section = IngestSection(
        format="parquet", image_column="png", text_columns=["alt"], url_column="u",
        sources=[{"inputs": "a"}, {"inputs": "b", "format": "jsonl", "text_columns": "t"}],
    )  # fmt: skip
    own, first, second = section.all_sources()
    assert (own.inputs, own.format) == ([], "parquet")
    assert (first.format, first.image_column, first.text_columns, first.url_column) == ("parquet", "png", ["alt"], "u")
    assert (second.format, second.image_column, second.text_columns) == ("jsonl", None, ["t"])
    recorded = IngestSection.model_validate(section.model_dump(mode="json"))
    assert recorded == section


def test_without_sources_fingerprints_are_those_of_earlier_releases():
    keys = IngestSection(inputs=["a"]).fingerprint_keys() | IngestSection(inputs=["a"]).reader_keys()
    assert "sources" not in keys


def test_a_batch_may_get_another_source_but_not_another_reading_of_one(in_process, folder):
    first, second, *others = sources_in(folder)
    made = night_of(folder, sources=[first, second])
    ingest.run(made)
    with pytest.raises(UsageError, match=r"sources\.0\.text_columns \['caption'\] \(now \['ref'\]\).*--replace"):
        ingest.run(change(made, ingest=sourced([first | {"text_columns": ["ref"]}, second])))
    with pytest.raises(UsageError, match=r"input files that are not in ingest\.inputs now .*rows\.parquet.*--replace"):
        ingest.run(change(made, ingest=sourced([first])))
    [grown] = ingest.run(change(made, ingest=sourced([first, second, *others])))
    assert grown.totals["images"] == 4 * ROWS


def test_the_published_sources_are_fresh(in_process, folder):
    made = night_of(folder, sources=sources_in(folder))
    nightly.run(made)
    assert {stage.freshness.state for stage in read_status(made).stages} == {"fresh"}
    [again] = ingest.run(made)
    assert not again.fresh


def test_a_source_in_another_format_is_named_before_anything_is_read(in_process, folder):
    first, second, *_ = sources_in(folder)
    made = night_of(folder, sources=[first, {"inputs": second["inputs"], "format": "jsonl"}])
    with pytest.raises(UsageError, match=r"image/rows\.parquet is Parquet.*set ingest\.format to parquet"):
        ingest.run(made)


def test_an_input_of_two_sources_is_refused(in_process, folder):
    first = sources_in(folder)[0]
    made = night_of(folder, sources=[first, first | {"text_columns": ["ref"]}])
    with pytest.raises(UsageError, match=r"ingest\.sources: .*rows\.jsonl is an input of several sources"):
        ingest.run(made)


def test_a_reference_reaches_the_folders_of_its_own_source_only(in_process, folder):
    row = {"ref": f"{folder}/jsonl/{FIRST['jsonl']}.png", "text": text_of(1)}
    (folder / "other").mkdir()
    (folder / "other" / "rows.jsonl").write_text(json.dumps(row) + "\n")
    other = {"inputs": f"{folder}/other", "format": "jsonl", "ref_column": "ref"}
    made = night_of(folder, sources=[sources_in(folder)[0], other])
    [outcome] = ingest.run(made)
    assert outcome.drops == {"ref_refused": 1}


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 0, 3, 1], [1], []])
def test_a_published_batch_is_read_as_its_run_recorded_whatever_the_list_of_sources_is_now(in_process, folder, order):
    made = night_of(folder, sources=sources_in(folder))
    for job in (ingest, match, balance):
        job.run(made)
    sources = [sources_in(folder)[number] for number in order]
    (folder / "added").mkdir()
    added = {"inputs": f"{folder}/added", "format": "parquet", "image_column": "thumbnail"}
    fetch_images.run(changed := change(made, ingest=sourced([added, *sources])))
    rows = changed.lake.rows("shards").to_pylist()
    assert len(rows) == 4 * ROWS
    assert all(nearest(row["image"]) == int(row["text"].split()[-1]) for row in rows)


def test_a_source_that_is_no_longer_in_the_config_reaches_only_the_folders_of_its_inputs(in_process, folder):
    (folder / "other").mkdir()
    (folder / "other" / "rows.jsonl").write_bytes((folder / "jsonl" / "rows.jsonl").read_bytes())
    first = sources_in(folder)[0] | {"inputs": f"{folder}/other", "ref_roots": f"{folder}/jsonl"}
    ingest.run(made := night_of(folder, sources=[first]))
    reference = f"{folder}/jsonl/{FIRST['jsonl']}.png"
    reordered = ref_sources(change(made, ingest=sourced([sources_in(folder)[3], first])), "b1")
    with reordered.open(reference) as file:
        assert file.read() == picture(FIRST["jsonl"])
    with pytest.raises(FetchError, match="ref_refused"):
        ref_sources(change(made, ingest=sourced([sources_in(folder)[3]])), "b1").open(reference)


def test_an_ingest_without_inputs_says_so(in_process, folder):
    with pytest.raises(UsageError, match=r"key `ingest\.inputs` is missing"):
        ingest.run(night_of(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{format: jsonl}]", "sources.0 has no inputs: add its inputs, or remove it"),
        ("[{inputs: a, formatt: jsonl}]", "`ingest.sources.0.formatt` (did you mean `ingest.sources.0.format`?)"),
        ("[{inputs: a, format: csv}]", "key `ingest.sources.0.format`: Input should be"),
        ("[a.jsonl]", "key `ingest.sources.0`: Input should be"),
        ("a.jsonl", "key `ingest.sources`: Input should be"),
    ],
)
def test_a_mistake_in_a_source_is_named(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(f"ingest: {{sources: {text}}}\n")
    with pytest.raises(UsageError) as caught:
        load_config(Config, ["--config", str(path)], prog="x", description="")
    assert message in str(caught.value)


def test_sources_are_given_in_the_file_with_its_paths_or_as_json(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("ingest: {sources: [{inputs: in/a.jsonl, format: jsonl}]}\n")
    config = load_config(Config, ["--config", str(path)], prog="x", description="")
    assert config.ingest.sources[0].inputs == [str(tmp_path / "in" / "a.jsonl")]
    flag = ["--ingest.sources", json.dumps([{"inputs": ["a"], "format": "jsonl"}, {"inputs": "b"}])]
    config = load_config(Config, flag, prog="x", description="")
    assert [(source.inputs, source.format) for source in config.ingest.sources] == [(["a"], "jsonl"), (["b"], "wat")]
