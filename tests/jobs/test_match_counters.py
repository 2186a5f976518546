"""The match job compares its counters with the files it wrote: a lost or doubled row stops the publication."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curation.errors import OutputError
from curation.io.storage import Storage
from curation.lake.parquet import PartitionWriter
from curation.lake.parquet_read import count_values
from curation.lake.schemas import SCHEMAS
from curation.matching import pairs
from jobs import match
from jobs.tasks.match.match import WRITTEN_MATCHES, WRITTEN_TEXTS
from support.nights import publish_metadata, publish_pairs, run_here
from support.tables import matches_batch

pytestmark = pytest.mark.spark

TEXTS = ["the big red dog is on the table", "a cat sitting in the garden of the old house"]


@pytest.fixture
def ready(context, monkeypatch):
    """A context with pairs to match, in this process."""
    made = context("match")
    publish_metadata(made)
    texts = [{"source": "alt", "text": text} for text in TEXTS]
    publish_pairs(made, [{"image_id": f"{n:024x}", "texts": texts} for n in range(8)])
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)
    return made


@pytest.mark.parametrize(
    "fault",
    [
        lambda texts: texts[:1],
        lambda texts: [*texts, texts[0]],
        lambda texts: [texts[0] | {"entry_ids": texts[0]["entry_ids"][1:]}, texts[1]],
        lambda texts: [texts[1], texts[1]],
    ],
    ids=["a text lost", "a text doubled", "an entry lost", "a text in place of another"],
)
@pytest.mark.parametrize("where", ["regrouping", "writing"])
def test_a_fault_on_the_way_into_the_files_is_noticed_and_nothing_is_published(ready, monkeypatch, fault, where):
    def break_(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[-1]["texts"] = fault(rows[-1]["texts"])
        return pa.Table.from_pylist(rows, table.schema)

    if where == "regrouping":
        regroup = pairs._regroup
        monkeypatch.setattr(pairs, "_regroup", lambda *args: break_(regroup(*args)))
    else:
        write = PartitionWriter.write
        monkeypatch.setattr(
            PartitionWriter,
            "write",
            lambda self, table: write(self, break_(table) if "texts" in table.column_names else table),
        )
    with pytest.raises(OutputError, match=r"match: the files hold \d+ texts with \d+ matches, not 16 texts with \d+"):
        match.run(ready)
    assert not ready.lake.snapshot("matches").files
    assert not ready.lake.snapshot("counts").files


def test_without_a_fault_the_same_is_published(ready):
    [outcome] = match.run(ready)
    assert (outcome.totals["images_matched"], outcome.totals["texts_matched"]) == (8, 16)
    assert outcome.totals["matches"] > 0


def test_pairs_without_any_match_and_no_pairs_at_all_balance_too(context, monkeypatch):
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)
    for name, images in (("none", 0), ("nothing", 5)):
        made = context("match", lake=context().config.lake + name)
        publish_metadata(made, {"en": ["xyzzy"]})
        texts = [{"source": "alt", "text": TEXTS[0]}]
        publish_pairs(made, [{"image_id": f"{n:024x}", "texts": texts} for n in range(images)])
        [outcome] = match.run(made)
        assert (outcome.totals["images"], outcome.totals["matches"]) == (images, 0)
        assert made.lake.snapshot("matches").files


def test_values_are_counted_by_the_footer_in_every_row_group(tmp_path):
    long = "x" * 10_000
    rows = [(f"{n}", [(long, "en", list(range(n % 5)))] * (n % 3)) for n in range(40)]
    with PartitionWriter(Storage(), str(tmp_path), "run", 0, SCHEMAS["matches"]) as writer:
        for start in (0, 15):
            writer.write(pa.Table.from_batches([matches_batch(rows[start : start + 15 + start])]))
            writer._flush()
    path = str(tmp_path / writer.files[0].path)
    texts = [text for _, texts in rows for text in texts]
    assert count_values(Storage(), path, WRITTEN_TEXTS) == len(texts)
    assert count_values(Storage(), path, WRITTEN_MATCHES) == sum(len(ids) for *_, ids in texts)
