"""Render the HTML page of a metadata build: how many entries each source added to each list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from curation import __version__
from curation.report.html import environment
from metadata.languages import LanguageTable
from metadata.lists.coverage import coverage
from metadata.lists.gaps import describe_gaps
from metadata.lists.statistics import ORIGINS


def render(totals: Mapping[str, Any], run_id: str, table: LanguageTable, written: datetime) -> str:
    """Return the page for the totals of a `build_metadata` run."""
    wikipedias = coverage(table, totals["by_lang"], totals["by_wikipedia"])
    rows = [
        {"code": row.code, "name": row.name, "status": row.status, "sources": totals["by_wikipedia"][row.code]}
        for row in wikipedias
        if row.built
    ]
    kinds = Counter("merged into another" if row["status"].startswith("merged") else row["status"] for row in rows)
    template = environment("metadata.lists").get_template("metadata.html")
    return template.render(
        totals=totals,
        run_id=run_id,
        written=written,
        code_version=__version__,
        origins=ORIGINS,
        rows=rows,
        kinds=kinds,
        gaps=list(describe_gaps(totals["gaps"], len(rows), table.names, max_named=None)),
    )
