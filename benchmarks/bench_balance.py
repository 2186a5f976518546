"""Measure the balance job on 5 million matched images, and extrapolate to 100 million with a cost model.

The matches are synthetic and follow the published figures: 1.15 texts per image, 3.5 entries per text by Zipf's law,
44% English with 500,000 entries, and real sentences. The job reads and writes a lake on the local disk. After a small
batch that warms Spark up, a tenth of the rows is balanced as well, so that the model can tell the cost per row from the
cost per run. Then the sampling of one file is timed part by part on one core and compared with a loop that uses
`random`.

    python benchmarks/bench_balance.py [--tiny] [ROWS]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from common import run, scaled, sentences, table

from curation.balance.counts import LanguageCounts, counts_table, read_counts
from curation.balance.keep_model import KeepProbabilities
from curation.balance.sampling import choose_and_draw
from curation.balance.thresholds import entry_probability
from curation.cli.config import BalanceSection
from curation.jit.hash_columns import u64_column
from curation.lake import shuffle
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import IMAGE_COLUMNS, MATCHED_TEXT, SCHEMAS
from curation.matching.store import Manifest, MatcherStore
from jobs import balance
from jobs.runtime.config import Config, SparkSection
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from jobs.runtime.stage import Publication, StageRun
from jobs.tasks.balance.draw import ORDERED, in_order
from jobs.tasks.report.night import read_table

ROWS, TARGET = scaled(5_000_000, 5_000), 100_000_000
FILE_ROWS = scaled(250_000, 2_000)
STEPS = ("thresholds", "draw", "order", "publish")
LANGS = ["en", "es", "fr", "zh", "ru", "ja", "id", "pt", "de", "vi", *(f"x{n:02d}" for n in range(40))]
ENGLISH, ENTRIES, OTHER_ENTRIES = 0.44, scaled(500_000, 5_000), scaled(100_000, 1_000)
TAIL_SHARE = 0.06
OURS, NAIVE = "choose and draw", "choose and draw with a loop over the rows"

Integers = npt.NDArray[np.int64]


class Maker:
    """Makes batches of matches from a seed, and counts their entries."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._texts = pa.array(sentences())
        others = np.array([1 / (n + 1) for n in range(len(LANGS) - 1)])
        self._weights = np.array([ENGLISH, *(others / others.sum() * (1 - ENGLISH))])
        self._sizes = np.array([ENTRIES, *[OTHER_ENTRIES] * (len(LANGS) - 1)])
        self.counts = [np.zeros(size, np.int64) for size in self._sizes]

    def batch(self, rows: int) -> pa.RecordBatch:
        """Return a number of images with their matched texts."""
        rng = self._rng
        per_image = 1 + rng.binomial(3, 0.05, rows)
        texts = int(per_image.sum())
        lang = rng.choice(len(LANGS), texts, p=self._weights)
        ids, edges = self._entries(lang, 1 + rng.poisson(2.6, texts))
        image_ids = _hexadecimal(rng.bytes(12 * rows), 24)
        words = self._texts.take(pa.array(rng.integers(0, len(self._texts), texts)))
        columns = [
            pa.repeat("alt", texts),
            pc.binary_join_element_wise(words, _hexadecimal(rng.bytes(3 * texts), 6), " "),
            pa.array(LANGS).take(pa.array(lang)),
            pa.array(rng.random(texts, np.float32)),
            pa.ListArray.from_arrays(pa.array(edges, pa.int32()), pa.array(ids, pa.int32())),
        ]
        flat = pa.StructArray.from_arrays(columns, fields=list(MATCHED_TEXT))
        lists = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(per_image)), pa.int32()), flat)
        image = {
            "image_id": image_ids,
            "image_url": pc.binary_join_element_wise("https://img.example/", image_ids, ".jpg", ""),
        }
        nothing = pa.nulls(rows, pa.string())
        return pa.RecordBatch.from_arrays(
            [*(image.get(name, nothing) for name, _ in IMAGE_COLUMNS), lists], schema=SCHEMAS["matches"]
        )

    def _entries(self, lang: Integers, sizes: Integers) -> tuple[Integers, Integers]:
        """Return sorted, distinct ids for every text, by Zipf's law with exponent 1, and the offset of each text."""
        owner = np.repeat(np.arange(len(lang)), sizes)
        most = self._sizes[lang[owner]]
        rank = np.minimum((most + 1.0) ** self._rng.random(len(owner)), most).astype(np.int64) - 1
        ids = rank * 7919 % most  # frequent entries are spread over the list
        order = np.lexsort((ids, owner))
        owner, ids = owner[order], ids[order]
        first = np.append(True, (owner[1:] != owner[:-1]) | (ids[1:] != ids[:-1]))
        owner, ids = owner[first], ids[first]
        for number, counts in enumerate(self.counts):
            counts += np.bincount(ids[lang[owner] == number], minlength=len(counts))
        return ids, np.searchsorted(owner, np.arange(len(lang) + 1))

    def totals(self) -> Iterator[LanguageCounts]:
        """Yield the counts of all batches so far."""
        for lang, counts in sorted(zip(LANGS, self.counts, strict=True)):
            seen = np.flatnonzero(counts)
            yield LanguageCounts(lang, seen.astype(np.int32), counts[seen])


def _hexadecimal(data: bytes, digits: int) -> pa.StringArray:
    """Return the hexadecimal digits of random bytes as strings of a fixed length."""
    count = 2 * len(data) // digits
    edges = np.arange(count + 1, dtype=np.int32) * digits
    return pa.StringArray.from_buffers(count, pa.py_buffer(edges), pa.py_buffer(data.hex().encode()))


def publish(context: Context, batch: str, rows: int) -> None:
    """Publish matches and counts of a batch, as the match job does."""
    maker, lake = Maker(rows), context.lake
    partition = {"match_id": open_match_spec(context).match_id, "batch": batch}
    outputs = {"matches": partition, "counts": partition}
    stage = StageRun("match", lake, context.config, fingerprint_keys={}, inputs={}, outputs=outputs, batch=batch)
    files = []
    for unit, start in enumerate(range(0, rows, FILE_ROWS)):
        with stage.writers()("matches", unit) as writer:
            writer.write(pa.Table.from_batches([maker.batch(min(FILE_ROWS, rows - start))]))
        files += writer.files
    with stage.writers()("counts", 0) as counts:
        for part in maker.totals():
            counts.write(counts_table(part))
    stage.publish(Publication({"matches": files, "counts": counts.files}, totals={}))


def run_balance(context: Context, batch: str) -> dict[str, float]:
    """Balance a batch and return the seconds of its steps."""
    of_batch = Context(context.config.model_copy(update={"batch": batch}), "bench")
    return balance.run(of_batch)[-1].seconds


def cost_model(few: int, small: dict[str, float], many: int, large: dict[str, float]) -> list[list[str]]:
    """Return for each step its seconds in both runs, the cost per run and per row, and the extrapolated seconds."""
    rows, total = [], 0.0
    for step in STEPS:
        per_row = max(0.0, (large[step] - small[step]) / (many - few))
        per_run = max(0.0, large[step] - per_row * many)
        total += per_run + per_row * TARGET
        measured = [f"{small[step]:.1f}", f"{large[step]:.1f}", f"{per_run:.1f}", f"{1e6 * per_row:.2f}"]
        rows.append([step, *measured, f"{per_run + per_row * TARGET:,.0f}"])
    sums = [sum(seconds[step] for step in STEPS) for seconds in (small, large)]
    return [*rows, ["all", *(f"{seconds:.1f}" for seconds in sums), "", "", f"{total:,.0f}"]]


def naive_sampling(rows: list[list[dict[str, Any]]], probabilities: dict[str, list[float]]) -> int:
    """Choose and draw with a loop over the rows, as published code does; return the number of selected pairs."""
    num_selected, rng = 0, random.Random(0)
    for texts in rows:
        text = rng.choice(texts)
        drop, q = 1.0, probabilities[text["lang"]]
        for entry in text["entry_ids"]:
            drop *= 1 - q[entry]
        num_selected += rng.random() < 1 - drop
    return num_selected


def one_file(context: Context, batch: str, folder: Path) -> dict[str, tuple[int, float]]:
    """Return the rows and the seconds of each part of sampling one file on one core, and of the naive way."""
    lake, storage = context.lake, context.storage
    thresholds = read_table(lake, lake.snapshot("thresholds", {"batch": batch}), "thresholds")
    counts = list(read_counts(storage, lake.snapshot("totals", {"batch": batch})))
    model, file = KeepProbabilities.build(thresholds, counts), lake.snapshot("matches", {"batch": batch}).files[0]
    t_of = dict(zip(thresholds["lang"].to_pylist(), thresholds["t"].to_pylist(), strict=True))
    by_entry = {lang: [1.0] * (int(ids[-1]) + 1) for lang, ids, _ in counts}
    for lang, ids, seen in counts:
        for entry, count in zip(ids.tolist(), seen.tolist(), strict=True):
            by_entry[lang][entry] = entry_probability(count, t_of[lang])

    started = time.perf_counter()
    batches = list(read_batches(storage, file.path))
    read = time.perf_counter()
    selected = pa.concat_tables([choose_and_draw(rows, model, 0) for rows in batches])
    drawn = time.perf_counter()
    ranks = u64_column(0, "order", selected["image_id"].combine_chunks())
    ordered = in_order(selected.append_column("order", pa.array(ranks)))
    buckets = shuffle.split_sorted(ordered, ordered["order"].to_numpy() >> np.uint64(60), 16)
    shuffle.write_buckets(storage, str(folder / "staged.arrow"), ORDERED, buckets)
    staged = time.perf_counter()
    for part in batches:
        naive_sampling(part["texts"].to_pylist(), by_entry)
    looped = time.perf_counter()
    size = (folder / "staged.arrow").stat().st_size / selected.num_rows
    parts = {
        "read Parquet": read - started,
        OURS: drawn - read,
        f"order and stage the sample ({selected.num_rows / file.rows:.0%}, {size:.0f} bytes per row)": staged - drawn,
        NAIVE: looped - staged,
    }
    return {name: (file.rows, seconds) for name, seconds in parts.items()}


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    sizes = {"warm-up": rows // 100, "few": rows // 10, "many": rows}
    with tempfile.TemporaryDirectory() as folder:
        section, spark = BalanceSection(tail_share=TAIL_SHARE), SparkSection(master="local[2]")
        config = Config(lake=folder, create=True, batch="few", balance=section, spark=spark, progress_s=3600)
        context = Context(config, "bench")
        store = MatcherStore(context.storage, context.lake.root)
        store.write_manifest(Manifest("synthetic", dict.fromkeys(LANGS, 1), {}))
        store.set_latest("synthetic")
        for batch, size in sizes.items():
            publish(context, batch, size)
        _, few, many = (run_balance(context, batch) for batch in sizes)
        title = f"jobs.balance, local[2]: {rows // 10:,} and {rows:,} matched images, extrapolated to {TARGET:,}"
        columns = ["step", "s, a tenth", "s, all", "s per run", "µs per row", f"s, {TARGET:,}"]
        table(title, columns, cost_model(rows // 10, few, rows, many))
        written = {name: context.lake.snapshot(name, {"batch": "many"}) for name in ("matches", "curated")}
        on_disk = [
            [name, f"{part.rows:,}", f"{part.size / 1e6:,.0f}", f"{part.size / part.rows:.0f}"]
            for name, part in written.items()
        ]
        table("Rows and bytes on disk", ["table", "rows", "MB", "bytes per row"], on_disk)
        parts = one_file(context, "many", Path(folder))
        ours = parts[OURS][1]
        speeds = [[name, f"{n / seconds:,.0f}", f"{ours / seconds:.2f}"] for name, (n, seconds) in parts.items()]
        columns = ["part", "matched images/s, one core", f"x {OURS}"]
        table("Sampling one file", columns, speeds, name="one file", ratios={OURS: parts[NAIVE][1] / ours})


if __name__ == "__main__":
    run(main)
