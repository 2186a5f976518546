"""Peak memory of merging many source lists into one, as `other` has them: all in one task, or by buckets of the forms.

Made-up lists of 150 Wikipedias, an eighth of each from a common vocabulary. The plain way holds them all; ours is what
the tasks of `jobs.build_metadata` do, one after the other. Each step runs in a process of its own.

    python benchmarks/bench_lists.py [ENTRIES A LIST …]
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import string
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import table

from curation.io.storage import Storage
from curation.lake import shuffle
from jobs.runtime.stage import WriterFactory
from jobs.tasks.metadata.lists import MergeBucket, WriteEntries, bucket_counts
from metadata.lists.merge import FORMED, Entry, entries_table, formed, list_digest, merge_lists

LISTS = 150
SIZES = (2_000, 20_000)
STORAGE = Storage()
BUCKETS = bucket_counts({"other": list(map(str, range(LISTS)))})["0"]


def source_list(code: int, size: int) -> list[Entry]:
    """Return one made-up list: words and pairs of words, some of them known to all lists."""
    own, common = random.Random(code + 1), random.Random(0)
    entries = {}
    for place in range(size):
        draw = common if place % 8 == 0 else own
        word = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(4, 12)))
        text = word if place % 3 else f"{word} {word[::-1]}"
        entries.setdefault(text, Entry(text, "unigram", float(size - place)))
    return list(entries.values())


def stage(folder: Path, size: int) -> list[str]:
    """Stage all lists in buckets."""
    paths = [str(folder / f"list-{code}.arrow") for code in range(LISTS)]
    for code, path in enumerate(paths):
        rows = shuffle.spread(formed(source_list(code, size)), "form", BUCKETS)
        shuffle.write_buckets(STORAGE, path, FORMED, rows)
    return paths


def whole(paths: list[str]) -> str:
    """Merge all lists at once."""
    lists = (_entries(path) for path in paths)
    merged = merge_lists(list(lists))
    entries_table(merged)
    return list_digest(merged)


def _entries(path: str) -> list[Entry]:
    tables = shuffle.read_buckets(STORAGE, [path], range(BUCKETS))
    return [Entry(row["entry"], row["origin"], row["score"]) for part in tables for row in part.to_pylist()]


def merge(folder: Path, paths: list[str]) -> list[Any]:
    """Merge bucket after bucket."""
    task = MergeBucket(STORAGE, str(folder), {"other": paths})
    return [result.stats["rows"] for n in range(BUCKETS) for result in task(n, ("other", n))]


def write(folder: Path, merged: list[Any]) -> str:
    """Write the merged list."""
    task = WriteEntries(STORAGE, {}, {"other": merged}, WriterFactory(STORAGE, str(folder), "run", {}))
    return next(result.stats["digest"] for result in task(0, "other") if result.kind == "key")


def apart(step: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Return what a step gives in a process of its own, its peak memory in MiB, and its CPU seconds."""
    answers: Any = multiprocessing.get_context("fork").SimpleQueue()

    def run() -> None:
        started, given = time.process_time(), step(*arguments)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answers.put((given, peak, time.process_time() - started))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found: tuple[Any, float, float] = answers.get()
    process.join()
    return found


def rows(size: int) -> Iterator[list[str]]:
    """Measure lists of one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, *staged = apart(stage, folder, size)
        at_once, *plain = apart(whole, paths)
        merged, *merging = apart(merge, folder, paths)
        digest, *writing = apart(write, folder, merged)
        assert digest == at_once
        steps = {"at once": plain, "stage a list": staged, "merge a bucket": merging, "write the list": writing}
        for step, (peak, cpu) in steps.items():
            yield [f"{LISTS} × {size:,}", step, f"{peak:.0f}", f"{cpu:.1f}"]


def main() -> None:
    """Measure and print."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    columns = ["lists", "task", "peak MiB", "CPU s, all such tasks"]
    table("Merging source lists", columns, [row for size in sizes for row in rows(size)])


if __name__ == "__main__":
    main()
