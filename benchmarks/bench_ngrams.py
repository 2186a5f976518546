"""Measure the way from wikitext to n-gram counts: MB/s per core, the speedup by a second core, and peak memory.

The corpus repeats the text of a real dump (206 pages of English Wikipedia, from the unpacked archives). Each copy
permutes the letters of its words with another seed, so that the number of distinct n-grams grows with the corpus. The
naive way is one process with `strip_code` of mwparserfromhell, a regular expression for words and punctuation, and two
`Counter`s. A variant takes our parser instead, to show the counting alone. Our way is that of the Spark job: reading
XML in splits, parsing, counting, staging in buckets, summing, PMI, percentile and ranking. CPU seconds are those of the
Python workers, because elapsed time means little on a busy machine.

    python benchmarks/bench_ngrams.py [--tiny] [MB] [FOLDER]
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
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import mwparserfromhell
from common import run, scaled, table, unpacked

from jobs import build_metadata
from jobs.runtime.config import Config, SparkSection
from jobs.runtime.context import Context
from jobs.tasks.metadata.ngrams import ReadDump, StagedGrams, bucket_counts, rank_grams
from metadata.dumps.wikitext import plain_text
from metadata.dumps.xml import iter_pages
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.ngrams.tokens import tokenizer
from metadata.sources import Source, split_sources

DUMP = "wiki-gensim/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
MEGABYTES = scaled(320, 10)
NAIVE_MB = scaled(12, 1)  # of the corpus for the naive ways, which take a minute for that
PAUSE_S = scaled(3.0, 1.0)
# The names of markup are not permuted, because that would change the markup.
UNCHANGED = re.compile(
    r"(<[^<>]*>|&\w+;|https?://\S+|\[\[\w+:|\{\{[^|{}]*|\|\s*\w+\s*=|__\w+__|thumb|redirect)|([A-Za-z]{3,})"
)
TOKEN = re.compile(r"\w+|[^\w\s]")
NAIVE = (("mwparserfromhell + re + Counter", False), ("our parser + re + Counter", True))
TABLE = LanguageTable.load()


@dataclass(frozen=True)
class Figures:
    """The figures of one way: MB, seconds, CPU seconds per process; of a job also peak memory and bigrams."""

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
    """Yield texts with permuted letters, lower case and upper case alike; the first seed changes nothing."""
    letters = random.Random(seed).sample(string.ascii_lowercase, 26) if seed else string.ascii_lowercase
    permutation = str.maketrans(string.ascii_letters, "".join(letters) + "".join(letters).upper())
    for text in texts:
        yield UNCHANGED.sub(lambda match: match[1] or match[2].translate(permutation), text)


def write_corpus(path: Path, texts: list[str], mb: int) -> None:
    """Write a dump of at least a number of MB."""
    with path.open("w", encoding="utf-8") as sink:
        sink.write("<mediawiki>")
        seed = 0
        while sink.tell() < mb * 1e6:
            for number, text in enumerate(rewritten(texts, seed)):
                page = f"<title>{seed}.{number}</title><ns>0</ns><revision><text>{escape(text)}</text></revision>"
                sink.write(f"<page>{page}</page>")
            seed += 1
        sink.write("</mediawiki>")


def naive(path: Path, mb: int, *, ours: bool) -> Figures:
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
    return Figures(read / 1e6, time.perf_counter() - started, [time.process_time() - used])


def job(path: Path, cores: int) -> Figures:
    """Count and rank a corpus on Spark."""
    context = Context(Config(lake=str(path.parent), create=True, spark=SparkSection(master=f"local[{cores}]")), "bench")
    source = Source("dump", (context.storage.stat(str(path)),), "en")
    buckets = bucket_counts([source])
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        before = context.run_tasks("warm-up", range(cores), worker_usage)
        started = time.perf_counter()
        units = list(split_sources([source], build_metadata.SPLIT_BYTES))
        results = context.run_tasks("dumps", units, ReadDump(context.storage, TABLE, staging, buckets))
        staged = StagedGrams(buckets["en"], [result.staged for result in results])
        grams = rank_grams(context, staging, TABLE, {"en": staged}, {"en": Limits()})
        assert all(next(order)[1] > 0 for order in grams.best("en", Limits(unigram_share=1.0)))
        seconds = time.perf_counter() - started
        bigrams = sum(rows for _, rows in grams.large["en"][1]) if grams.large else 0
        after = context.run_tasks("figures", range(cores), worker_usage)
    context.spark.stop()
    used = {pid: cpu for pid, cpu, _ in after}
    for pid, cpu, _ in before:
        used[pid] -= cpu
    return Figures(path.stat().st_size / 1e6, seconds, list(used.values()), max(mib for *_, mib in after), bigrams)


def worker_usage(_: int, __: int) -> tuple[int, float, float]:
    """Load the tokenizer once, then return the pid of this worker, its CPU seconds and its peak memory in MiB."""
    tokenizer(TABLE.languages["en"])("a word")
    time.sleep(PAUSE_S)  # so that each worker gets one task
    used = resource.getrusage(resource.RUSAGE_SELF)
    return os.getpid(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    mb = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    corpora = {size: folder / f"corpus-{size}.xml" for size in (mb // 10, mb)}
    for size, path in corpora.items():
        if not path.exists():
            write_corpus(path, articles(), size)
    small, one, two = (job(corpora[size], cores) for size, cores in ((mb // 10, 1), (mb, 1), (mb, 2)))
    ways = {name: naive(corpora[mb], NAIVE_MB, ours=ours) for name, ours in NAIVE} | {"ours": one, "ours, 2 cores": two}
    first, *others = ways
    speeds = {name: figures.mb / sum(figures.cpu) for name, figures in ways.items()}
    rows = [
        [
            name,
            f"{figures.mb:.0f}",
            f"{figures.mb / figures.seconds:.1f}",
            " + ".join(f"{cpu:.1f}" for cpu in figures.cpu),
            f"{speeds[name]:.1f}",
            f"{speeds[name] / speeds[first]:.2f}",
        ]
        for name, figures in ways.items()
    ]
    columns = ["way", "MB", "MB/s", "CPU s", "MB/CPU s", "x naive, per CPU s"]
    ratios = {name: speeds[name] / speeds[first] for name in others}
    table("Wikitext to n-gram counts; ours includes the ranked lists", columns, rows, name="n-grams", ratios=ratios)
    elapsed, balance = one.seconds / two.seconds, sum(one.cpu) / max(two.cpu)
    speedups = [["elapsed time", f"{elapsed:.2f}"], ["CPU seconds of the busier worker", f"{balance:.2f}"]]
    title, ratios = "Speedup by a second core", {"speedup over one core": elapsed}
    table(title, ["measured by", "x one core"], speedups, name="two cores", ratios=ratios)
    memory = [
        [f"{ran.mb:.0f}", str(len(ran.cpu)), f"{ran.seconds:.1f}", f"{ran.bigrams:,}", f"{ran.mib:.0f}"]
        for ran in (small, one, two)
    ]
    table("Peak memory of a Python worker", ["MB", "cores", "s", "scored bigrams", "peak MiB"], memory)


if __name__ == "__main__":
    run(main)
