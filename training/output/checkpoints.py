"""The names of a run's checkpoints, which of them are old, and the pointer to the newest complete one.

A name is `step-00000100`, or `step-00000100-2` for a second checkpoint of this step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from curation.io.local_files import sync_path

CHECKPOINTS = "checkpoints"
LATEST = "latest"
PREFIX = "step-"


def unused_name(step: int, taken: Collection[str]) -> str:
    """Return a name for a checkpoint of a step, with a number if a resumed or killed run has already saved the step."""
    first = f"{PREFIX}{step:08d}"
    return next(name for name in (first, *(f"{first}-{n}" for n in range(2, 1000))) if name not in taken)


def old_names(names: Iterable[str], newest: str, keep: int) -> list[str]:
    """Return the names of all but the `keep` newest checkpoints, in the order in which they should be removed.

    First are those that the run has left by resuming before their step. `newest` is never one of them.
    """
    now = _step_and_number(newest)

    def age(name: str) -> tuple[bool, tuple[int, int]]:
        return _step_and_number(name) <= now, _step_and_number(name)

    old = sorted((name for name in names if name != newest), key=age)
    return old[: max(0, len(old) + 1 - keep)]


def _step_and_number(name: str) -> tuple[int, int]:
    step, *number = name.removeprefix(PREFIX).split("-")
    return int(step), int(number[0]) if number else 1


def write_latest(folder: Path, name: str) -> None:
    """Set the pointer in the folder of all checkpoints to one of them."""
    temporary = folder / f".{LATEST}"
    temporary.write_text(name, encoding="utf-8")
    sync_path(temporary)
    temporary.replace(folder / LATEST)
    sync_path(folder)
