from __future__ import annotations

from datetime import UTC, datetime

from metadata.languages import LanguageTable
from metadata.lists.page import render

TOTALS = {
    "version": "abc123", "languages": 2, "entries": 1234, "files": 7, "files_failed": 1,
    "files_unmapped": ["/data/wn-data-qqq.tab"], "notes": ["English wordnet: <some> note"],
    "gaps": {"dump": ["ltg"], "page_views": ["en", "simple"], "wordnet": [], "numbers_only": ["other"]},
    "by_lang": {"en": {"number": 100, "unigram": 1000}, "other": {"number": 100, "title": 34}},
    "by_wikipedia": {
        "en": {"number": {"entries": 100, "cap": None, "reached": False, "examples": ["0"]},
               "unigram": {"entries": 1000, "cap": 1000, "reached": True, "examples": ["the", "<b>"]}},
        "simple": {"number": {"entries": 100, "cap": None, "reached": False, "examples": ["0"]}},
        "ltg": {"title": {"entries": 34, "cap": 99, "reached": False, "examples": ["Reiga"]}},
    },
}  # fmt: skip


def test_the_page_shows_the_sources_of_every_wikipedia():
    page = render(TOTALS, "run-7", LanguageTable.load(), datetime(2024, 5, 1, 12, 30, tzinfo=UTC))
    for text in ("abc123", "run-7", "2024-05-01 12:30", "own list", "merged into en", "in other", "Latgalian", "Reiga"):
        assert text in page
    assert "<strong>1,000</strong>" in page, "a cap that was reached"
    assert "1 of 7 files failed" in page
    assert "/data/wn-data-qqq.tab" in page
    assert "no words from a dump for 1 of 3 languages: Latgalian (ltg)" in page
    assert "only numbers in the lists of other" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "&lt;some&gt;" in page
    assert "<link" not in page
    assert "src=" not in page
