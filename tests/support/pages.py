"""Figures of a night and a parser of tables, for tests of report pages."""

from __future__ import annotations

import lxml.html

TOTALS = {
    "ingest": {"files": 2, "read": 2000, "kept": 1200, "images": 1000, "duplicates": 100, "over_cap": 7},
    "match": {
        "images": 1000,
        "images_matched": 640,
        "texts": 1200,
        "texts_matched": 700,
        "matches": 3000,
        "texts_by_lang": {"en": 800, "ar": 300, "my": 100},
        "matched_by_lang": {"en": 500, "ar": 200, "my": 0},
        "match_id": "m1",
        "metadata_version": "v1",
    },
    "totals": {"batches": 1, "entries_seen": 5, "matches": 3000},
    "balance": {
        "images": 640,
        "curated": 320,
        "p": 0.06,
        "t_en": 40,
        "languages": 2,
        "curated_by_lang": {"en": 170, "ar": 150},
    },
    "images": {"images": 320, "fetched": 300, "buckets": 1},
    "shards": {"pairs": 320, "written": 299, "files": 1, "selection": "drawn"},
}
DROPS = {
    "ingest": {"empty_text": 693},
    "match": {"image_without_match": 360},
    "balance": {"not_drawn": 320},
    "images": {"timeout": 20},
    "shards": {"without_image": 21},
}
THRESHOLDS = [
    {"lang": "ar", "t": 3, "p": 0.06, "matches": 900, "entries_seen": 2},
    {"lang": "en", "t": 40, "p": 0.06, "matches": 2100, "entries_seen": 3},
]


def tables(page: str, heading: str) -> list[list[list[str]]]:
    """Return the tables of a section as rows of cell texts, without header rows."""
    (section,) = lxml.html.fromstring(page).xpath(f"//section[h2[starts-with(text(), {heading!r})]]")
    return [
        [
            [" ".join(cell.text_content().split()) for cell in row.xpath("./th|./td")]
            for row in table.xpath("./tbody/tr")
        ]
        for table in section.xpath(".//table")
    ]
