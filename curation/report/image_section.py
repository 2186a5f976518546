"""The section of the page about a batch's images: histograms of sizes and scores, and failures by host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from curation.report import charts
from curation.report.night_data import Report

# Histograms of stored images: heading and labeled edges.
STORED: Final = {
    "shorter_side": ("Shorter side in pixels", (32, 64, 128, 256, 512, 1024)),
    "aspect": ("Width divided by height", (0.25, 0.5, 0.8, 1.25, 2, 4)),
}
REASONS: Final = 4  # per host; the others are counted together


def histograms(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the histograms: of stored images, and of the scores of filters in their order by name."""
    stored = report.figure("images", "stored") or {}
    for name, (heading, labeled) in STORED.items():
        if name in stored:
            edges, counts = stored[name]["edges"], stored[name]["counts"]
            ticks = [(edges.index(edge) + 1, f"{edge:g}") for edge in labeled if edge in edges]
            note = f"{charts.number(sum(counts))} stored images"
            yield _histogram(heading, note, counts, _open_bins(edges), ticks)
    for name, scores in sorted((report.figure("images", "scores") or {}).items()):
        (low, high), counts = scores["range"], scores["counts"]
        bounds = [low + (high - low) * part / len(counts) for part in range(len(counts) + 1)]
        ticks = [(part, f"{bounds[part]:.3g}") for part in range(0, len(counts) + 1, max(1, len(counts) // 4))]
        bins = [f"{first:.3g} to {last:.3g}" for first, last in pairwise(bounds)]
        dropped = sum(n for reason, n in report.runs["images"].drops.items() if f"{reason}_".startswith(f"{name}_"))
        note = f"{charts.number(sum(counts))} images scored, {charts.number(dropped)} dropped"
        yield _histogram(f"Filter {name}", note, counts, bins, ticks)


def failures_by_host(report: Report) -> list[dict[str, Any]]:
    """Return a row per host, those with the most failures first, and the other hosts last, without a name."""
    by_host: Mapping[str, Mapping[str, int]] = report.figure("images", "failures_by_host") or {}
    rows = [
        {"host": host, "failures": sum(reasons.values()), "reasons": _most(reasons)}
        for host, reasons in by_host.items()
    ]
    return sorted(rows, key=lambda row: (row["host"] == "", -row["failures"], row["host"]))


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[REASONS:])
    return [*ranked[:REASONS], *([("other reasons", rest)] if rest else [])]


def _open_bins(edges: Sequence[float]) -> list[str]:
    """Return the names of the bins between edges, of which the first and the last have no end."""
    between = [f"{first:g} to {last:g}" for first, last in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]


def _histogram(
    heading: str, note: str, counts: Sequence[int], bins: Sequence[str], ticks: Sequence[tuple[int, str]]
) -> dict[str, Any]:
    return {"heading": heading, "note": note, "chart": charts.histogram(counts, bins, ticks, heading)}
