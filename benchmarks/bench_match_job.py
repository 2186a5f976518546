"""Measure the match job on a million texts of about 90 bytes, from Parquet to Parquet, on one core and on two.

Six texts in ten are synthetic English (see `corpus`), matched against 500,000 entries; the others are pairs of Tatoeba
sentences in 112 languages, matched against the wordnets. Every image has one text. An identity job is measured for
comparison: Spark reads the same files, passes the rows through a Python worker with `mapInArrow`, and drops them. Then
one file is matched on one core to time each part. The times exclude the start of Spark; a small batch warms the workers
up first.

    python benchmarks/bench_match_job.py [--tiny] [TEXTS]
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import corpus
import numpy as np
import pyarrow as pa
from common import run, scaled, sentences, table

from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from curation.matching.matcher_file import compile_entries
from curation.matching.pairs import PairMatcher
from curation.matching.store import Manifest, MatcherStore, matcher_name
from jobs import match
from jobs.runtime import session
from jobs.runtime.config import Config, SparkSection
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from jobs.runtime.stage import Publication, StageRun
from jobs.tasks.match.match import MatchFiles

TEXTS, FILES = scaled(1_000_000, 2_000), 8
WARM_UP = scaled(20_000, 100)
RULES = "worldwide"


def mixed_texts(count: int) -> list[str]:
    """Return the texts, with the languages mixed."""
    rng, real = np.random.default_rng(2), sentences()
    english = corpus.texts(count * 6 // 10)
    picks = rng.integers(0, len(real), (count - len(english), 2)).tolist()
    texts = english + [f"{real[first]} {real[second]}" for first, second in picks]
    return [texts[index] for index in rng.permutation(len(texts)).tolist()]


def publish_metadata(context: Context) -> int:
    """Compile the lists and publish them as build_metadata does; return the number of entries."""
    lemmas = {lang: words[: scaled(None, 200)] for lang, words in corpus.lemmas().items()}
    lists = lemmas | {"en": corpus.entries(), "other": [str(number) for number in range(100)]}
    store = MatcherStore(context.storage, context.lake.root)
    files = {
        matcher_name(RULES, lang): store.write("bench", RULES, lang, compile_entries(words, RULES))
        for lang, words in lists.items()
    }
    sizes = {lang: len(words) for lang, words in lists.items()}
    store.write_manifest(Manifest("bench", sizes, files))
    store.set_latest("bench")
    return sum(sizes.values())


def publish_pairs(context: Context, batch: str, texts: list[str], files: int) -> list[str]:
    """Publish texts as pairs, as ingest does, with one text per image; return the paths of the files."""
    lake = context.lake
    outputs = {"pairs": {"batch": batch}}
    stage = StageRun("ingest", lake, context.config, fingerprint_keys={}, inputs={}, outputs=outputs, batch=batch)
    written = []
    for unit in range(files):
        rows = [
            {
                "image_id": hashlib.sha224(f"{batch} {unit} {number}".encode()).hexdigest()[:24],
                "image_url": f"https://img{number % 997}.example/{unit}/{number}.jpg",
                "page_url": f"https://www{number % 991}.example/{unit}/{number}.html",
                "texts": [{"source": "alt", "text": text}],
            }
            for number, text in enumerate(texts[unit::files])
        ]
        with stage.writers()("pairs", unit) as writer:
            writer.write(pa.Table.from_pylist(rows, SCHEMAS["pairs"]))
        written += writer.files
    stage.publish(Publication({"pairs": written}, totals={}))
    return [file.path for file in lake.snapshot("pairs", outputs["pairs"]).files]


def identity(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass batches through."""
    yield from rows


def spark_runs(folder: str, cores: int, paths: list[str]) -> None:
    """Print the seconds of the match job and of the identity job, both in a Spark session of this process."""
    master = f"local[{cores}]"
    # the rows of the identity job pass through the JVM, so its code should be compiled well
    spark_section = SparkSection(master=master, conf={"spark.driver.extraJavaOptions": "-XX:+UseG1GC"})
    config = Config(lake=folder, create=True, batch="many", recipe=master, spark=spark_section, progress_s=3600)
    # a threshold without effect gives each run its own match_id, so that it matches again
    section = config.match.model_copy(update={"min_lid_score": 1e-9 * cores})
    context = Context(config.model_copy(update={"match": section}), "bench")
    for batch in ("warm-up", "many"):
        started = time.perf_counter()
        match.run(Context(context.config.model_copy(update={"batch": batch}), "bench"))
        seconds = time.perf_counter() - started
    spark = session.start("bench", config.spark)
    frame = spark.read.parquet(*paths)
    started = time.perf_counter()
    frame.mapInArrow(identity, frame.schema).write.format("noop").mode("overwrite").save()
    print(seconds, time.perf_counter() - started)


class Clock:
    """Add up the seconds of parts by wrapping calls."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - started

    def wrapped(self, part: str, function: Callable[..., object]) -> Callable[..., object]:
        """Return the function with its calls timed."""

        def timed(*args: object) -> object:
            with self(part):
                return function(*args)

        return timed


def one_file(context: Context, path: str) -> tuple[int, dict[str, float]]:
    """Match one file in this process; return its rows and the seconds of each part."""
    clock, matching = Clock(), open_match_spec(context)
    unit = MatchFiles(context.storage, context.lake.root, matching, [], None, None, "")  # type: ignore[arg-type]
    stage = StageRun(
        "bench", context.lake, context.config, fingerprint_keys={}, inputs={}, outputs={"matches": {"match_id": "x"}}
    )
    rows = 0
    for timed in (False, True):
        clock.seconds.clear()
        identifier = copy(matching.identifier())  # of this process, so it is not changed
        identifier.identify_column = clock.wrapped("language ID", identifier.identify_column)  # type: ignore[method-assign]
        matcher = PairMatcher(identifier, matching.manifest.entries, unit._matcher)
        matcher._match_by_language = clock.wrapped("matching", matcher._match_by_language)  # type: ignore[method-assign]
        batches = read_batches(context.storage, path)
        rows = 0
        with stage.writers()("matches", int(timed)) as writer:
            while True:
                with clock("read Parquet"):
                    batch = next(batches, None)
                if batch is None:
                    break
                with clock("match"):
                    matches = matcher.match(batch)
                with clock("write Parquet"):
                    writer.write(matches)
                rows += batch.num_rows
            with clock("write Parquet"):
                writer.close()
    parts = dict(clock.seconds)
    parts["Arrow: dictionaries, counts, regrouping"] = parts.pop("match") - parts["matching"] - parts["language ID"]
    return rows, parts


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--spark"]:
        spark_runs(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Config(lake=folder, create=True, batch="many"), "bench")
        entries = publish_metadata(context)
        texts = mixed_texts(count)
        publish_pairs(context, "warm-up", texts[:WARM_UP], 2)
        paths = [
            str(Path(folder) / "pairs" / path) if "://" not in path else path
            for path in publish_pairs(context, "many", texts, FILES)
        ]
        size = sum(len(text.encode()) for text in texts) / count
        rates = {}
        for cores in (1, 2):
            command = [sys.executable, __file__, "--spark", folder, str(cores), *paths]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rates[cores] = [count / float(seconds) for seconds in out.split()]
        rows = [
            [f"local[{cores}]", f"{job:,.0f}", f"{same:,.0f}", f"{job / same:.2f}", f"{job / rates[1][0]:.2f}"]
            for cores, (job, same) in rates.items()
        ]
        ratios = {f"local[{cores}], share of the identity job": job / same for cores, (job, same) in rates.items()}
        ratios["local[2], speedup over local[1]"] = rates[2][0] / rates[1][0]
        table(
            f"jobs.match: {count:,} texts of {size:.0f} bytes, {entries:,} entries",
            ["master", "texts/s", "identity job, rows/s", "share of the identity job", "x local[1]"],
            rows,
            name="match job",
            ratios=ratios,
        )
        done, parts = one_file(context, paths[0])
        whole = done / rates[1][0]  # seconds that the job takes for the same number of texts
        parts["Spark, counts, publishing"] = whole - sum(parts.values())
        shares = [[part, f"{1e6 * took / done:.2f}", f"{took / whole:.0%}"] for part, took in parts.items()]
        table("Time with local[1] by part", ["part", "µs per text", "share"], shares)


if __name__ == "__main__":
    run(main)
