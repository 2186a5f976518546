"""The balance job on matched images: measured on 5 million, extrapolated to 100 million, with the cost model.

Matches are made up to the published figures: 1.15 texts an image, 3.5 entries a text, entries by Zipf's law, 44%
English with 500,000 entries, and real sentences. The job reads and writes a lake on the local disk. A tenth of the rows
is balanced too, after a small batch that warms Spark up: from both runs the model takes what a row and what a run
costs. Then one file's draw is measured part by part on one core, beside the plain way: a loop with `random`.

    python benchmarks/bench_balance.py [rows]
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
from common import sentences, table

from curation.balance.counts import LanguageCounts, counts_table, read_counts
from curation.balance.keep_model import KeepProbabilities
from curation.balance.sampling import choose_and_draw
from curation.balance.thresholds import entry_probability
from curation.cli.config import BalanceSection
from curation.hashing import u64_column
from curation.lake import shuffle
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import IMAGE_COLUMNS, MATCHED_TEXT, SCHEMAS
from curation.matching.store import Manifest, make_latest, write_manifest
from jobs import balance
from jobs.report import read_table
from jobs.runtime.config import Config, SparkSection
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from jobs.runtime.stage import Publication, StageRun
from jobs.tasks.balance.draw import ORDERED, in_order

ROWS, TARGET = 5_000_000, 100_000_000
FILE_ROWS = 250_000
STEPS = ("thresholds", "draw", "order", "publish")
LANGS = ["en", "es", "fr", "zh", "ru", "ja", "id", "pt", "de", "vi", *(f"x{n:02d}" for n in range(40))]
ENGLISH, ENTRIES, OTHER_ENTRIES = 0.44, 500_000, 100_000
TAIL_SHARE = 0.06

Integers = npt.NDArray[np.int64]


class Maker:
    """Makes batches of matches from a seed, and adds up what they count."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._texts = pa.array(sentences())
        others = np.array([1 / (n + 1) for n in range(len(LANGS) - 1)])
        self._weights = np.array([ENGLISH, *(others / others.sum() * (1 - ENGLISH))])
        self._sizes = np.array([ENTRIES, *[OTHER_ENTRIES] * (len(LANGS) - 1)])
        self.counts = [np.zeros(size, np.int64) for size in self._sizes]

    def batch(self, rows: int) -> pa.RecordBatch:
        """Return so many images with their matched texts."""
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
        """Return sorted, distinct ids of every text, by Zipf's law with the exponent 1, and where each text's begin."""
        owner = np.repeat(np.arange(len(lang)), sizes)
        most = self._sizes[lang[owner]]
        rank = np.minimum((most + 1.0) ** self._rng.random(len(owner)), most).astype(np.int64) - 1
        ids = rank * 7919 % most  # frequent entries lie anywhere in the list
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
    """Publish matches and counts of a batch as the match job does."""
    maker, lake = Maker(rows), context.lake
    lake.declare_batch(batch)
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


def run(context: Context, batch: str) -> dict[str, float]:
    """Balance a batch and return the seconds of its steps."""
    made = Context(context.config.model_copy(update={"batch": batch}), "bench")
    return balance.run(made)[-1].seconds


def cost_model(few: int, small: dict[str, float], many: int, large: dict[str, float]) -> list[list[str]]:
    """Return, for every step, its seconds in both runs, what a run and a row cost, and the target by these."""
    rows, all_of_it = [], 0.0
    for step in STEPS:
        per_row = max(0.0, (large[step] - small[step]) / (many - few))
        per_run = max(0.0, large[step] - per_row * many)
        all_of_it += per_run + per_row * TARGET
        cells = [f"{small[step]:.1f}", f"{large[step]:.1f}", f"{per_run:.1f}", f"{1e6 * per_row:.2f}"]
        rows.append([step, *cells, f"{per_run + per_row * TARGET:,.0f}"])
    whole = [sum(run[step] for step in STEPS) for run in (small, large)]
    return [*rows, ["all", *(f"{seconds:.1f}" for seconds in whole), "", "", f"{all_of_it:,.0f}"]]


def plain_way(rows: list[list[dict[str, Any]]], probabilities: dict[str, list[float]]) -> int:
    """Choose and draw with a loop over the rows, as published code does it; return how many are kept."""
    kept, dice = 0, random.Random(0)
    for texts in rows:
        text = dice.choice(texts)
        drop, q = 1.0, probabilities[text["lang"]]
        for entry in text["entry_ids"]:
            drop *= 1 - q[entry]
        kept += dice.random() < 1 - drop
    return kept


def one_file(context: Context, batch: str, folder: Path) -> list[list[str]]:
    """Measure the parts of one file's draw on one core, and the plain way beside choice and draw."""
    lake, storage = context.lake, context.storage
    made = read_table(lake, lake.snapshot("thresholds", {"batch": batch}), "thresholds")
    counts = list(read_counts(storage, lake.snapshot("totals", {"batch": batch})))
    model, file = KeepProbabilities.build(made, counts), lake.snapshot("matches", {"batch": batch}).files[0]
    t_of = dict(zip(made["lang"].to_pylist(), made["t"].to_pylist(), strict=True))
    plain = {lang: [1.0] * (int(ids[-1]) + 1) for lang, ids, _ in counts}
    for lang, ids, seen in counts:
        for entry, count in zip(ids.tolist(), seen.tolist(), strict=True):
            plain[lang][entry] = entry_probability(count, t_of[lang])

    started = time.perf_counter()
    batches = list(read_batches(storage, file.path))
    read = time.perf_counter()
    kept = pa.concat_tables([choose_and_draw(rows, model, 0) for rows in batches])
    drawn = time.perf_counter()
    ranks = u64_column(0, "order", kept["image_id"].combine_chunks())
    ordered = in_order(kept.append_column("order", pa.array(ranks)))
    buckets = shuffle.split_sorted(ordered, ordered["order"].to_numpy() >> np.uint64(60), 16)
    shuffle.write_buckets(storage, str(folder / "staged.arrow"), ORDERED, buckets)
    staged = time.perf_counter()
    for part in batches:
        plain_way(part["texts"].to_pylist(), plain)
    looped = time.perf_counter()
    size = (folder / "staged.arrow").stat().st_size / kept.num_rows
    parts = {
        "read Parquet": read - started,
        "choose and draw": drawn - read,
        f"order and stage what is kept ({kept.num_rows / file.rows:.0%}, {size:.0f} bytes a row)": staged - drawn,
        "the plain way to choose and draw, a loop over the rows": looped - staged,
    }
    ours = parts["choose and draw"]
    return [[name, f"{file.rows / seconds:,.0f}", f"{ours / seconds:.2f}"] for name, seconds in parts.items()]


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    sizes = {"warm-up": rows // 100, "few": rows // 10, "many": rows}
    with tempfile.TemporaryDirectory() as folder:
        section, spark = BalanceSection(tail_share=TAIL_SHARE), SparkSection(master="local[2]")
        config = Config(lake=folder, batch="few", balance=section, spark=spark, progress_s=3600)
        context = Context(config, "bench")
        write_manifest(context.storage, context.lake.root, Manifest("made-up", dict.fromkeys(LANGS, 1), {}))
        make_latest(context.storage, context.lake.root, "made-up")
        for batch, size in sizes.items():
            publish(context, batch, size)
        _, few, many = (run(context, batch) for batch in sizes)
        title = f"jobs.balance, local[2]: {rows // 10:,} and {rows:,} matched images, and {TARGET:,} by the model"
        columns = ["step", "s, a tenth", "s, all", "s a run", "µs a row", f"s, {TARGET:,}"]
        table(title, columns, cost_model(rows // 10, few, rows, many))
        written = {name: context.lake.snapshot(name, {"batch": "many"}) for name in ("matches", "curated")}
        on_disk = [
            [name, f"{part.rows:,}", f"{part.size / 1e6:,.0f}", f"{part.size / part.rows:.0f}"]
            for name, part in written.items()
        ]
        table("Rows and bytes on disk", ["table", "rows", "MB", "bytes a row"], on_disk)
        table(
            "One file's draw, one core",
            ["part", "matched images/s", "x choose and draw"],
            one_file(context, "many", Path(folder)),
        )


if __name__ == "__main__":
    main()
