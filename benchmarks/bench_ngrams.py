"""Wikitext to n-gram counts: MB/s per core beside the plain way, the gain of a second core, and peak memory.

The corpus is the text of a real dump (206 pages of English Wikipedia, from the unpacked archives) repeated, each time
with the letters of its words exchanged by a seeded permutation, so that distinct n-grams grow with the corpus. The
plain way is one process: mwparserfromhell's `strip_code`, a regular expression for words and marks, two `Counter`s; a
second one takes our parser instead, to show the counting alone. Ours is what the Spark job runs: reading XML in pieces,
parsing, counting, staging in buckets, summing, PMI, percentile and ranking. CPU seconds are those of the Python
workers: on a machine that is busy with other work the clock says little.

    python benchmarks/bench_ngrams.py [MB] [FOLDER]
"""

from __future__ import annotations

import os
import random
import re
import resource
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import mwparserfromhell
from common import table, unpacked

from curation.io.storage import Storage
from jobs import build_metadata
from jobs.runtime import session
from jobs.runtime.config import SparkSection
from jobs.runtime.run_tasks import Result, run_tasks
from jobs.tasks.metadata.ngrams import ReadDump, StagedGrams, bucket_counts, rank_grams
from metadata.dumps.wikitext import plain_text
from metadata.dumps.xml import iter_pages
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.ngrams.tokens import tokenizer
from metadata.sources import Source, cut

DUMP = "wiki-gensim/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
PLAIN_MB = 12  # of the corpus for the plain ways: they take a minute for that
# Names of markup stay as they are, or the parser would meet other markup.
KEPT = re.compile(
    r"(<[^<>]*>|&\w+;|https?://\S+|\[\[\w+:|\{\{[^|{}]*|\|\s*\w+\s*=|__\w+__|thumb|redirect)|([A-Za-z]{3,})"
)
TOKEN = re.compile(r"\w+|[^\w\s]")
PLAIN = (("mwparserfromhell + re + Counter", False), ("our parser + re + Counter", True))
TABLE = LanguageTable.load()


@dataclass(frozen=True)
class Run:
    """What one way took: MB, seconds, CPU seconds of each process; of a job also its peak memory and its bigrams."""

    mb: float
    seconds: float
    cpu: list[float]
    mib: float = 0.0
    bigrams: int = 0


def articles() -> list[str]:
    """Return the wikitext of the dump's articles."""
    with (unpacked() / DUMP).open("rb") as stream:
        return [page.text for page in iter_pages(stream) if page.namespace == 0 and not page.is_redirect]


def rewritten(texts: list[str], seed: int) -> Iterator[str]:
    """Yield texts whose words have their letters exchanged, capitals by capitals; the first seed changes nothing."""
    letters = random.Random(seed).sample(string.ascii_lowercase, 26) if seed else string.ascii_lowercase
    exchange = str.maketrans(string.ascii_letters, "".join(letters) + "".join(letters).upper())
    for text in texts:
        yield KEPT.sub(lambda found: found[1] or found[2].translate(exchange), text)


def write_corpus(path: Path, texts: list[str], mb: int) -> None:
    """Write a dump of at least so many MB."""
    with path.open("w", encoding="utf-8") as sink:
        sink.write("<mediawiki>")
        seed = 0
        while sink.tell() < mb * 1e6:
            for number, text in enumerate(rewritten(texts, seed)):
                page = f"<title>{seed}.{number}</title><ns>0</ns><revision><text>{escape(text)}</text></revision>"
                sink.write(f"<page>{page}</page>")
            seed += 1
        sink.write("</mediawiki>")


def plain(path: Path, mb: int, *, ours: bool) -> Run:
    """Count the first MB of a corpus with parser, tokenizer and `Counter`."""
    unigrams: Counter[str] = Counter()
    bigrams: Counter[tuple[str, str]] = Counter()
    started, used, read = time.perf_counter(), time.process_time(), 0
    with path.open("rb") as stream:
        for page in iter_pages(stream):
            text = plain_text(page.text) if ours else mwparserfromhell.parse(page.text).strip_code()
            tokens = TOKEN.findall(text)
            unigrams.update(tokens)
            bigrams.update((a, b) for a, b in pairwise(tokens) if a[0].isalnum() and b[0].isalnum())
            read += len(page.text.encode())
            if read >= mb * 1e6:
                break
    return Run(read / 1e6, time.perf_counter() - started, [time.process_time() - used])


def job(path: Path, cores: int) -> Run:
    """Count and rank a corpus on Spark."""
    storage = Storage()
    source = Source("dump", (storage.stat(str(path)),), "en")
    buckets = bucket_counts([source])
    spark = session.start("bench", SparkSection(master=f"local[{cores}]"))
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        before = run_tasks(spark, "warm-up", range(cores), worker)
        started = time.perf_counter()
        units = list(cut([source], build_metadata.SPLIT_BYTES))
        results = run_tasks(spark, "dumps", units, ReadDump(storage, TABLE, staging, buckets))
        staged = StagedGrams(buckets["en"], [tuple(r.stats["staged"]) for r in results if r.kind == "dump"])
        grams = rank_grams(partial(run_tasks, spark), storage, staging, TABLE, {"en": staged}, {"en": Limits()})
        assert all(next(order)[1] > 0 for order in grams.best("en", Limits(unigram_share=1.0)))
        seconds = time.perf_counter() - started
        bigrams = sum(rows for _, rows in grams.large["en"][1]) if grams.large else 0
        after = run_tasks(spark, "figures", range(cores), worker)
    spark.stop()
    used = {result.stats["pid"]: result.stats["cpu"] for result in after}
    for result in before:
        used[result.stats["pid"]] -= result.stats["cpu"]
    return Run(path.stat().st_size / 1e6, seconds, list(used.values()), max(r.stats["mib"] for r in after), bigrams)


def worker(_: int, __: int) -> Iterator[Result]:
    """Load what a unit loads once, then yield what this worker has used since it started: CPU, and at most memory."""
    tokenizer(TABLE.languages["en"])("a word")
    time.sleep(3)  # so that each worker gets one
    used = resource.getrusage(resource.RUSAGE_SELF)
    stats = {"pid": os.getpid(), "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
    yield Result("worker", stats=stats)


def main() -> None:
    """Measure and print."""
    mb = int(sys.argv[1]) if len(sys.argv) > 1 else 320
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    corpora = {size: folder / f"corpus-{size}.xml" for size in (mb // 10, mb)}
    for size, path in corpora.items():
        if not path.exists():
            write_corpus(path, articles(), size)
    small, one, two = (job(corpora[size], cores) for size, cores in ((mb // 10, 1), (mb, 1), (mb, 2)))
    ways = {name: plain(corpora[mb], PLAIN_MB, ours=ours) for name, ours in PLAIN} | {"ours": one, "ours, 2 cores": two}
    first = next(iter(ways.values()))
    rows = [
        [
            name,
            f"{run.mb:.0f}",
            f"{run.mb / run.seconds:.1f}",
            " + ".join(f"{cpu:.1f}" for cpu in run.cpu),
            f"{run.mb / sum(run.cpu):.1f}",
            f"{run.mb / sum(run.cpu) * sum(first.cpu) / first.mb:.2f}",
        ]
        for name, run in ways.items()
    ]
    columns = ["way", "MB", "MB/s", "CPU s", "MB/CPU s", "x plain, per CPU s"]
    table("Wikitext to n-gram counts; ours goes on to ranked lists", columns, rows)
    clock, balance = one.seconds / two.seconds, sum(one.cpu) / max(two.cpu)
    print(f"\nTwo cores: {clock:.2f} x one core by the clock, {balance:.2f} x by the CPU seconds of the busier worker")
    memory = [
        [f"{run.mb:.0f}", str(len(run.cpu)), f"{run.seconds:.1f}", f"{run.bigrams:,}", f"{run.mib:.0f}"]
        for run in (small, one, two)
    ]
    table("Peak memory of a Python worker", ["MB", "cores", "s", "bigrams that score", "peak MiB"], memory)


if __name__ == "__main__":
    main()
