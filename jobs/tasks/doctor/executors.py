"""Compares the executors with the driver: versions, the language-ID model, the cache folder and the lake."""

from __future__ import annotations

import platform
import socket
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from curation.errors import UsageError
from curation.io.cache_dir import cache_folder
from curation.io.storage import Storage
from jobs.runtime.context import Context
from jobs.runtime.spec import lid_model
from jobs.tasks.doctor.findings import Finding, failed
from jobs.tasks.doctor.machine import package_versions

UNITS_PER_CORE = 2  # work units, so that every executor gets some


class Surroundings(msgspec.Struct, frozen=True):
    """What one worker process sees: its host, its versions, and which of the files and folders that it needs fail."""

    host: str
    versions: dict[str, str]
    problems: list[str]


class Look:
    """A task that looks around in a worker process.

    Args:
        storage: access to the lake.
        model: the path of the language-ID model, if the driver has one.
        marker: a file of the lake, if there is a lake.
    """

    def __init__(self, storage: Storage, model: str | None, marker: str | None) -> None:
        self.storage, self.model, self.marker = storage, model, marker

    def __call__(self, index: int, unit: int) -> Surroundings:  # noqa: ARG002 - all work units are alike
        """Return what this process sees."""
        problems = list[str]()
        if self.model and not Path(self.model).is_file():
            problems.append(f"no language-ID model at {self.model}: put it there on every machine")
        if self.marker and not self.storage.exists(self.marker):
            problems.append(f"no lake at {self.marker.rpartition('/')[0]}: use a storage that all machines share")
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache_folder()):
                pass
        except OSError as error:
            problems.append(f"{cache_folder()} cannot be written ({error.strerror}): set WORLDCURATE_CACHE")
        return Surroundings(socket.gethostname(), versions(), problems)


def versions() -> dict[str, str]:
    """Return the versions that driver and executors must have in common."""
    return {"Python": platform.python_version(), **package_versions()}


def check_executors(context: Context) -> Finding:
    """Start Spark, run work units on its executors and compare what they see with what the driver sees."""
    try:
        model: str | None = str(lid_model(context.config).resolve())
    except UsageError:
        model = None  # another check says so
    marker = context.lake.layout.marker if context.config.lake and context.lake.exists() else None
    units = range(UNITS_PER_CORE * context.cores)
    seen = context.run_tasks("doctor", units, Look(context.storage, model, marker))
    processes = Counter(each.host for each in seen)
    found = f"{len(processes)} hosts ({', '.join(sorted(processes))}), {context.cores} cores"
    here = versions()
    for each in seen:
        differing = [
            f"{name} {each.versions[name]}, here {here[name]}" for name in here if each.versions[name] != here[name]
        ]
        if differing:
            remedy = "install the same environment on every machine, and set PYSPARK_PYTHON to its interpreter"
            return failed("executors", f"{each.host} has {'; '.join(differing)}", remedy)
        if each.problems:
            first, _, remedy = each.problems[0].rpartition(": ")
            return failed("executors", f"{each.host}: {first}", remedy)
    return Finding("executors", "ok", found)
