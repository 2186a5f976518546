"""A full rebalance: every batch with the counts of all, under a new recipe, and the difference said."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest
import yaml

from jobs import balance, explain, ingest, match, rebalance
from jobs.runtime.context import Context
from support.nights import ENTRIES, publish_entries, write_night

pytestmark = pytest.mark.spark


def rows(context, table, **partition):
    files = context.lake.snapshot(table, partition).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def ids(context, **partition):
    return {row["image_id"] for row in rows(context, "curated", **partition)}


@pytest.fixture
def two_nights(night_done, tmp_path):
    """The finished night b1, and b2, which is only matched."""
    section = night_done.config.ingest.model_copy(update={"inputs": write_night(tmp_path / "more", 90, start=120)})
    context = Context(night_done.config.model_copy(update={"batch": "b2", "ingest": section}), "b2")
    for job in (ingest, match):
        job.run(context)
    return context


def test_all_batches_get_the_thresholds_of_all_counts_and_the_old_recipe_stays(
    two_nights, tmp_path, capsys, monkeypatch
):
    context = two_nights
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(context.config.model_dump(mode="json", exclude_none=True)))
    command = ["--config", str(path), "--recipe", "full", "--from_recipe", "default", "--json"]
    assert rebalance.main(["--config", str(path), "--recipe", "early", "--from_recipe", "default", "--json"]) == 0
    old, new = json.loads(capsys.readouterr().out)
    assert old["rare_by"] == new["rare_by"] == "b2", "matched, not balanced, and yet one measure for both"
    assert rows(context, "thresholds", recipe="early") != rows(context, "thresholds", recipe="default")

    balance.run(context)
    before = context.lake.snapshot("curated", {"recipe": "default"}).files
    assert rebalance.main(command) == 0
    old, new = json.loads(capsys.readouterr().out)
    assert context.lake.snapshot("curated", {"recipe": "default"}).files == before

    last = rows(context, "thresholds", recipe="default", batch="b2")
    assert rows(context, "thresholds", recipe="default", batch="b1") != last
    for batch in ("b1", "b2"):
        assert rows(context, "thresholds", recipe="full", batch=batch) == last
    assert ids(context, recipe="full", batch="b2") == ids(context, recipe="default", batch="b2")
    assert ids(context, recipe="full", batch="b1") != ids(context, recipe="default", batch="b1")
    for effect, recipe in ((old, "default"), (new, "full")):
        assert effect["kept"] == len(rows(context, "curated", recipe=recipe))
        assert effect["thresholds"] == {row["lang"]: row["t"] for row in last}
    assert context.lake.recipe("full") == context.lake.recipe("default") | {"counts_up_to": "b2"}

    runs = context.lake.snapshot("curated", {"recipe": "full"}).run_ids
    monkeypatch.setattr(rebalance, "last_counted", lambda _: "b3")  # a night matched since then changes nothing
    assert rebalance.main(command) == 0
    assert context.lake.snapshot("curated", {"recipe": "full"}).run_ids == runs, "nothing was done again"

    publish_entries(context, ENTRIES)
    found = explain.Explainer(Context(context.config.model_copy(update={"recipe": "full", "batch": "b1"}), "full"))
    kept = ids(context, recipe="full", batch="b1")
    for row in rows(context, "matches", batch="b1")[:20]:
        assert found.image(row["image_id"]).draw.drawn == (row["image_id"] in kept)


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        ([], 2, "--from_recipe: name the recipe to balance again"),
        (["--from_recipe", "default", "--recipe", "default"], 2, "--from_recipe: name the recipe to balance again"),
        (["--from_recipe", "absent"], 2, "recipe: 'absent' was never used in"),
        (["--from_recipe", "default", "--match.min_lid_score", "0.5"], 3, "no batch has counts of match_id"),
        (["--from_recipe", "default", "--balance.counts_up_to", "b9"], 3, "no counts for match_id=.* batch=b9"),
    ],
)
def test_what_cannot_be_rebalanced_is_refused(night_done, tmp_path, capsys, flags, code, line):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(night_done.config.model_dump(mode="json", exclude_none=True)))
    assert rebalance.main(["--config", str(path), "--recipe", "full", *flags]) == code
    said = capsys.readouterr()
    [error] = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert re.search(line, error)
    assert said.out == ""
