"""Render the trends of a lake: a chart per figure, over all batches of a recipe in their order.

This module does not read the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from curation.report import charts
from curation.report.html import environment
from curation.report.index_page import FIGURES, BatchEntry, Index
from curation.report.line_chart import Points, line_chart
from curation.report.night_data import ORDER
from curation.report.night_figures import LEVELS, SHARE_OF, figures

TOP_LANGUAGES = 12  # of each kind of share, those with the largest at any night

Show = Callable[[float], str]


@dataclass(frozen=True)
class Trend:
    """A figure over the batches: `points` are pairs of the position of a batch, from 1, and the value."""

    title: str
    points: Points
    show: Show

    @property
    def last(self) -> str:
        """The last value."""
        return self.show(self.points[-1][1])

    @property
    def chart(self) -> Markup:
        """The chart."""
        return line_chart([self.points], f"{self.title}, the last: {self.last}", self.show)


def render(index: Index) -> str:
    """Return the HTML of the page."""
    recipes = {recipe: list(trends(entries)) for recipe, entries in index.recipes.items() if recipe}
    return environment("curation.report").get_template("trends_page.html").render(index=index, recipes=recipes)


def trends(entries: Sequence[BatchEntry]) -> Iterator[Trend]:
    """Yield the trends that have values: counts, shares and levels, shares of languages, and seconds by stage."""
    for stage, key, label in FIGURES:
        if key not in LEVELS:
            yield from _trend(label, [entry.figure(stage, key) for entry in entries], _count)
    nights = [
        {name: value for stage, run in entry.runs.items() for name, value in figures(stage, run.totals).items()}
        for entry in entries
    ]
    for name in _names(nights):
        values = [night.get(name, 0.0 if name.startswith(SHARE_OF) else None) for night in nights]
        yield from _trend(name, values, _count if name == "t_en" else charts.percent)
    for stage in ORDER:
        seconds = [sum(entry.runs[stage].seconds.values()) if stage in entry.runs else None for entry in entries]
        yield from _trend(f"seconds of {stage}", seconds, charts.seconds)


def _names(nights: Sequence[dict[str, float]]) -> list[str]:
    """Return the names of the figures, in the order in which they occur, with the largest languages only."""
    largest: dict[str, float] = {}
    for night in nights:
        for name, value in night.items():
            largest[name] = max(value, largest.get(name, 0.0))
    languages: dict[str, list[str]] = {}
    for name in sorted(largest, key=lambda name: -largest[name]):
        if name.startswith(SHARE_OF):
            languages.setdefault(name.rpartition(" ")[0], []).append(name)
    others = [name for name in largest if not name.startswith(SHARE_OF)]
    return others + [name for names in languages.values() for name in names[:TOP_LANGUAGES]]


def _trend(title: str, values: Sequence[float | None], show: Show) -> Iterator[Trend]:
    points = [(number, value) for number, value in enumerate(values, start=1) if value is not None]
    if points:
        yield Trend(title, points, show)


def _count(value: float) -> str:
    return f"{value:,.0f}"
