"""A matcher file that is not what the metadata's manifest says stops the match job before it publishes anything."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from curation.errors import InputError, UsageError
from curation.matching.matcher_file import FORMAT, MAGIC, compile_entries
from curation.matching.store import MatcherStore, matcher_name
from jobs import match
from jobs.runtime.spec import open_match_spec
from support.nights import ENTRIES, publish_metadata, publish_pairs, run_here

pytestmark = pytest.mark.spark

GOOD = compile_entries(sorted(ENTRIES["en"]), "worldwide")
NEWER = MAGIC + b'{"format": %d, "rules": "worldwide", "entries": 2, "sha256": "0"}\n' % (FORMAT + 1)
OLDER = MAGIC + b'{"format": %d, "rules": "worldwide", "entries": 2, "sha256": "0"}\n' % (FORMAT - 1)
TEXT = "the big red dog is on the table"


@pytest.fixture
def lake_with(context):
    """Make a lake with pairs whose English matcher has this content; `listed`: the manifest says so too."""

    def make(data: bytes, *, listed: bool):
        made = context("match")
        version = publish_metadata(made)
        publish_pairs(made, [{"image_id": f"{n:024x}", "texts": [{"source": "alt", "text": TEXT}]} for n in range(8)])
        name = matcher_name("worldwide", "en")
        path = Path(made.lake.root) / "matchers" / version / name
        path.write_bytes(data)
        if listed:
            manifest = MatcherStore(made.storage, made.lake.root).read_manifest(version)
            Path(MatcherStore(made.storage, made.lake.root).manifest_path(version)).unlink()
            files = manifest.files | {name: hashlib.sha256(data).hexdigest()}
            MatcherStore(made.storage, made.lake.root).write_manifest(replace(manifest, files=files))
        return made, path

    return make


@pytest.mark.parametrize(
    ("data", "listed", "error", "message"),
    [
        (GOOD[:-70] + b"x" + GOOD[-69:], False, InputError, "is damaged: its checksum differs"),
        (GOOD[:-100], False, InputError, "is damaged: its checksum differs"),
        (b"", False, InputError, "is damaged: its checksum differs"),
        (
            compile_entries(["dog"], "worldwide"),
            False,
            InputError,
            "is damaged: its checksum differs",
        ),
        (OLDER, True, UsageError, f"matcher format {FORMAT - 1}, this version reads {FORMAT}; rebuild it"),
        (NEWER, True, UsageError, f"matcher format {FORMAT + 1}, this version reads {FORMAT}; rebuild it"),
        (compile_entries(["dog"], "reference"), True, UsageError, "built for the rules 'reference'"),
    ],
    ids=["a byte changed", "truncated", "empty", "another list", "older format", "newer format", "other rules"],
)
def test_a_wrong_matcher_file_is_refused_in_one_line_that_names_it(lake_with, data, listed, error, message):
    made, path = lake_with(data, listed=listed)
    manifest = MatcherStore(made.storage, made.lake.root).read_manifest("latest")
    digest = manifest.files[matcher_name("worldwide", "en")]
    with pytest.raises(error, match=message) as raised:
        MatcherStore(made.storage, made.lake.root).load(manifest.version, "worldwide", "en", digest)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "listed", "error", "message"),
    [
        (GOOD[:-100], False, InputError, " is damaged"),
        (OLDER, True, UsageError, f": matcher format {FORMAT - 1}, this version reads {FORMAT}; rebuild it"),
    ],
    ids=["truncated", "older format"],
)
def test_a_wrong_matcher_file_stops_the_job_and_nothing_is_published(
    lake_with, monkeypatch, data, listed, error, message
):
    monkeypatch.setattr(
        "jobs.runtime.context.run_tasks", run_here
    )  # how errors travel from workers is run_tasks's own test
    made, path = lake_with(data, listed=listed)
    with pytest.raises(error, match=re.escape(f"{path}{message}")):
        match.run(made)
    assert not made.lake.snapshot("matches").files
    assert not made.lake.snapshot("counts").files


def test_metadata_compiled_by_another_release_is_refused(context):
    made = context("match")
    version = publish_metadata(made)
    manifest = Path(MatcherStore(made.storage, made.lake.root).manifest_path(version))
    manifest.rename(manifest.with_name("manifest.1.json"))
    assert json.loads(manifest.with_name("manifest.1.json").read_text())["version"] == version
    with pytest.raises(UsageError, match=r"compiled for this release: run jobs\.build_metadata"):
        open_match_spec(made)
