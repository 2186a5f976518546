"""Measure the peak memory of merging many source lists into one, as for `other`: in one task, or by buckets of forms.

The lists are synthetic: 150 Wikipedias that share an eighth of their entries. The naive way holds all lists in memory.
Our way runs the tasks of `jobs.build_metadata` one after the other. Each step runs in its own process.

    python benchmarks/bench_lists.py [--tiny] [ENTRIES PER LIST …]
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import string
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import run, scaled, table

from curation.io.storage import Storage
from curation.lake import shuffle
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.metadata.lists import MergeBucket, WriteEntries, bucket_counts
from metadata.lists.merge import ENTRY_FORMS, Entry, entries_table, entry_forms, list_digest, merge_lists

LISTS = scaled(150, 6)
SIZES = scaled((2_000, 20_000), (200, 500))
AT_ONCE = "at once"
STORAGE = Storage()
BUCKETS = bucket_counts({"other": list(map(str, range(LISTS)))})["0"]


def source_list(code: int, size: int) -> list[Entry]:
    """Return a synthetic list of words and pairs of words, some of which all lists share."""
    specific, common = random.Random(code + 1), random.Random(0)
    entries = {}
    for rank in range(size):
        draw = common if rank % 8 == 0 else specific
        word = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(4, 12)))
        text = word if rank % 3 else f"{word} {word[::-1]}"
        entries.setdefault(text, Entry(text, "unigram", float(size - rank)))
    return list(entries.values())


def stage(folder: Path, size: int) -> list[str]:
    """Stage all lists in buckets."""
    paths = [str(folder / f"list-{code}.arrow") for code in range(LISTS)]
    for code, path in enumerate(paths):
        rows = shuffle.spread(entry_forms(source_list(code, size)), "form", BUCKETS)
        shuffle.write_buckets(STORAGE, path, ENTRY_FORMS, rows)
    return paths


def merge_at_once(paths: list[str]) -> str:
    """Merge all lists in one task."""
    lists = (_entries(path) for path in paths)
    merged = merge_lists(list(lists))
    entries_table(merged)
    return list_digest(merged)


def _entries(path: str) -> list[Entry]:
    tables = shuffle.read_buckets(STORAGE, [path], range(BUCKETS))
    return [Entry(row["entry"], row["origin"], row["score"]) for part in tables for row in part.to_pylist()]


def merge(folder: Path, paths: list[str]) -> list[Any]:
    """Merge one bucket after the other."""
    task = MergeBucket(STORAGE, str(folder), {"other": paths})
    return [task(bucket, ("other", bucket)).rows for bucket in range(BUCKETS)]


def write(folder: Path, merged: list[Any]) -> str:
    """Write the merged list."""
    task = WriteEntries(STORAGE, {}, {"other": merged}, WriterFactory(STORAGE, str(folder), "run", {}))
    return task(0, "other").digest


def in_process(step: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Run a step in its own process; return its result, its peak memory in MiB and its CPU seconds."""
    answers: Any = multiprocessing.get_context("fork").SimpleQueue()

    def measured() -> None:
        started, result = time.process_time(), step(*arguments)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answers.put((result, peak, time.process_time() - started))

    process = multiprocessing.get_context("fork").Process(target=measured)
    process.start()
    answer: tuple[Any, float, float] = answers.get()
    process.join()
    return answer


def measure(size: int) -> dict[str, list[float]]:
    """Return peak memory and CPU seconds of each task on lists of one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, *staged = in_process(stage, folder, size)
        at_once, *naive = in_process(merge_at_once, paths)
        merged, *merging = in_process(merge, folder, paths)
        digest, *writing = in_process(write, folder, merged)
        assert digest == at_once
        return {AT_ONCE: naive, "stage a list": staged, "merge a bucket": merging, "write the list": writing}


def main() -> None:
    """Measure and print."""
    results = {size: measure(size) for size in [int(size) for size in sys.argv[1:]] or SIZES}
    rows = [
        [f"{LISTS} × {size:,}", task, f"{peak:.0f}", f"{cpu:.1f}"]
        for size, tasks in results.items()
        for task, (peak, cpu) in tasks.items()
    ]
    longest = results[max(results)]
    ratio = longest[AT_ONCE][0] / max(peak for task, (peak, _) in longest.items() if task != AT_ONCE)
    columns = ["lists", "task", "peak MiB", "CPU s, all tasks of the kind"]
    table("Merging source lists", columns, rows, name="peak memory", ratios={"longest lists": ratio})


if __name__ == "__main__":
    run(main)
