"""The contact sheet shows every language, in its direction, with pictures inside the page."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import UTC, datetime

import lxml.html
from hypothesis import given
from hypothesis import strategies as st

from curation.report.contact_sheet import SheetPicture, spread_by_language
from curation.report.night_data import Report
from curation.report.night_page import render

PICTURE = SheetPicture("0f3c", "data:image/jpeg;base64,AAAA", 256, 170, "a red dog", "en")
REPORT = Report("b1", "default", datetime(2024, 6, 1, tzinfo=UTC), "9.8.7")


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.integers(0, 45))
def test_no_language_has_two_pictures_more_than_one_that_has_rows_left(langs, count):
    chosen = spread_by_language(langs, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(langs))
    shown, rows = Counter(langs[position] for position in chosen), Counter(langs)
    for lang, number in shown.items():
        # the first rows of each language
        assert [p for p in chosen if langs[p] == lang] == [p for p, other in enumerate(langs) if other == lang][:number]
        assert all(shown[other] >= number - 1 for other in rows if shown[other] < rows[other])
    assert [langs[position] for position in chosen] == sorted(langs[position] for position in chosen)


def test_a_sheet_shows_pictures_with_texts_in_their_direction_and_language():
    arabic = dataclasses.replace(PICTURE, text="صورة كلب أحمر", lang="ar")
    hostile = dataclasses.replace(PICTURE, text='<img src=x onerror="alert(1)">', lang="other")
    page = lxml.html.fromstring(render(dataclasses.replace(REPORT, sheet_rows=50, pictures=[PICTURE, arabic, hostile])))
    items = page.xpath("//ul[@class='sheet']/li")
    texts = [item.xpath("./p[@class='text']")[0] for item in items]
    assert [text.text_content() for text in texts] == [PICTURE.text, arabic.text, hostile.text]
    assert [(text.get("dir"), text.get("lang")) for text in texts] == [("auto", "en"), ("auto", "ar"), ("auto", None)]
    assert [image.get("src") for image in page.xpath("//img")] == [PICTURE.source] * 3
    assert page.xpath("//img")[0].get("title") == "0f3c · 256 × 170"


def test_a_page_without_pictures_has_no_sheet():
    assert "Contact sheet" not in render(REPORT)
