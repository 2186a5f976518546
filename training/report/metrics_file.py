"""`metrics.jsonl`: one object per line with `step`, `epoch` and metrics; or the result of an evaluation set.

The latter has the key `evaluation`, the name of the set, and the keys of a result of `training.evaluate`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"


def read_lines(output: Path, last_step: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the complete lines of a run's metrics, as text and parsed, up to a step; nothing without the file."""
    path = output / METRICS_FILE
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            values = json.loads(line)
        except ValueError:  # a killed run may leave half a line
            continue
        if last_step is None or values["step"] <= last_step:
            yield line, values
