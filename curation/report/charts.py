"""Format figures for the report: numbers as text, and small inline SVG charts.

The charts have no colors and fonts. The page styles their classes, so that they also work in dark mode and print. Bars
are drawn in percent of the width of their container.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

BAR, GAP = 9, 2
SMALLEST = 0.003  # so that a share above 0 stays visible

WIDTH, HEIGHT = 320, 210
HISTOGRAM_HEIGHT = 120
LEFT, RIGHT, TOP, BOTTOM = 40, 312, 22, 180


def share_bars(bars: Sequence[tuple[str, float | None]]) -> Markup:
    """Draw horizontal bars, one per line: each has a CSS class and a share from 0 to 1; None leaves its line empty.

    The numbers must also be given as text, because the drawing is hidden from screen readers.
    """
    rects = Markup("").join(
        _rect(css, 0.0, max(share, SMALLEST), line * (BAR + GAP)) for line, (css, share) in enumerate(bars) if share
    )
    return _bar_svg(rects, len(bars) * (BAR + GAP) - GAP)


def stacked_bar(parts: Sequence[float]) -> Markup:
    """Draw one bar of parts, shares whose sum is at most 1, with alternating classes part0 and part1."""
    rects, start = [], 0.0
    for index, share in enumerate(parts):
        rects.append(_rect(f"part{index % 2}", start, share, 0))
        start += share
    return _bar_svg(Markup("").join(rects), BAR)


def rank_chart(
    points: Sequence[tuple[int, int]],
    *,
    t: int | None,
    above: int,
    last_rank: int,
    most: int,
    label: str,
) -> Markup:
    """Draw counts by rank on log axes, with the threshold t as a line and the area above it shaded.

    Args:
        points: (rank, count) pairs; ranks ascend from 1, counts descend and are at least 1.
        t: the threshold; if None or below 1, neither the line nor the shaded area is drawn.
        above: number of entries with a count above t.
        last_rank: end of the x axis, equal for charts to be compared.
        most: end of the y axis, at least t.
        label: description for screen readers.
    """

    def point(rank: float, count: float) -> str:
        x = LEFT + _log_share(rank, last_rank) * (RIGHT - LEFT)
        y = BOTTOM - _log_share(count, most) * (BOTTOM - TOP)
        return f"{x:.1f},{y:.1f}"

    drawn = [_grid(last_rank, most)]
    line = [point(rank, count) for rank, count in points]
    if t and t >= 1:
        head = [point(rank, count) for rank, count in points if rank <= above]
        if head:
            shade = " ".join([point(1, t), *head, point(above, t)])
            drawn.append(Markup('<polygon class="cut" points="{}"/>').format(shade))
        ends = [point(1, t), point(last_rank, t)]
        drawn.append(Markup('<polyline class="t" points="{}"/>').format(" ".join(ends)))
    if line:
        drawn.append(Markup('<polyline class="curve" points="{}"/>').format(" ".join(line)))
    return Markup('<svg class="rank" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, Markup("").join(drawn)
    )


def histogram(counts: Sequence[int], bins: Sequence[str], ticks: Sequence[tuple[int, str]], label: str) -> Markup:
    """Draw a bar for each bin, and lines with labels between bins.

    Args:
        counts: the height of each bar.
        bins: the range of each bin, which its tooltip shows with the count.
        ticks: (number of bins to the left, label) of the labeled lines.
        label: description for screen readers; the bins that have a count are added.
    """
    most, width, bottom = max(counts, default=0) or 1, WIDTH / len(counts), HISTOGRAM_HEIGHT - 18
    drawn = []
    for index, (count, name) in enumerate(zip(counts, bins, strict=True)):
        height = max(count / most * (bottom - 4), 1.0) if count else 0.0
        bar = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>')
        drawn.append(bar.format(index * width + 0.5, bottom - height, width - 1, height, f"{name}: {count:,}"))
    drawn.append(_grid_line(0, bottom, WIDTH, bottom))
    for position, text in ticks:
        x, anchor = position * width, {0: "start", len(counts): "end"}.get(position, "middle")
        drawn.append(_grid_line(x, bottom, x, bottom + 4))
        drawn.append(_label(x, HISTOGRAM_HEIGHT - 3, anchor, text))
    described = "; ".join(f"{name}: {count:,}" for count, name in zip(counts, bins, strict=True) if count)
    return Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HISTOGRAM_HEIGHT, f"{label}: {described}", Markup("").join(drawn)
    )


def trend(values: Sequence[float | None], label: str) -> Markup:
    """Draw values over time as a line that starts at 0 on the y axis, with a dot at the last one; None is left out."""
    drawn = [(index, value) for index, value in enumerate(values) if value is not None]
    most, last = max((value for _, value in drawn), default=0) or 1, max(len(values) - 1, 1)
    points = [f"{4 + 132 * index / last:.1f},{28 - 24 * value / most:.1f}" for index, value in drawn]
    dot = Markup('<circle cx="{}" cy="{}" r="3"/>').format(*points[-1].split(",")) if points else ""
    line = Markup('<polyline points="{}"/>').format(" ".join(points))
    return Markup('<svg class="trend" viewBox="0 0 140 32" role="img" aria-label="{}">{}{}</svg>').format(
        label, line, dot
    )


def number(value: int | None) -> str:
    """Format a count with thousands separators; a dash for None."""
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Format a share in percent, with two significant digits if it is small; a dash for None."""
    if value is None:
        return "–"
    if 0 < value < 0.00001:
        return "< 0.001%"
    return f"{100 * value:#.2g}%" if 0 < value < 0.01 else f"{100 * value:.1f}%"


def seconds(value: float) -> str:
    """Format a duration: 0.42 s, 12.3 s, 5 min 07 s, 2 h 05 min."""
    if round(value, 1) < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def tick_label(value: int) -> str:
    """Format a power of ten: 1, 10, 100, 1k … 1M … 1G."""
    for unit, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value // unit}{suffix}"
    return str(value)


def decades(end: int) -> list[int]:
    """Return the powers of ten from 1 to `end`."""
    return [10**power for power in range(len(str(max(end, 1))))]


def _grid(last_rank: int, most: int) -> Markup:
    lines = []
    for value in decades(last_rank):
        x = LEFT + _log_share(value, last_rank) * (RIGHT - LEFT)
        lines.append(_grid_line(x, TOP, x, BOTTOM))
        lines.append(_tick(x, BOTTOM + 13, "middle", value))
    for value in decades(most):
        y = BOTTOM - _log_share(value, most) * (BOTTOM - TOP)
        lines.append(_grid_line(LEFT, y, RIGHT, y))
        lines.append(_tick(LEFT - 5, y + 3.5, "end", value))
    name = Markup('<text class="axis" x="{}" y="{}" text-anchor="{}">{}</text>')
    lines.append(name.format(RIGHT, HEIGHT - 3, "end", "rank of the entry"))
    lines.append(name.format(2, TOP - 9, "start", "matches of the entry"))
    return Markup("").join(lines)


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    coordinates = (f"{value:.1f}" for value in (x1, y1, x2, y2))
    return Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*coordinates)


def _tick(x: float, y: float, anchor: str, value: int) -> Markup:
    return _label(x, y, anchor, tick_label(value))


def _label(x: float, y: float, anchor: str, text: str) -> Markup:
    label = Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>')
    return label.format(f"{x:.1f}", f"{y:.1f}", anchor, text)


def _log_share(value: float, end: int) -> float:
    """Return the position of a value on a log axis from 1 to `end`, at least one decade, as a share of its length."""
    return math.log(max(value, 1)) / math.log(max(end, 10))


def _rect(css: str, start: float, share: float, y: int) -> Markup:
    rect = Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>')
    return rect.format(css, f"{100 * start:.2f}", y, f"{100 * share:.2f}", BAR)


def _bar_svg(rects: Markup, height: int) -> Markup:
    return Markup('<svg class="bars" height="{}" aria-hidden="true">{}</svg>').format(height, rects)
