"""Measure the matchers of all languages at once: 27 million entries on disk, in the page cache and in private memory.

The lists are synthetic and have the published number of entries: English has 500,000, the 40 languages with the most
wordnet lemmas share nine tenths of the rest, and the others share the last tenth. A list consists of the lemmas of the
language (also from Wiktionary-made wordnets) and of pairs of its words. The lists are compiled to files as
build_metadata does. Then another process opens all files, matches texts with each, and prints its private memory
(anonymous pages in /proc/self/smaps_rollup).

    python benchmarks/bench_matcher_memory.py [--tiny] [ENTRIES]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import corpus
import numpy as np
import pyarrow as pa
from common import run, scaled, table

from curation import models
from curation.io import host_cache
from curation.io.storage import Storage
from curation.lid.identifier import LanguageIdentifier
from curation.matching.matcher import Matcher
from curation.matching.matcher_file import compile_entries
from metadata.languages import LanguageTable

ENTRIES, ENGLISH, LARGE = 27_000_000, 500_000, 40
DEFAULT = scaled(ENTRIES, 50_000)
RULES = "worldwide"


def sizes(lemmas: dict[str, list[str]], entries: int) -> dict[str, int]:
    """Return the size of each language's list."""
    scale = entries / ENTRIES
    ranked = sorted(lemmas.keys() - {"en"}, key=lambda lang: (-len(lemmas[lang]), lang))
    rest = entries - int(ENGLISH * scale)
    large, small = ranked[:LARGE], ranked[LARGE:]
    largest = {"en": int(ENGLISH * scale)} | dict.fromkeys(large, rest * 9 // 10 // len(large))
    return largest | dict.fromkeys(small, rest // 10 // len(small))


def compile_list(lang: str, lemmas: list[str], size: int, folder: str) -> int:
    """Compile one synthetic list to a file; return the size of the file."""
    glue = "" if LanguageTable.load().languages[lang].spacing != "space" else " "
    unique = dict.fromkeys(lemmas[:size])
    words = np.array([lemma for lemma in lemmas if " " not in lemma] or lemmas, object)
    rng = np.random.default_rng(len(lemmas))
    while len(unique) < size:  # triples when there are no more pairs
        count = 2 if len(unique) < len(words) ** 2 / 4 else 3
        drawn = words[rng.integers(0, len(words), (size, count))]
        unique.update(dict.fromkeys(glue.join(row) for row in drawn.tolist()))
    data = compile_entries(sorted(list(unique)[:size]), RULES)
    (Path(folder) / f"{lang}.matcher").write_bytes(data)
    return len(data)


def memory(key: str) -> int:
    """Return one figure of the memory of this process in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))


def worker(folder: str) -> None:
    """Open all matchers and match with them, as a worker does; print seconds and bytes."""
    import hashlib

    paths = sorted(Path(folder).glob("*.matcher"))
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    at_start = memory("Anonymous")
    started = time.perf_counter()
    LanguageIdentifier(models.fetch_default_model(), LanguageTable.load().label_to_lang).identify(["a text"])
    Matcher.build(["a"], RULES).match("this loads or compiles the machine code")
    loaded, with_code = time.perf_counter() - started, memory("Anonymous")
    opened, matchers = {}, []
    for path in paths:
        started = time.perf_counter()
        matcher = Matcher.open(host_cache.checked_file(Storage(), str(path), digests[path]), RULES, checked=True)
        opened[path.stem] = time.perf_counter() - started
        matchers.append(matcher)
    texts = pa.array([f"{word} 2024" for words in corpus.lemmas().values() for word in words[:40]])
    for matcher in matchers:
        matcher.match_batch(texts)
    slowest = max(opened, key=opened.__getitem__)
    print(at_start, with_code, memory("Anonymous"), memory("Rss"), loaded, opened["en"], opened[slowest], slowest)
    print(statistics.median(opened.values()), len(matchers), sum(map(len, matchers)))


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2])
        return
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    lemmas = corpus.lemmas(wiktionary=True)
    list_sizes = sizes(lemmas, entries)
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(compile_list, lang, lemmas[lang], size, folder) for lang, size in list_sizes.items()]
            on_disk = sum(job.result() for job in jobs)
        out = subprocess.run(
            [sys.executable, __file__, "--worker", folder], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.split()
        at_start, with_code, private, resident = (int(figure) / 1e6 for figure in out[:4])
        loaded, english, slowest, name, median, files, total = *map(float, out[4:7]), out[7], *map(float, out[8:])
        table(
            f"Matchers of {files:.0f} languages, {total:,.0f} entries, rules {RULES}",
            ["measure", "figure"],
            [
                ["on disk and in the page cache", f"{on_disk / 1e6:,.0f} MB, {on_disk / total:.0f} bytes per entry"],
                ["private memory of a worker after the imports", f"{at_start:,.0f} MB"],
                ["… with language ID and the machine code", f"{with_code:,.0f} MB, {loaded:.1f} s"],
                [
                    "… with all matchers open and used",
                    f"{private:,.0f} MB (resident, with shared pages: {resident:,.0f} MB)",
                ],
                ["opening English, with the checksum", f"{1e3 * english:.1f} ms"],
                ["opening any other, median", f"{1e3 * median:.1f} ms"],
                [f"opening the slowest ({name})", f"{1e3 * slowest:.1f} ms"],
            ],
        )


if __name__ == "__main__":
    run(main)
