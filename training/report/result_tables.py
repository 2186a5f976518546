"""The results of evaluation sets as tables and charts for the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from curation.report import charts
from curation.report.line_chart import line_chart
from training.evaluation.results_table import HEADINGS, PLAIN, TITLES, main_figures
from training.report.run_data import SetResults


def share(value: float) -> str:
    """Format a share in percent with three digits, without zeros at their end."""
    return f"{100 * value:.3g}%"


class ResultTable(NamedTuple):
    """A table of one task of a set: the figures of every language at the last step, with a trend.

    Attributes:
        name: of the set.
        task: of the set.
        step: of the results.
        keys: the figures.
        rows: for each language its figures as numbers and as text, and the trend.
        means: the text of the mean of each figure; empty for one language.
        chart: the mean of the main figures over the steps, and the names of its lines with the last values.
    """

    name: str
    task: str
    step: int
    keys: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[Any, str]], Markup]]
    means: Sequence[str]
    chart: Markup
    lines: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, results: SetResults) -> ResultTable:
        """Return the table of some results."""
        step = results.last_step
        newest = {language: lines[-1] for language, lines in results.by_language.items() if lines[-1]["step"] == step}
        first = next(iter(newest.values()))
        keys = [key for key in HEADINGS if key in first and key != "language"]
        main = main_figures(first)
        rows = []
        for language, line in newest.items():
            history = [[past[key] for key in main] for past in results.by_language[language]]
            trend = charts.trend([sum(values) / len(values) for values in history], f"trend of {language}")
            rows.append((language, [(line[key], _show(key, line[key])) for key in keys], trend))
        means = [_mean(key, [line[key] for line in newest.values()]) for key in keys] if len(newest) > 1 else []
        series = {key: _mean_series(results, key) for key in main}
        chart = line_chart(list(series.values()), f"{results.name}: {TITLES[results.task]}", share)
        lines = [(HEADINGS[key], share(points[-1][1])) for key, points in series.items()]
        return cls(results.name, results.task, step, keys, rows, means, chart, lines)


def _mean_series(results: SetResults, key: str) -> list[tuple[float, float]]:
    by_step: dict[int, list[float]] = {}
    for lines in results.by_language.values():
        for line in lines:
            by_step.setdefault(line["step"], []).append(line[key])
    return [(step, sum(values) / len(values)) for step, values in sorted(by_step.items())]


def _show(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if key in PLAIN else charts.percent(value)
    return charts.number(value)


def _mean(key: str, values: Sequence[Any]) -> str:
    """Return the mean of figures; nothing for counts."""
    return _show(key, sum(values) / len(values)) if all(isinstance(value, float) for value in values) else ""
