"""Checks of the machine that starts jobs: programs, memory, folders, the language-ID model and segmenters."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curation import __version__
from curation.errors import UsageError
from curation.io.cache_dir import cache_folder
from curation.io.paths import is_s3
from jobs.runtime import session
from jobs.runtime.config import Config
from jobs.runtime.spec import lid_labels, lid_model
from jobs.tasks.doctor.findings import GIB, Check, Finding, failed
from metadata.languages import LanguageTable
from metadata.ngrams.segmenters import find_segmenter

PYTHON = (3, 11)
PACKAGES = ("pyspark", "pyarrow", "deltalake", "numpy", "numba")  # whose versions jobs depend on most
JVM_BYTES = GIB  # of the driver and its heap
WORKER_BYTES = 310 << 20  # of one that merges a bucket, and per byte of the bucket 1.7 more (docs/operations.md)
BYTES_PER_BUCKET_BYTE = 1.7
LOW_DISK, NO_DISK = 10 * GIB, GIB


def machine_checks(config: Config) -> Iterator[tuple[str, Check]]:
    """Yield the checks of this machine with their names."""
    yield "python", _python
    yield "java", _java
    yield "packages", _packages
    yield "memory", lambda: _memory(config)
    folders = {"temporary files": Path(tempfile.gettempdir()), "cache folder": cache_folder()}
    if "SPARK_LOCAL_DIRS" in os.environ:
        folders["spark files"] = Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0])
    if config.lake and not is_s3(config.lake):
        folders["disk of the lake"] = Path(config.lake)
    for name, folder in folders.items():
        yield name, lambda name=name, folder=folder: check_folder(name, folder, creates=name == "cache folder")  # type: ignore[misc]
    yield "language-ID model", lambda: _model(config)
    yield "segmenters", lambda: _segmenters(config)


def _python() -> Finding:
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < PYTHON:
        return failed("python", found, f"install Python {'.'.join(map(str, PYTHON))} or newer")
    return Finding("python", "ok", found)


def _java() -> Finding:
    return Finding("java", "ok", session.check_java())


def _packages() -> Finding:
    try:
        return Finding("packages", "ok", ", ".join(f"{name} {found}" for name, found in package_versions().items()))
    except PackageNotFoundError as error:
        return failed("packages", f"{error.name} is not installed", "pip install worldcurate")


def package_versions() -> dict[str, str]:
    """Return the versions of this project and of the packages that its results depend on most."""
    return {"worldcurate": __version__, **{name: version(name) for name in PACKAGES}}


def _memory(config: Config) -> Finding:
    """Compare the memory that is available with the need of the default work of all cores."""
    cores = local_cores(config.spark.master)
    if cores is None:
        return Finding("memory", "skipped", f"the work runs on {config.spark.master}")
    needed = JVM_BYTES + cores * (WORKER_BYTES + int(BYTES_PER_BUCKET_BYTE * config.ingest.bucket_bytes))
    available = available_memory()
    found = f"{available / GIB:.1f} GiB available, {needed / GIB:.1f} GiB needed by {cores} cores"
    if available < needed:
        remedy = "give fewer cores (--spark.master local[1]) or smaller buckets (ingest.bucket_bytes)"
        return Finding("memory", "warning", found, remedy)
    return Finding("memory", "ok", found)


def local_cores(master: str) -> int | None:
    """Return the number of cores of a local master; None for a cluster."""
    if not (local := re.match(r"local(?:\[(\*|\d+)[,\]])?", master)):
        return None
    threads = local.group(1) or "1"
    return len(os.sched_getaffinity(0)) if threads == "*" else int(threads)


def available_memory(meminfo: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that this process may still use: of the machine, and of its container if that has a limit."""
    text = meminfo.read_text(encoding="ascii")
    available = int(re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)[1]) << 10  # type: ignore[index]
    limit, used = groups / "memory.max", groups / "memory.current"
    if limit.exists() and (most := limit.read_text(encoding="ascii").strip()).isdigit():
        available = min(available, int(most) - int(used.read_text(encoding="ascii")))
    return available


def check_folder(name: str, folder: Path, *, creates: bool = False) -> Finding:
    """Check that files can be written in a folder, or in the one in which it would be made, and that there is room."""
    exists = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        if creates:
            folder.mkdir(parents=True, exist_ok=True)
            exists = folder
        with tempfile.NamedTemporaryFile(dir=exists, prefix="worldcurate-doctor-") as file:
            file.write(b"x")
    except OSError as error:
        return failed(name, f"{exists} cannot be written: {error.strerror}", _remedy(name))
    free = shutil.disk_usage(exists).free
    found = f"{folder}, {free / GIB:.1f} GiB free"
    if free < NO_DISK:
        return failed(name, found, f"make room: {_remedy(name)}", 5)
    if free < LOW_DISK:
        return Finding(name, "warning", found, f"make room, at least {LOW_DISK // GIB} GiB: {_remedy(name)}")
    return Finding(name, "ok", found)


def _remedy(name: str) -> str:
    variables = {"cache folder": "WORLDCURATE_CACHE", "temporary files": "TMPDIR", "spark files": "SPARK_LOCAL_DIRS"}
    if name in variables:
        return f"set {variables[name]} to another folder"
    return "remove what is not needed, or run python -m jobs.gc"


def _model(config: Config) -> Finding:
    model = lid_model(config)  # compares the checksum of the default one
    labels = lid_labels(config, model, LanguageTable.load())
    return Finding("language-ID model", "ok", f"{model}, {len(labels)} labels")


def _segmenters(config: Config) -> Finding:
    """Check that the words of the Wikipedias to build can be separated; nights do not need segmenters."""
    codes, problems, ready = set(config.metadata.languages), list[str](), set[str]()
    for language in LanguageTable.load().languages.values():
        if language.spacing != "space" and (codes & {"all", language.code}):
            try:
                find_segmenter(language)
                ready.add(language.segmenter)
            except UsageError as error:
                problems.append(str(error))
    if problems:
        first, _, remedy = problems[0].rpartition(": ")
        more = f", and {len(problems) - 1} more Wikipedias" if len(problems) > 1 else ""
        return Finding("segmenters", "warning", f"{first}{more}", remedy)  # only build_metadata needs them
    return Finding("segmenters", "ok", ", ".join(sorted(ready)) or "none needed")
