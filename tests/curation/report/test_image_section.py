"""The page has the histograms of a run of images and its failures by host, with every value escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images.statistics import ASPECT_EDGES, SIDE_EDGES, ImageStatistics
from curation.report import charts
from curation.report.image_section import STORED, failures_by_host, histograms
from curation.report.night_data import Report, StageRun
from curation.report.night_page import render
from support.pages import TOTALS, tables

NIGHT = datetime(2024, 6, 1, 3, 14, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>.com"


def report_with(**fields) -> Report:
    """Return a report whose only run is of images, with these fields."""
    run = StageRun("run-images", NIGHT, NIGHT, "1.0", **fields)
    return Report("b1", "default", NIGHT, "1.0", runs={"images": run})


def report_of(statistics: ImageStatistics, ranges=None, drops=None) -> Report:
    return report_with(totals=TOTALS["images"] | statistics.totals(ranges or {}), drops=drops or {"timeout": 20})


def bars(chart):
    return lxml.html.fromstring(str(chart)).xpath("//rect")


counts = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)


@given(counts)
def test_bars_have_heights_in_proportion_and_name_their_bins(values):
    bins = [f"bin {n}" for n in range(len(values))]
    drawn = bars(charts.histogram(values, bins, [(0, "low"), (len(values), "high")], "label"))
    assert [bar.text_content() for bar in drawn] == [f"bin {n}: {value:,}" for n, value in enumerate(values)]
    heights = [float(bar.get("height")) for bar in drawn]
    tallest = charts.HISTOGRAM_HEIGHT - 22
    for value, height in zip(values, heights, strict=True):
        expected = max(value / (max(values) or 1) * tallest, 1) if value else 0
        assert height == pytest.approx(expected, abs=0.06)
    edges = [(float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))) for bar in drawn]
    assert all(first[1] < second[0] for first, second in pairwise(edges))
    assert edges[0][0] >= 0
    assert edges[-1][1] <= charts.WIDTH


def test_the_labeled_edges_are_edges_of_the_histograms():
    edges = {"shorter_side": SIDE_EDGES, "aspect": ASPECT_EDGES}
    assert {name: set(labeled) - set(edges[name]) for name, (_, labeled) in STORED.items()} == {
        "shorter_side": set(),
        "aspect": set(),
    }


def test_each_histogram_has_the_counts_of_the_run():
    statistics = ImageStatistics()
    for width, height, score in ((20, 40, -0.85), (300, 200, 0.25), (300, 200, 5.0)):
        row = {"status": "ok", "width": width, "height": height, "scores": [("fit", score)]}
        statistics.count(row, None, {"fit": (-1.0, 1.0)})
    report = report_of(statistics, {"fit": (-1.0, 1.0)}, {"fit": 1, "fit_of_text": 1, "fitness": 7})
    drawn = {part["heading"]: part for part in histograms(report)}
    assert list(drawn) == ["Shorter side in pixels", "Width divided by height", "Filter fit"]
    named = {heading: [bar.text_content() for bar in bars(part["chart"])] for heading, part in drawn.items()}
    filled = {heading: [name for name in names if not name.endswith(": 0")] for heading, names in named.items()}
    assert filled == {
        "Shorter side in pixels": ["below 32: 1", "192 to 224: 2"],
        "Width divided by height": ["0.5 to 0.6: 1", "1.43 to 1.67: 2"],
        "Filter fit": ["-0.9 to -0.8: 1", "0.2 to 0.3: 1", "0.9 to 1: 1"],
    }
    assert drawn["Filter fit"]["note"] == "3 images scored, 2 dropped"
    page = render(report)
    assert page.count('<svg class="histogram"') == 3


def test_failures_are_listed_by_host_with_the_most_frequent_reasons():
    statistics = ImageStatistics(
        failures={
            "b.com": {"timeout": 2, "dns": 1},
            "": {"http_404": 900},
            HOSTILE: {f"http_40{n}": n for n in range(1, 8)},
        }
    )
    report = report_of(statistics)
    assert [row["host"] for row in failures_by_host(report)] == [HOSTILE, "b.com", ""]
    page = render(report)
    (rows,) = tables(page, "Images")
    assert rows == [
        [HOSTILE, "28", "http 407 7http 406 6http 405 5http 404 4other reasons 6"],
        ["b.com", "3", "timeout 2dns 1"],
        ["all other hosts", "900", "http 404 900"],
    ]
    assert HOSTILE not in page


def test_a_run_of_an_earlier_release_has_no_section_about_images():
    assert "<h2>Images</h2>" not in render(report_with(totals=TOTALS["images"]))
    assert "<h2>Images</h2>" in render(report_with(totals=TOTALS["images"] | {"failures_by_host": {"": {"dns": 1}}}))
