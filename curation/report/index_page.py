"""Render the index of a lake's report pages: batches by recipe with trends, and metadata versions.

This module does not read the lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from markupsafe import Markup

from curation.report import charts
from curation.report.html import environment
from curation.report.night_data import STAGES, StageRun

# The figures of a batch: stage, figure, and label.
FIGURES = (
    ("ingest", "read", "occurrences read"),
    ("ingest", "images", "distinct images"),
    ("match", "images_matched", "images with a match"),
    ("balance", "curated", "curated pairs"),
    ("shards", "written", "shard rows"),
    ("balance", "t_en", "t of English"),
)


@dataclass(frozen=True)
class BatchEntry:
    """A batch under a recipe: the runs of its stages, and the path of its page from the index, if there is one."""

    batch: str
    runs: Mapping[str, StageRun]
    page: str | None = None

    @property
    def status(self) -> str:
        """`complete`, or the stages that have not run, whose inputs failed or that raised alarms."""
        missing = [stage for stage in STAGES if stage not in self.runs]
        failed = [stage for stage, run in self.runs.items() if not run.complete]
        alarms = [stage for stage, run in self.runs.items() if run.totals.get("alarms")]
        parts = {"not run": missing, "incomplete": failed, "alarms": alarms}
        return "; ".join(f"{name}: {', '.join(stages)}" for name, stages in parts.items() if stages) or "complete"

    def figure(self, stage: str, key: str) -> Any:
        """Return a figure of a stage's totals; None if the stage has not run or does not have it."""
        return self.runs[stage].totals.get(key) if stage in self.runs else None

    @property
    def finished(self) -> datetime | None:
        """When the last of the runs finished; None if there are none."""
        return max((run.finished for run in self.runs.values()), default=None)


@dataclass(frozen=True)
class MetadataEntry:
    """A metadata version: its run, and the path of its page from the index, if there is one."""

    version: str
    run: StageRun
    page: str | None = None


@dataclass(frozen=True)
class Index:
    """The data of the page: batches by recipe in the order of batches, and metadata versions, newest first.

    `made_from` is a digest of all that determines the page.
    """

    lake: str
    written: datetime
    code_version: str
    made_from: str = ""
    recipes: Mapping[str, Sequence[BatchEntry]] = field(default_factory=dict)
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Sequence[MetadataEntry] = ()


def render(index: Index) -> str:
    """Return the HTML of the page."""
    template = environment("curation.report").get_template("index_page.html")
    return template.render(index=index, figures=FIGURES, trend=trend)


def is_made_from(page: str, made_from: str) -> bool:
    """Return whether a page was rendered from data with this digest."""
    return f'<meta name="made-from" content="{made_from}">' in page


def trend(entries: Sequence[BatchEntry], stage: str, key: str, label: str) -> Markup:
    """Draw a figure of the batches of a recipe in their order."""
    values = [entry.figure(stage, key) for entry in entries]
    return charts.trend(values, f"{label} of {len(values)} batches, the last: {charts.number(values[-1])}")
