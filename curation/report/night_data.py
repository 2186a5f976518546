"""The data of the report of one batch under one recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.report.contact_sheet import SheetPicture
from curation.report.duplicate_pairs import DuplicatePair

ORDER = ("ingest", "match", "totals", "balance", "images", "duplicates", "shards")
OPTIONAL_STAGES = {"duplicates"}  # those that run only if the config asks for them
STAGES = tuple(stage for stage in ORDER if stage not in OPTIONAL_STAGES)
MAX_POINTS = 200


@dataclass(frozen=True)
class StageRun:
    """The run that published the output of a stage: a row of the table `runs` with parsed JSON columns."""

    run_id: str
    started: datetime
    finished: datetime
    code_version: str
    complete: bool = True
    inputs: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, Any] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StageRun:
        """Parse a row of the table `runs`."""
        plain = {key: row[key] for key in ("run_id", "started", "finished", "code_version", "complete")}
        parsed = {key: json.loads(row[key]) for key in ("inputs", "totals", "drops", "seconds")}
        return cls(**plain, **parsed)


@dataclass(frozen=True)
class TopEntry:
    """One of a language's most frequent entries: its text, its count and its probability t / max(count, t)."""

    entry: str
    count: int
    probability: float


@dataclass(frozen=True)
class SamplePair:
    """An image–text pair of the batch, and whether balancing curated it: its text, language and keep probability.

    `probability` is None for a pair that was not curated.
    """

    image: str
    text: str
    lang: str
    probability: float | None = None


@dataclass(frozen=True)
class LanguageCounts:
    """A summary of the counts of one language.

    `points` are at most `MAX_POINTS` pairs (rank, count). `above` is the number of entries with a count above t, which
    balancing samples, and `matches_above` the number of their matches; `matches_below` are those of entries with a
    count below t, the tail.
    """

    lang: str
    t: int
    entries: int
    matches: int
    above: int
    matches_above: int
    matches_below: int
    points: Sequence[tuple[int, int]]
    top: Sequence[TopEntry] = ()


@dataclass(frozen=True)
class Report:
    """The data of the page.

    `recipe_spec` is the frozen configuration of the recipe, `runs` has the run of every stage that has run, and
    `thresholds` the rows of that table. `languages` are the languages that have matches, those with the most first, and
    `names` the names of languages. `samples` are matched pairs. `pictures` are the contact sheet, chosen from the first
    `sheet_rows` rows of the shards. `pairs` are examples of duplicates.
    """

    batch: str
    recipe: str
    written: datetime
    code_version: str
    match_id: str = ""
    metadata_version: str = ""
    recipe_spec: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, StageRun] = field(default_factory=dict)
    thresholds: Sequence[Mapping[str, Any]] = ()
    languages: Sequence[LanguageCounts] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[SamplePair] = ()
    sheet_rows: int = 0
    pictures: Sequence[SheetPicture] = ()
    pairs: Sequence[DuplicatePair] = ()

    @property
    def stages(self) -> list[str]:
        """The stages of a night, optional ones only if they have run."""
        return [stage for stage in ORDER if stage in STAGES or stage in self.runs]

    def figure(self, stage: str, key: str) -> Any:
        """Return a value of a stage's totals; None if the stage has not run or its totals lack the key."""
        return self.runs[stage].totals.get(key) if stage in self.runs else None


def summarize(lang: str, counts: npt.NDArray[np.int64], t: int, top: Sequence[TopEntry] = ()) -> LanguageCounts:
    """Summarize the counts of one language; each is at least 1, and their order does not matter."""
    descending = np.sort(counts)[::-1]
    last = len(descending)
    ranks = np.unique(np.rint(np.geomspace(1, last, MAX_POINTS)).astype(np.int64)) if last else np.empty(0, np.int64)
    above = int(np.count_nonzero(descending > t))
    return LanguageCounts(
        lang=lang,
        t=t,
        entries=last,
        matches=int(descending.sum()),
        above=above,
        matches_above=int(descending[:above].sum()),
        matches_below=int(descending[descending < t].sum()),
        points=list(zip(ranks.tolist(), descending[ranks - 1].tolist(), strict=True)),
        top=top,
    )
