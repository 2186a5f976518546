"""Wikitext to n-gram counts: MB/s per core beside the plain way, the gain of a second core, and peak memory.

The corpus is the text of a real dump (206 pages of English Wikipedia, from the unpacked archives) repeated, each time
with the letters of its words exchanged by a seeded permutation, so that distinct n-grams grow with the corpus. The
plain way is one process: mwparserfromhell's `strip_code`, a regular expression for words and marks, two `Counter`s; a
second one takes our parser instead, to show the counting alone. Ours is what the Spark job runs: reading XML in pieces,
parsing, counting, staging in buckets, summing, PMI, percentile and ranking.

    python benchmarks/bench_ngrams.py [MB] [FOLDER]
"""

from __future__ import annotations

import random
import re
import resource
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import mwparserfromhell
from common import table, unpacked

from curation.config import SparkSection
from curation.storage import Storage
from jobs import build_metadata, session
from jobs.metadata_ngrams import ReadDump, StagedGrams, bucket_counts, rank_grams
from jobs.sink import Result, run_sink
from metadata.dumps import iter_pages
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.sources import Source, cut
from metadata.wikitext import plain_text
from metadata.words import tokenizer

DUMP = "wiki-gensim/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
REPEATS = 2  # of the jobs, in turns; the faster run counts
PLAIN_MB = 12  # of the corpus for the plain ways: they take a minute for that
# Names of markup stay as they are, or the parser would meet other markup.
KEPT = re.compile(
    r"(<[^<>]*>|&\w+;|https?://\S+|\[\[\w+:|\{\{[^|{}]*|\|\s*\w+\s*=|__\w+__|thumb|redirect)|([A-Za-z]{3,})"
)
TOKEN = re.compile(r"\w+|[^\w\s]")
PLAIN = (("mwparserfromhell + re + Counter", False), ("our parser + re + Counter", True))
TABLE = LanguageTable.load()


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


def plain(path: Path, mb: int, *, ours: bool) -> tuple[float, float]:
    """Count the first MB of a corpus with parser, tokenizer and `Counter`; return MB and seconds."""
    unigrams: Counter[str] = Counter()
    bigrams: Counter[tuple[str, str]] = Counter()
    started, read = time.perf_counter(), 0
    with path.open("rb") as stream:
        for page in iter_pages(stream):
            text = plain_text(page.text) if ours else mwparserfromhell.parse(page.text).strip_code()
            tokens = TOKEN.findall(text)
            unigrams.update(tokens)
            bigrams.update((a, b) for a, b in pairwise(tokens) if a[0].isalnum() and b[0].isalnum())
            read += len(page.text.encode())
            if read >= mb * 1e6:
                break
    return read / 1e6, time.perf_counter() - started


def job(path: Path, cores: int) -> tuple[float, float, int]:
    """Count and rank a corpus on Spark; return seconds, a worker's peak memory in MiB, the bigrams that score."""
    storage = Storage()
    source = Source("dump", (storage.stat(str(path)),), "en")
    buckets = bucket_counts([source])
    spark = session.start("bench", SparkSection(master=f"local[{cores}]"))
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        run_sink(spark, "warm-up", range(cores), warm_up)
        started = time.perf_counter()
        units = list(cut([source], build_metadata.PIECE_BYTES))
        results = run_sink(spark, "dumps", units, ReadDump(storage, TABLE, staging, buckets))
        staged = StagedGrams(buckets["en"], [tuple(r.stats["staged"]) for r in results if r.kind == "dump"])
        grams = rank_grams(spark, storage, staging, TABLE, {"en": staged}, {"en": Limits()})
        assert all(next(order)[1] > 0 for order in grams.best("en", Limits(unigram_share=1.0)))
        seconds = time.perf_counter() - started
        rows = sum(rows for _, rows in grams.large["en"][1]) if grams.large else 0
        peaks = run_sink(spark, "memory", range(cores), peak)
    spark.stop()
    return seconds, max(result.stats["mib"] for result in peaks), rows


def warm_up(_: int, __: int) -> Iterator[Result]:
    """Start a worker, and load what a unit loads once."""
    tokenizer(TABLE.languages["en"])("a word")
    time.sleep(1)
    yield Result("warm")


def peak(_: int, __: int) -> Iterator[Result]:
    """Yield the most memory that this worker has held since it started, through all the steps."""
    time.sleep(1)  # so that each worker gets one
    yield Result("peak", stats={"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def main() -> None:
    """Measure and print."""
    mb = int(sys.argv[1]) if len(sys.argv) > 1 else 320
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    corpora = {size: folder / f"corpus-{size}.xml" for size in (mb // 10, mb)}
    for size, path in corpora.items():
        if not path.exists():
            write_corpus(path, articles(), size)
    sizes = {size: path.stat().st_size / 1e6 for size, path in corpora.items()}
    cases = ((mb // 10, 1), (mb, 1), (mb, 2))
    tries = [{case: job(corpora[case[0]], case[1]) for case in cases} for _ in range(REPEATS)]
    runs = {case: min(found[case] for found in tries) for case in cases}
    ways = {f"{name} ({PLAIN_MB} MB)": plain(corpora[mb], PLAIN_MB, ours=ours) for name, ours in PLAIN}
    ways |= {
        f"ours, {cores} core{'s'[: cores - 1]} ({sizes[mb]:.0f} MB)": (sizes[mb], runs[mb, cores][0])
        for cores in (1, 2)
    }
    speeds = {way: size / seconds for way, (size, seconds) in ways.items()}
    first = next(iter(speeds.values()))
    rows = [[way, f"{speed:.1f}", f"{speed / first:.2f}"] for way, speed in speeds.items()]
    table("Wikitext to n-gram counts; ours goes on to ranked lists", ["way", "MB/s", "x plain"], rows)
    print(f"\nTwo cores: {runs[mb, 1][0] / runs[mb, 2][0]:.2f} x one core")
    memory = [
        [f"{sizes[size]:.0f}", str(cores), f"{seconds:.1f}", f"{bigrams:,}", f"{mib:.0f}"]
        for (size, cores), (seconds, mib, bigrams) in runs.items()
    ]
    table("Peak memory of a Python worker", ["MB", "cores", "s", "bigrams that score", "peak MiB"], memory)


if __name__ == "__main__":
    main()
