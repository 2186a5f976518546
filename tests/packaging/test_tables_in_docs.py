"""Tables of the documents are whole: each has a head, and no row is cut off from it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_follows_a_head_and_has_its_number_of_cells(page):
    tables: list[list[str]] = []
    before = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            tables[-1].append(line)
        before = line
    for table in tables:
        assert len(table) > 2, table
        assert set(table[1]) <= set("|-: "), table[0]
        cells = [line.replace(r"\|", "").count("|") for line in table]
        assert set(cells) == {cells[0]}, table[0]
