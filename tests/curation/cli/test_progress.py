"""Progress is described with a rate and the time that is left, in readable numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.cli.progress import describe_duration, describe_progress, describe_rate

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "text"),
    [
        (0, 120, 60, "0 of 120 tasks done"),
        (30, 120, 720, "30 of 120 tasks done, 2.5 per minute, about 36 min left"),
        (1000, 5000, 10, "1000 of 5000 tasks done, 100 per second, about 40 s left"),
        (1, 100, 7200, "1 of 100 tasks done, 0.5 per hour, about 8 d 6 h left"),
        (5, 5, 10, "5 of 5 tasks done, 30.0 per minute"),
    ],
)
def test_progress_is_one_phrase(done, total, elapsed, text):
    assert describe_progress(done, total, elapsed) == text


@given(st.floats(0, 1e8))
def test_a_duration_is_close_to_the_seconds_it_describes(seconds):
    text = describe_duration(seconds)
    assert re.fullmatch(r"\d+ s|\d+ min|\d+ h( \d+ min)?|\d+ d( \d+ h)?", text)
    described = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (\w+)", text))
    assert abs(described - seconds) <= max(1, 0.05 * seconds)


@given(st.floats(1e-6, 1e6))
def test_a_rate_is_close_to_the_one_it_describes(per_second):
    number, unit = re.fullmatch(r"([\d,.]+) per (second|minute|hour)", describe_rate(per_second)).groups()
    described = float(number.replace(",", "")) / {"second": 1, "minute": 60, "hour": 3600}[unit]
    assert described == pytest.approx(per_second, rel=0.06, abs=0.05 / 3600)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0, 1e7))
def test_any_progress_can_be_described(done, total, elapsed):
    text = describe_progress(min(done, total), total, elapsed)
    assert ("left" in text) == (0 < done < total and elapsed > 0)
