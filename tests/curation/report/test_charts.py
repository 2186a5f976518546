"""Charts are well-formed, drawn to scale, and stay within their frame for all values."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report import charts

SHARES = st.floats(0, 1)
COUNTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=60).map(lambda counts: sorted(counts, reverse=True))


def rects(svg: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter("rect")]


def percent_of(rect: dict[str, str], key: str) -> float:
    return float(rect[key].removesuffix("%"))


def points_of(svg: str, css: str) -> list[tuple[float, float]]:
    """Return the points of the line or polygon with a class; an empty list if it was not drawn."""
    drawn = [element.attrib["points"] for element in ET.fromstring(svg) if element.get("class") == css]
    assert len(drawn) <= 1
    return [tuple(map(float, point.split(","))) for points in drawn for point in points.split()]


def rank_chart(counts: list[int], t: int | None = None, **keys) -> str:
    above = sum(count > (t or 0) for count in counts) if t else 0
    points = list(enumerate(counts, 1))
    given = {"last_rank": len(counts), "most": max([*counts, t or 1]), "label": "counts"} | keys
    return charts.rank_chart(points, t=t, above=above, **given)


@given(st.lists(SHARES, min_size=1, max_size=5))
def test_the_length_of_a_bar_is_its_share(shares):
    drawn = rects(charts.share_bars([(f"c{n}", share) for n, share in enumerate(shares)]))
    by_class = {rect["class"]: rect for rect in drawn}
    for n, share in enumerate(shares):
        if share == 0:
            assert f"c{n}" not in by_class
        else:
            assert percent_of(by_class[f"c{n}"], "width") == pytest.approx(100 * max(share, charts.SMALLEST), abs=0.01)


def test_a_missing_share_leaves_its_line_empty():
    drawn = rects(charts.share_bars([("a", 0.5), ("b", None), ("c", 0.5)]))
    assert [rect["class"] for rect in drawn] == ["a", "c"]
    assert int(drawn[1]["y"]) == 2 * (charts.BAR + charts.GAP)


def test_parts_of_a_stacked_bar_are_adjacent():
    drawn = rects(charts.stacked_bar([0.5, 0.25, 0.125]))
    assert [percent_of(rect, "x") for rect in drawn] == [0, 50, 75]
    assert [percent_of(rect, "width") for rect in drawn] == [50, 25, 12.5]
    assert [rect["class"] for rect in drawn] == ["part0", "part1", "part0"]


@given(COUNTS, st.none() | st.integers(1, 10**10))
def test_every_element_stays_within_the_frame(counts, t):
    svg = rank_chart(counts, t)
    for css in ("curve", "t", "cut"):
        for x, y in points_of(svg, css):
            assert charts.LEFT <= x <= charts.RIGHT
            assert charts.TOP <= y <= charts.BOTTOM


def test_equal_factors_are_equal_distances():
    svg = rank_chart([1000, 100, 10, 1], most=1000, last_rank=1000)
    (_, top), (_, second), (_, third), (_, bottom) = points_of(svg, "curve")
    assert (top, bottom) == (charts.TOP, charts.BOTTOM)
    assert second - top == pytest.approx(third - second, abs=0.15)
    points = [(1, 5), (10, 5), (100, 5)]
    svg = charts.rank_chart(points, t=None, above=0, last_rank=100, most=5, label="")
    (first, _), (middle, _), (last, _) = points_of(svg, "curve")
    assert (first, last) == (charts.LEFT, charts.RIGHT)
    assert middle - first == pytest.approx(last - middle, abs=0.15)


@given(COUNTS, st.integers(1, 10**9))
def test_the_area_above_the_threshold_is_shaded(counts, t):
    svg = rank_chart(counts, t)
    line = points_of(svg, "t")
    assert len({y for _, y in line}) == 1
    head = [place for place, count in zip(points_of(svg, "curve"), counts, strict=True) if count > t]
    shade = points_of(svg, "cut")
    assert shade[1:-1] == head
    if head:
        assert shade[0][1] == shade[-1][1] == line[0][1]


def test_without_points_or_threshold_only_the_axes_are_drawn():
    svg = charts.rank_chart([], t=None, above=0, last_rank=0, most=0, label="nothing")
    assert points_of(svg, "curve") == points_of(svg, "t") == points_of(svg, "cut") == []


def test_labels_are_escaped():
    svg = rank_chart([3, 2, 1], label='"><script>alert(1)</script>')
    assert "<script" not in svg
    assert ET.fromstring(svg).get("aria-label") == '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("value", "written"),
    [(1, "1"), (100, "100"), (1000, "1k"), (100_000, "100k"), (10**6, "1M"), (10**9, "1G"), (10**10, "10G")],
)
def test_tick_labels_are_short(value, written):
    assert charts.tick_label(value) == written


@pytest.mark.parametrize(("end", "ticks"), [(0, [1]), (1, [1]), (9, [1]), (10, [1, 10]), (2500, [1, 10, 100, 1000])])
def test_ticks_end_at_the_last_power_of_ten(end, ticks):
    assert charts.decades(end) == ticks


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0.0%"),
        (1e-7, "< 0.001%"),
        (0.00001, "0.0010%"),
        (0.0006, "0.060%"),
        (0.0099, "0.99%"),
        (0.06, "6.0%"),
        (1, "100.0%"),
    ],
)
def test_small_shares_keep_significant_digits(value, written):
    assert charts.percent(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0.00 s"),
        (0.424, "0.42 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (307, "5 min 07 s"),
        (7530, "2 h 05 min"),
    ],
)
def test_durations_are_readable(value, written):
    assert charts.seconds(value) == written


def test_counts_have_thousands_separators():
    assert charts.number(1234567) == "1,234,567"
    assert charts.number(0) == "0"
    assert charts.number(None) == "–"


@given(st.lists(st.none() | st.integers(0, 10**12), max_size=40))
def test_a_trend_stays_in_its_frame_and_leaves_out_missing_values(values):
    [line] = [element for element in ET.fromstring(charts.trend(values, "trend")) if element.tag == "polyline"]
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert len(points) == sum(value is not None for value in values)
    assert all(0 <= x <= 140 and 0 <= y <= 32 for x, y in points)
