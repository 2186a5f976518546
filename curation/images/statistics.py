"""Statistics of the images of a run, in bounded memory: sizes, scores of filters, and failures by host.

Every task counts its own images; the driver adds them up. Histograms have fixed bins. A task has thousands of images of
any hosts, and hands over the `HOSTS_PER_TASK` with the most failures: the counts of a host are exact if it is always
among them, and too small otherwise. The others are counted together, so that the sum is exact.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from curation.urls import host

SIDE_EDGES: Final = (32, 64, 96, 128, 160, 192, 224, 256, 384, 512, 768, 1024)  # pixels of the shorter side
ASPECT_EDGES: Final = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.05, 1.25, 1.43, 1.67, 2.0, 2.5, 4.0)  # width / height
SCORE_BINS: Final = 20
HOSTS_PER_TASK: Final = 20
HOSTS: Final = 30  # of a run
MERGED_HOSTS: Final = 5000  # of a run that is not complete yet
OTHER_HOSTS: Final = ""

# second-level names under which countries register domains: example.co.uk, example.com.br
SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "ne", "net", "or", "org"})
ADDRESS: Final = re.compile(r"[\d.]+|\[.*")


class ImageStatistics(msgspec.Struct):
    """Counts of the images of a task or a run.

    Attributes:
        sides: stored images by their shorter side: below the first of `SIDE_EDGES`, between two, from the last one on.
        aspects: stored images by width / height, in the same way between `ASPECT_EDGES`.
        scores: for each filter, images by score, in `SCORE_BINS` equal parts of its range.
        failures: failures with a URL by the suffix of its host and by reason; those of other hosts under `OTHER_HOSTS`.
    """

    sides: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SIDE_EDGES) + 1))
    aspects: list[int] = msgspec.field(default_factory=lambda: [0] * (len(ASPECT_EDGES) + 1))
    scores: dict[str, list[int]] = {}
    failures: dict[str, dict[str, int]] = {}

    def count(self, row: Mapping[str, Any], image_url: str | None, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Count a row of `images`; `ranges` are the score ranges of the filters, by name."""
        if row["status"] == "ok":
            width, height = row["width"], row["height"]
            self.sides[bisect_right(SIDE_EDGES, min(width, height))] += 1
            self.aspects[bisect_right(ASPECT_EDGES, width / height)] += 1
        elif image_url:
            reasons = self.failures.setdefault(host_suffix(host(image_url)), {})
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
        for name, score in dict(row.get("scores") or ()).items():
            if name in ranges:
                low, high = ranges[name]
                part = math.floor((score - low) / (high - low) * SCORE_BINS)
                self.scores.setdefault(name, [0] * SCORE_BINS)[min(max(part, 0), SCORE_BINS - 1)] += 1

    def add(self, other: ImageStatistics) -> None:
        """Add the counts of other images."""
        self.sides, self.aspects = _sum(self.sides, other.sides), _sum(self.aspects, other.aspects)
        for name, counts in other.scores.items():
            self.scores[name] = _sum(self.scores.get(name, [0] * SCORE_BINS), counts)
        for suffix, reasons in other.failures.items():
            mine = self.failures.setdefault(suffix, {})
            for reason, count in reasons.items():
                mine[reason] = mine.get(reason, 0) + count

    def keep_hosts(self, number: int) -> None:
        """Keep the hosts with the most failures, and count those of the rest together."""
        listed = (suffix for suffix in self.failures if suffix != OTHER_HOSTS)
        ranked = sorted(listed, key=lambda suffix: (-sum(self.failures[suffix].values()), suffix))
        others = Counter(self.failures.get(OTHER_HOSTS, {}))
        for suffix in ranked[number:]:
            others.update(self.failures[suffix])
        self.failures = {suffix: self.failures[suffix] for suffix in ranked[:number]}
        if others:
            self.failures[OTHER_HOSTS] = dict(others)

    def totals(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        """Return the statistics as they are recorded in a run: histograms with their edges, hosts with the most first.

        A part without images is left out.
        """
        edges = {"shorter_side": (SIDE_EDGES, self.sides), "aspect": (ASPECT_EDGES, self.aspects)}
        named = {name: {"edges": list(at), "counts": counts} for name, (at, counts) in edges.items() if any(counts)}
        scores = {
            name: {"range": list(ranges[name]), "counts": counts} for name, counts in self.scores.items() if any(counts)
        }
        parts = {"stored": named, "scores": scores, "failures_by_host": self.failures}
        return {name: part for name, part in parts.items() if part}


def merged(parts: Iterable[ImageStatistics]) -> ImageStatistics:
    """Return the statistics of a run from those of its tasks."""
    whole = ImageStatistics()
    for part in parts:
        whole.add(part)
        if len(whole.failures) > MERGED_HOSTS:
            whole.keep_hosts(MERGED_HOSTS // 2)
    whole.keep_hosts(HOSTS)
    return whole


def host_suffix(name: str) -> str:
    """Return the part of a host that its owner registered, as a guess: two labels, or three below co.uk and the like.

    Addresses are returned as they are.
    """
    labels = name.split(".")
    if ADDRESS.fullmatch(name) or len(labels) <= 2:
        return name
    below_country = len(labels[-1]) == 2 and labels[-2] in SECOND_LEVEL
    return ".".join(labels[-3 if below_country else -2 :])


def _sum(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(first, second, strict=True)]
