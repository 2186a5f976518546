"""The data of a run's page, read from the files of its output folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import curation
from curation.io.local_files import LocalFiles
from training.evaluation.examples import Example
from training.report.metrics_file import read_lines

EXAMPLES_FILE = "examples.json"

Examples = Mapping[str, Sequence[Example]]
EXAMPLES = TypeAdapter(dict[str, list[Example]])


@dataclass(frozen=True)
class SetResults:
    """The results of one task of an evaluation set.

    Attributes:
        name: of the set.
        task: zero_shot, linear_probe, retrieval, video_retrieval or video_retrieval_dual_softmax.
        by_language: the results of each language, by ascending step; `` without languages.
    """

    name: str
    task: str
    by_language: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def last_step(self) -> int:
        """The step of the newest result."""
        return max(int(line["step"]) for lines in self.by_language.values() for line in lines)


@dataclass(frozen=True)
class RunReport:
    """The data of the page.

    Attributes:
        output: the output folder.
        written: when the page was written.
        code_version: of the program that wrote the page; that of the run is in the state.
        state: the content of the newest checkpoint's `training.json`; empty without one.
        metrics: the lines of metrics, by ascending step.
        results: the results of the evaluation sets.
        examples: examples of retrieval by set, of the newest evaluation.
    """

    output: str
    written: datetime
    code_version: str
    state: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    results: Sequence[SetResults]
    examples: Examples

    def series(self, metric: str) -> list[tuple[float, float]]:
        """Return the (step, value) points of a metric."""
        return [(line["step"], line[metric]) for line in self.metrics if line.get(metric) is not None]

    def last(self, metric: str) -> float | None:
        """Return the newest value of a metric."""
        points = self.series(metric)
        return points[-1][1] if points else None


def read_run(output: Path, state: Mapping[str, Any]) -> RunReport:
    """Read the files of a run. Files that do not exist yet are left out."""
    metrics: list[Mapping[str, Any]] = []
    results: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for _, line in read_lines(output):
        if "evaluation" in line:
            task = results.setdefault((line["evaluation"], line["task"]), {})
            task.setdefault(line.get("language", ""), []).append(line)
        else:
            metrics.append(line)
    return RunReport(
        output=str(output),
        written=datetime.now(UTC),
        code_version=curation.__version__,
        state=state,
        metrics=metrics,
        results=[SetResults(name, task, languages) for (name, task), languages in results.items()],
        examples=_read_examples(output / EXAMPLES_FILE),
    )


def write_examples(output: Path, examples: Examples) -> None:
    """Replace the examples of retrieval of a run."""
    content = {name: [example.model_dump() for example in rows] for name, rows in examples.items()}
    LocalFiles().write_bytes(str(output / EXAMPLES_FILE), json.dumps(content, ensure_ascii=False).encode())


def _read_examples(path: Path) -> Examples:
    try:
        return EXAMPLES.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
