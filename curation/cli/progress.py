"""Describes the progress of long work: how much is done, how fast, and how long the rest takes."""

from __future__ import annotations

MINUTE, HOUR = 60, 3600


def describe_progress(done: int, total: int, elapsed: float, unit: str = "tasks") -> str:
    """Return, for example, `30 of 120 tasks done, 2.5 per minute, about 36 min left`.

    The rate is that since the start; before the first unit is done there is none.
    """
    text = f"{done} of {total} {unit} done"
    if done <= 0 or elapsed <= 0:
        return text
    rate = f"{text}, {describe_rate(done / elapsed)}"
    return rate if done >= total else f"{rate}, about {describe_duration(elapsed / done * (total - done))} left"


def describe_rate(per_second: float) -> str:
    """Return a rate per second, or per minute or hour if that is a number of readable size."""
    for seconds, name in ((1, "second"), (MINUTE, "minute"), (HOUR, "hour")):
        if per_second * seconds >= 1 or name == "hour":
            return f"{_short(per_second * seconds)} per {name}"
    raise AssertionError("the loop ends with hours")


def describe_duration(seconds: float) -> str:
    """Return a duration rounded to two units: `45 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    whole = round(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    minutes = round(whole / MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
