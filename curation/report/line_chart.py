"""Draw numbers over the steps of a run as small inline SVG line charts.

As in `charts`, the page styles the classes: those of the lines of a chart are line0, line1 and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from markupsafe import Markup

WIDTH, HEIGHT = 320, 176
LEFT, RIGHT, TOP, BOTTOM = 44, 310, 10, 152
MAX_POINTS = 160
FROM_ZERO = 0.5  # the y axis starts at 0 unless the smallest value is more than this share of the largest

Points = Sequence[tuple[float, float]]


def line_chart(lines: Sequence[Points], label: str, show: Callable[[float], str]) -> Markup:
    """Draw lines of (x, y) points, with x ascending; a line of more than `MAX_POINTS` points is drawn from means.

    Args:
        lines: the points of each line.
        label: description for screen readers.
        show: formats a value of the y axis.
    """
    drawn = [thin_out(points) for points in lines]
    xs = [x for points in drawn for x, _ in points] or [0]
    ys = [y for points in drawn for _, y in points] or [0]
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)
    ticks = axis_ticks(min(ys), max(ys))
    low_y, high_y = ticks[0], ticks[-1]

    def place_x(x: float) -> float:
        return LEFT + (x - low_x) / (high_x - low_x) * (RIGHT - LEFT)

    def place_y(y: float) -> float:
        return BOTTOM - (y - low_y) / (high_y - low_y) * (BOTTOM - TOP)

    parts = [_y_tick(place_y(value), show(value)) for value in ticks]
    parts.append(_x_tick(LEFT, "start", low_x))
    parts.append(_x_tick(RIGHT, "end", high_x))
    for number, points in enumerate(drawn):
        css, coordinates = f"line{number}", [f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points]
        if len(coordinates) == 1:
            dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>')
            parts.append(dot.format(css, *coordinates[0].split(",")))
        else:
            parts.append(Markup('<polyline class="line {}" points="{}"/>').format(css, " ".join(coordinates)))
    return Markup('<svg class="rank" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, Markup("").join(parts)
    )


def thin_out(points: Points) -> list[tuple[float, float]]:
    """Return at most `MAX_POINTS` points: the means of runs of neighboring points, each at the last x of its run.

    The first and the last point stay as they are.
    """
    if len(points) <= MAX_POINTS:
        return list(points)
    inner, count = points[1:-1], MAX_POINTS - 2
    cuts = [len(inner) * number // count for number in range(count + 1)]
    runs = [inner[start:end] for start, end in pairwise(cuts)]
    means = [(run[-1][0], sum(y for _, y in run) / len(run)) for run in runs]
    return [points[0], *means, points[-1]]


def axis_ticks(low: float, high: float) -> list[float]:
    """Return at least three round numbers in equal steps, from at most `low` to at least `high`.

    They start at 0 if `low` is not negative and well below `high`.
    """
    if 0 <= low <= FROM_ZERO * high:
        low = 0.0
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
        low, high = (0.0, high) if high > 0 else (low, low + 1)
    step = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(step))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= step * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 2) + 1)]


def _y_tick(y: float, text: str) -> Markup:
    line = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, f"{y:.1f}", RIGHT, f"{y:.1f}")
    name = Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
        LEFT - 5, f"{y + 3.5:.1f}", text
    )
    return line + name


def _x_tick(x: float, anchor: str, value: float) -> Markup:
    text = Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>')
    return text.format(f"{x:.1f}", BOTTOM + 15, anchor, f"{value:,.0f}")
