"""A batch names the languages that have no list: in the log, in the run, and on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import match, report
from jobs.runtime.spec import open_match_spec
from support.nights import publish_metadata, publish_pairs, run_here

TEXTS = ["the big red dog is on the table 7", "der große rote Hund liegt auf dem Tisch 7", "le chat est sur la table 7"]


@pytest.fixture
def matched(context, monkeypatch):
    """Match three texts with some lists; return the context and the outcome."""
    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)

    def run(lists):
        made = context("match", lake=context().config.lake + "-".join(lists))
        publish_metadata(made, lists)
        publish_pairs(
            made, [{"image_id": f"{n:024x}", "texts": [{"source": "alt", "text": t}]} for n, t in enumerate(TEXTS)]
        )
        [outcome] = match.run(made)
        report.run(made)
        return made, outcome

    return run


def page_of(made) -> str:
    [page] = Path(made.lake.root, "reports").rglob("b1.html")
    return page.read_text()


def langs_of(made) -> list[str]:
    rows = [row for file in made.lake.snapshot("matches").files for row in pq.read_table(file.path).to_pylist()]
    return sorted(text["lang"] for row in rows for text in row["texts"])


def test_texts_without_a_list_are_matched_against_other_and_named(matched, caplog):
    made, outcome = matched({"en": ["7", "dog"], "other": ["7"]})
    assert langs_of(made) == ["en", "other", "other"]
    assert outcome.totals["texts_without_list"] == {"de": 1, "fr": 1}
    line = "2 of 3 texts (66.7%) are in languages without a list, matched against the list other: German (de) 1, French"
    assert line in caplog.text
    assert line in page_of(made)
    [row] = [row for row in made.lake.rows("runs").to_pylist() if row["stage"] == "match"]
    assert json.loads(row["totals"])["texts_without_list"] == {"de": 1, "fr": 1}


def test_texts_that_no_list_takes_are_named(matched, caplog):
    made, _ = matched({"en": ["7", "dog"]})
    assert langs_of(made) == ["en"]
    line = "2 of 3 texts (66.7%) are in languages without a list, they match nothing: German (de) 1, French (fr) 1"
    assert line in caplog.text
    assert line in page_of(made)
    assert page_of(made).count("no list</span>") == 2


def test_nothing_is_said_if_every_language_has_a_list(matched, caplog):
    made, outcome = matched({"de": ["7"], "en": ["7"], "fr": ["7"]})
    assert langs_of(made) == ["de", "en", "fr"]
    assert outcome.totals["texts_without_list"] == {}
    assert "without a list" not in caplog.text + page_of(made)


def test_the_fallback_is_part_of_match_id_only_if_a_language_has_no_list(context):
    keys = {}
    every = sorted({*open_spec(context, {"en": ["a"]}).labels.values()})
    for name, langs in {"english": ["en"], "with other": ["en", "other"], "all": every}.items():
        keys[name] = set(open_spec(context, {lang: ["a"] for lang in langs}).keys)
    assert keys["english"] == keys["all"] == keys["with other"] - {"without_list"}


def open_spec(context, lists):
    made = context("spec")
    publish_metadata(made, lists)
    return open_match_spec(made)
