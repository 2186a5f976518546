"""References of untrusted rows reach only files below the roots: ingest checks their names, the fetch what they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curation.cli.ingest_config import IngestSection
from jobs import balance, fetch_images, ingest, match, nightly
from jobs.runtime.context import Context
from support.loopback import Answer, serving
from support.nights import NIGHT, TEXTS, picture, publish_metadata

pytestmark = pytest.mark.spark


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("in/good.png", "secret.png"):
        (tmp_path / name).write_bytes(picture(len(name)))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    return tmp_path


def with_refs(context, folder: Path, refs: list[str], **ingest_keys) -> Context:
    rows = [{"ref": ref, "text": TEXTS[0]} for ref in refs]
    (folder / "in" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    keys = {**NIGHT["ingest"], "inputs": [str(folder / "in" / "rows.jsonl")], **ingest_keys}
    made = context("nightly", **{**NIGHT, "ingest": keys, "balance": {"policy": "none"}})
    publish_metadata(made)
    return made


def drops(made: Context) -> dict[str, dict[str, int]]:
    return {row["stage"]: json.loads(row["drops"]) for row in made.lake.rows("runs").to_pylist()}


def test_no_reference_reaches_beyond_the_folder_of_its_input(context, folder, caplog):
    with serving(lambda _: Answer(200, picture(1))) as server:
        names = ["good.png", "gone.png", "link.png", "zero.png", "pipe.png", "../secret.png"]
        refs = [f"{folder}/in/{name}" for name in names]
        refs += [
            f"{server.url}/a.png",
            f"{server.url}/a.tar#a.png",
            "/etc/hostname",
            f"{folder}/secret.png",
            "s3://b/a.png",
        ]
        made = with_refs(context, folder, refs)
        nightly.run(made)
        assert not server.requests
    assert drops(made)["ingest"] == {"ref_refused": 6}
    assert "ingest.ref_roots: 6 texts were dropped" in caplog.text
    assert drops(made)["images"] == {"ref_refused": 3, "ref_missing": 1}


def test_configured_roots_allow_other_folders(context, folder):
    made = with_refs(context, folder, [f"{folder}/secret.png", f"{folder}/in/link.png"], ref_roots=[str(folder)])
    nightly.run(made)
    assert drops(made)["ingest"] == drops(made)["images"] == {}


def test_pairs_of_a_laxer_ingest_are_refused_at_the_fetch(context, folder):
    lax = with_refs(context, folder, [f"{folder}/secret.png", f"{folder}/in/good.png"], ref_roots=["/"])
    for job in (ingest, match, balance):
        job.run(lax)
    strict = Context(
        lax.config.model_copy(update={"ingest": lax.config.ingest.model_copy(update={"ref_roots": None})}), "fetch"
    )
    fetch_images.run(strict)
    assert drops(strict)["images"] == {"ref_refused": 1}


def test_the_key_changes_no_fingerprint_of_inputs_without_references(context):
    plain = context("ingest", ingest={"format": "jsonl"}).config.ingest
    with_roots = plain.model_copy(update={"ref_roots": ["/data"]})
    assert "ref_roots" not in plain.fingerprint_keys()
    assert with_roots.fingerprint_keys() == plain.fingerprint_keys()
    by_ref = with_roots.model_copy(update={"ref_column": "ref"})
    assert by_ref.fingerprint_keys()["ref_roots"] == by_ref.reader_keys()["ref_roots"] == ["/data"]


def test_a_relative_root_is_absolute_in_the_config_and_any_other_is_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = ["data", "./a/../b/", "/data/", "/x/./y", "s3://bucket/prefix/"]
    read = [f"{tmp_path}/data", f"{tmp_path}/b", "/data/", "/x/./y", "s3://bucket/prefix/"]
    section = IngestSection(ref_column="ref", ref_roots=written, sources=[{"inputs": "a", "ref_roots": "roots"}])
    assert section.fingerprint_keys()["ref_roots"] == read
    assert section.sources[0].ref_roots == [f"{tmp_path}/roots"]
    assert IngestSection(ref_column="ref").fingerprint_keys()["ref_roots"] is None
