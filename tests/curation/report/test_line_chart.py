"""Line charts show every line within the frame, on round ticks, with few points."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.line_chart import HEIGHT, MAX_POINTS, WIDTH, axis_ticks, line_chart, thin_out

VALUES = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(VALUES, VALUES)
def test_ticks_are_round_equally_spaced_and_cover_the_values(one, other):
    low, high = sorted((one, other))
    ticks = axis_ticks(low, high)
    tolerance = 1e-6 * max(abs(low), abs(high), 1e-6)
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= high - tolerance
    assert 3 <= len(ticks) <= 7
    step = ticks[1] - ticks[0]
    assert all(after - before == pytest.approx(step) for before, after in pairwise(ticks))
    assert float(f"{step:.0e}") == pytest.approx(step, rel=1e-6) or f"{step:.1e}".startswith("2.5")


def test_an_axis_starts_at_zero_unless_the_values_are_far_from_it():
    assert axis_ticks(2.0, 5.5) == [0, 2, 4, 6]
    assert axis_ticks(0.0, 0.0) == [0, 0.25, 0.5, 0.75, 1]
    assert axis_ticks(14.1, 14.9)[0] == 14
    assert axis_ticks(7.0, 7.0)[-1] >= 7


@given(st.lists(VALUES, min_size=1, max_size=1000))
def test_long_curves_become_means_of_neighbors_and_keep_their_ends(values):
    points = [(step * 10, value) for step, value in enumerate(values)]
    drawn = thin_out(points)
    assert len(drawn) == min(len(points), MAX_POINTS)
    assert (drawn[0], drawn[-1]) == (points[0], points[-1])
    assert [x for x, _ in drawn] == sorted({x for x, _ in drawn})
    if len(points) > MAX_POINTS:
        steps = [x for x, _ in drawn]
        for (before, _), (x, mean) in pairwise(drawn[1:-1]):
            inside = [value for step, value in points if before < step <= x]
            assert mean == pytest.approx(sum(inside) / len(inside), rel=1e-6, abs=1e-3)
        assert set(steps) <= {x for x, _ in points}


@given(st.lists(st.lists(st.tuples(st.integers(0, 10**6), VALUES), max_size=30).map(sorted), max_size=3))
def test_lines_stay_inside_the_frame(lines):
    drawing = str(line_chart(lines, "a <label>", lambda value: f"{value:g}"))
    for points in re.findall(r'points="([^"]*)"', drawing):
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert drawing.count("polyline") == sum(len(thin_out(points)) != 1 for points in lines)
    assert 'aria-label="a &lt;label&gt;"' in drawing
