"""Parses robots directives as they appear in `X-Robots-Tag` headers and in robots metas of pages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

Directive = Literal["noai", "noimageai", "noindex", "noimageindex"]

DIRECTIVES: Final = ("noai", "noimageai", "noindex", "noimageindex")
DEFAULT: Final = ("noai", "noimageai")
# Directives that contain a colon; text before any other colon is the name of a robot.
_VALUED: Final = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})


@lru_cache(maxsize=256)  # few distinct values occur
def directives_in(value: str, robot: str = "*") -> frozenset[str]:
    """Return the `DIRECTIVES` of a comma-separated list that are for every robot, or for the robot of that name."""
    return frozenset(_parse(value, robot.lower())).intersection(DIRECTIVES)


def _parse(value: str, name: str) -> Iterator[str]:
    """Yield the directives for every robot, or for one, in a comma-separated list."""
    robot = "*"
    for part in value.lower().split(","):
        directive = part.strip()
        before, colon, after = directive.partition(":")
        if colon and before.strip() not in _VALUED:
            robot, directive = before.strip(), after.strip()
        if robot in ("*", name):
            yield "noindex" if directive == "none" else directive
