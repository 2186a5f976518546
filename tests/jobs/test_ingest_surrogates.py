"""A broken character in a dropped record costs that record alone."""

from __future__ import annotations

import json

import pytest

from jobs import ingest

pytestmark = pytest.mark.spark


def test_a_lone_surrogate_in_a_dropped_url_is_counted_and_shown_and_the_rest_is_ingested(context, tmp_path):
    rows = [
        r'{"url": "ftp://a.example/\ud800", "text": "hi"}',
        '{"url": "https://a.example/1.jpg", "text": "a red dog"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n", encoding="ascii")
    made = context("ingest", ingest={"inputs": [str(tmp_path / "in.jsonl")], "format": "jsonl"})
    for _ in range(2):
        [outcome] = ingest.run(made)
    assert not outcome.fresh
    assert (outcome.totals["read"], outcome.totals["images"], outcome.drops) == (2, 1, {"scheme": 1})
    assert json.dumps(outcome.totals["dropped_samples"]).startswith('{"scheme": ["ftp:')
