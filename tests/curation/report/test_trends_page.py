"""The trends show every figure of every batch in their order, also if there are thousands of batches."""

from __future__ import annotations

from datetime import UTC, datetime

import lxml.html
from hypothesis import given
from hypothesis import strategies as st

from curation.report.index_page import BatchEntry, Index
from curation.report.night_data import StageRun
from curation.report.trends_page import TOP_LANGUAGES, render, trends

NOW = datetime(2024, 5, 31, tzinfo=UTC)


def entry(number: int, **stages) -> BatchEntry:
    runs = {
        stage: StageRun("r", NOW, NOW, "1", totals=totals, seconds={"read": 2.0, "merge": 3.0})
        for stage, totals in stages.items()
    }
    return BatchEntry(f"b{number:04d}", runs)


def index(entries, recipe="default") -> Index:
    return Index("/lake", NOW, "1", recipes={recipe: entries})


@given(st.lists(st.none() | st.tuples(st.integers(1, 1000), st.integers(1, 1000)), max_size=8))
def test_a_trend_has_the_values_of_the_batches_that_have_them_by_position(values):
    entries = [
        entry(n, **({} if v is None else {"ingest": {"read": v[0], "kept": v[1]}})) for n, v in enumerate(values)
    ]
    found = {trend.title: list(trend.points) for trend in trends(entries)}
    positions = [(n, value) for n, value in enumerate(values, start=1) if value is not None]
    if not positions:
        assert found == {}
        return
    assert found == {
        "occurrences read": [(n, read) for n, (read, _) in positions],
        "kept share": [(n, kept / read) for n, (read, kept) in positions],
        "seconds of ingest": [(n, 5.0) for n, _ in positions],
    }


def test_the_largest_languages_are_shown_and_a_missing_one_is_zero():
    langs = {f"l{n:02d}": n + 1 for n in range(30)}
    entries = [entry(0, match={"texts_by_lang": langs}), entry(1, match={"texts_by_lang": {"l29": 1}})]
    found = {trend.title: trend.points for trend in trends(entries) if trend.title.startswith("share of texts")}
    assert sorted(found) == [f"share of texts in l{n}" for n in range(30 - TOP_LANGUAGES, 30)]
    assert [value for _, value in found["share of texts in l28"]] == [29 / sum(langs.values()), 0.0]


def test_thousands_of_batches_make_a_page_of_bounded_size_that_links_back():
    entries = [entry(n, ingest={"read": n + 1, "kept": n}, balance={"t_en": 20, "p": 0.06}) for n in range(4000)]
    page = render(index(entries))
    assert len(page) < 100_000
    tree = lxml.html.fromstring(page)
    assert tree.xpath("//a/@href") == ["index.html"]
    captions = [caption.text_content() for caption in tree.xpath("//figcaption")]
    assert "occurrences read: 4,000" in captions
    assert "p: 6.0%" in captions
    assert "t_en: 20" in captions


def test_values_are_escaped_and_a_lake_without_batches_has_a_page():
    page = render(index([entry(0, match={"texts_by_lang": {"<b>": 1}})], recipe="<i>"))
    assert "<b>" not in page
    assert "<i>" not in page
    assert "No batch is balanced." in render(index([], recipe=""))
