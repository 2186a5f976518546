"""Render the page of a training run as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from curation.io.local_files import LocalFiles
from curation.report import charts
from curation.report.html import environment
from curation.report.line_chart import line_chart
from training.evaluation.results_table import HEADINGS, TITLES
from training.report.result_tables import ResultTable, share
from training.report.run_data import RunReport, read_run

PAGE_FILE = "run.html"
SEEN = "seen_share/"  # metrics: the share of each language among all pairs seen
GIB = 2.0**30
BUSY_WAIT = 0.05  # share of waiting for data above which the page warns

SHOWN_KEYS = (
    *("recipe", "batches", "draw", "preset", "image_size", "loss", "batch_size", "lr", "weight_decay", "precision"),
    *("seed", "num_workers"),
)


def plain(value: float) -> str:
    """Format a number with at most four digits, such as 7.5e-4, 0.125, 12.5 or 3,120; large numbers have all digits."""
    if value == 0 or abs(value) >= 0.01:
        return f"{float(f'{value:.4g}'):,g}" if abs(value) < 10_000 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


class Curve(NamedTuple):
    """A chart of one or several metrics.

    Attributes:
        title: of the chart.
        metrics: the metrics with the names of their lines.
        show: formats a value.
        unit: number by which the values are divided.
    """

    title: str
    metrics: Mapping[str, str]
    show: Callable[[float], str]
    unit: float = 1.0


CURVES = (
    Curve("Loss", {"loss": ""}, plain),
    Curve("Gradient norm", {"grad_norm": ""}, plain),
    Curve("Logit scale", {"logit_scale": ""}, plain),
    Curve("Learning rate", {"lr": ""}, plain),
    Curve("Pairs per second", {"pairs_per_second": ""}, plain),
    Curve(
        "Seconds per step", {"step_seconds_p50": "median", "step_seconds_p95": "95%", "step_seconds_max": "most"}, plain
    ),
    Curve("Share of waiting for data", {"data_wait_share": ""}, share),
    Curve("Peak memory of rank 0, GiB", {"peak_memory_bytes": ""}, plain, GIB),
    Curve(
        "Recall@1 on held-out pairs",
        {"image_to_text_recall": "image to text", "text_to_image_recall": "text to image"},
        share,
    ),
)


def write_page(output: Path, state: Mapping[str, Any]) -> Path:
    """Write the page of a run from the files in its output folder, and return its path.

    Args:
        output: the output folder.
        state: the content of a checkpoint's `training.json`; empty without one.
    """
    path = output / PAGE_FILE
    LocalFiles().write_bytes(str(path), render(read_run(output, state)).encode())
    return path


def render(report: RunReport) -> str:
    """Return the HTML of the page."""
    template = environment("training.report").get_template("run_page.html")
    config = report.state.get("config", {})
    return template.render(
        report=report,
        config=config,
        shown={key: _short(config[key]) for key in SHOWN_KEYS if config.get(key) is not None},
        steps=total_steps(config),
        warnings=list(warnings(report)),
        tiles=list(tiles(report)),
        curves=list(curves(report)),
        languages=list(languages(report)),
        tables=[ResultTable.of(results) for results in report.results],
        headings=HEADINGS,
        titles=TITLES,
    )


def _short(value: Any) -> Any:
    """Return the name of a setting that has a kind, such as that of a loss; other settings are unchanged."""
    return value.get("kind", value) if isinstance(value, Mapping) else value


def total_steps(config: Mapping[str, Any]) -> int | None:
    """Return the number of steps that a configuration asks for, if it is known."""
    if config.get("steps") is not None:
        return int(config["steps"])
    return -(-config["seen_pairs"] // config["batch_size"]) if config.get("seen_pairs") else None


def warnings(report: RunReport) -> Iterator[str]:
    """Yield a warning for each figure that a person should look at."""
    waits = [value for _, value in report.series("data_wait_share")]
    if waits and (mean := sum(waits) / len(waits)) > BUSY_WAIT:
        yield f"Rank 0 waited for data {mean:.0%} of the time: raise num_workers, or give the processes more cores."
    if unreadable := report.last("held_out_unreadable"):
        yield f"{unreadable:g} held-out images cannot be read; they are left out of the recall."
    seen = {
        (line["evaluation"], line["step"])
        for part in report.results
        for row in part.by_language.values()
        for line in row
    }
    newest = max((step for _, step in seen), default=None)
    for name in sorted({name for name, _ in seen if (name, newest) not in seen}):
        yield f"The set {name} was not measured at the last evaluation: it was removed, or the log says why."


def tiles(report: RunReport) -> Iterator[tuple[str, str]]:
    """Yield label and text of the most important figures."""
    for label, metric, show in (
        ("loss", "loss", plain),
        ("pairs per second", "pairs_per_second", plain),
        ("waiting for data", "data_wait_share", share),
        ("median step", "step_seconds_p50", charts.seconds),
        ("peak memory, GiB", "peak_memory_bytes", lambda value: plain(value / GIB)),
    ):
        if (value := report.last(metric)) is not None:
            yield label, show(value)


def curves(report: RunReport) -> Iterator[tuple[str, list[tuple[str, str]], Markup]]:
    """Yield for each chart its title, the lines with their last values, and the drawing."""
    for curve in CURVES:
        series = {name: report.series(metric) for metric, name in curve.metrics.items()}
        lines = {name: [(step, y / curve.unit) for step, y in points] for name, points in series.items() if points}
        if lines:
            last = [(name, curve.show(points[-1][1])) for name, points in lines.items()]
            yield curve.title, last, line_chart(list(lines.values()), curve.title, curve.show)


def languages(report: RunReport) -> Iterator[tuple[str, Markup, int | None, float, Markup]]:
    """Yield for each language a bar, the number of pairs seen, their share, and the trend of the share."""
    lines = [line for line in report.metrics if any(key.startswith(SEEN) for key in line)]
    newest = {key: value for key, value in lines[-1].items() if key.startswith(SEEN)} if lines else {}
    most = max(newest.values(), default=1.0) or 1.0
    counts = report.state.get("seen_pairs_by_language", {})
    for key, value in sorted(newest.items(), key=lambda item: -item[1]):
        language = key.removeprefix(SEEN)
        bar = charts.share_bars([("after", value / most)])
        trend = charts.trend([line.get(key) for line in lines], f"trend of {language}")
        yield language, bar, counts.get(language), value, trend
