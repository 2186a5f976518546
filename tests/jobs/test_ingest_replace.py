"""A published batch is not replaced by accident: other settings or other files need `--replace`."""

from __future__ import annotations

import pytest

from curation.cli.ingest_config import IngestSection
from curation.errors import UsageError
from curation.io.backend import FileStat
from jobs import ingest
from jobs.tasks.ingest.published import changes_of_batch
from jobs.tasks.ingest.sources import InputFile
from support.in_process import change, files_below
from support.nights import write_night


def other_value(name, value):
    """Another value of an ingest setting that can be set together with the defaults."""
    special = {
        "format": "webdataset", "text_columns": ["text", "more"], "robots": ["noai"], "sample": 0.99,
        "sample_of": "images", "seen": "earlier", "seen_action": "merge", "image_column": "image",
    }  # fmt: skip
    if name in special:
        return special[name]
    if isinstance(value, dict):
        key = next(iter(value))
        return {**value, key: other_value(key, value[key])}
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 7 if name == "min_chars" else f"{value}x"


def published_files(context):
    """All files of the lake except for the metrics, which a failed run writes too."""
    return {path: data for path, data in files_below(context.config.lake) if not path.endswith(".prom")}


SETTINGS = IngestSection().fingerprint_keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_that_changes_the_pairs_asks_for_replace_and_is_named(night_here, name):
    published = night_here.config.ingest.model_dump()[name]
    section = night_here.config.ingest.model_dump() | {name: other_value(name, published)}
    if name == "image_column":
        section["format"] = "parquet"
    made = change(night_here, ingest=IngestSection(**section).__dict__)
    before = published_files(made)
    with pytest.raises(UsageError, match=rf"batch b1 is published with .*{name}[. ].*--replace"):
        ingest.run(made)
    assert published_files(made) == before


def test_of_the_filters_only_the_changed_one_is_named(night_here):
    filters = night_here.config.ingest.filters.model_copy(update={"min_chars": 5})
    with pytest.raises(UsageError, match=r"published with filters\.min_chars None \(now 5\): its pairs"):
        ingest.run(change(night_here, ingest={"filters": filters}))


def test_files_that_are_gone_ask_for_replace_and_more_files_do_not(night_here, tmp_path):
    inputs = night_here.config.ingest.inputs
    other = write_night(tmp_path / "other", 5, start=300)
    with pytest.raises(UsageError, match=r"input files that are not in ingest\.inputs now .*0\.jsonl"):
        ingest.run(change(night_here, ingest={"inputs": other}))
    with pytest.raises(UsageError, match=r"1\.jsonl"):
        ingest.run(change(night_here, ingest={"inputs": [inputs[0], inputs[2]]}))
    [grown] = ingest.run(change(night_here, ingest={"inputs": [*inputs, *other]}))
    assert grown.totals["images"] == 65
    [shrunk] = ingest.run(change(night_here, ingest={"inputs": inputs[:1]}, replace=True))
    assert shrunk.totals["images"] == 20
    with pytest.raises(UsageError, match=r"seed 0 \(now 1\)"):
        ingest.run(change(night_here, ingest={"inputs": inputs[:1]}, seed=1))


def test_an_empty_batch_can_be_replaced(new_night, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    ingest.run(change(new_night, ingest={"inputs": [str(empty)]}))
    [outcome] = ingest.run(new_night)
    assert outcome.totals["images"] == 60


@pytest.mark.parametrize("sign", ["?X-Amz-Signature=1", "?sig=2&se=3", ""])
def test_urls_that_are_signed_anew_are_the_same_files(sign):
    row = {
        "totals": '{"images": 3}',
        "config": '{"ingest": {}, "seed": 0}',
        "inputs": '{"files": [["https://u:p@host/a.gz?X-Amz-Signature=0", 1, "e"], ["s3://b/c?d", 1, "e"]]}',
    }
    files = [InputFile(FileStat(path, 1, "e")) for path in (f"https://host/a.gz{sign}", "s3://b/c?d")]
    assert changes_of_batch(row, IngestSection(), 0, files) == ""
    assert "s3://b/c?d" in changes_of_batch(row, IngestSection(), 0, files[:1])
