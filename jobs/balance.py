"""Balances head and tail: a threshold per language, a keep probability per pair, and a seeded draw.

Publishes `thresholds` and `curated`. A recipe's name is frozen to its meaning at first use. Thresholds of a batch use
the counts up to it, so an old night run again gives the old result, or those up to `balance.counts_up_to`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance import thresholds as balancing
from curation.balance.counts import read_counts
from curation.balance.keep_model import KeepProbabilities, write_keep_probabilities
from curation.balance.sampling import choose_and_draw
from curation.balance.thresholds import thresholds
from curation.errors import OutputError
from curation.hashing import u64_column
from curation.io import host_cache
from curation.io.storage import Storage, join
from curation.lake import shuffle
from curation.lake.lake import DataFile
from curation.lake.parquet import read_batches
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones
from curation.language_keys import entry_list_key
from jobs.match import open_matching
from jobs.runtime.config import Config
from jobs.runtime.job import Context, Job, main
from jobs.runtime.run_tasks import Result, file_results, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage, WriterFactory, require, same_run
from jobs.tasks.balance.totals import build_totals

ALGORITHM = 2  # of the rows this job writes; that of thresholds and draw is part of the recipe
DEFAULT_TAIL_SHARE = 0.06
ORDERED = SCHEMAS["curated"].append(pa.field("order", pa.uint64()))


def meaning(config: Config, match_id: str) -> dict[str, Any]:
    """Return what the recipe's name stands for."""
    section = config.balance
    given = {key: value for key in ("tail_share", "t_en", "p") if (value := getattr(section, key)) is not None}
    return {
        "match_id": match_id,
        "policy": section.policy,
        "selection": section.selection,
        "seed": config.seed,
        "algorithm": balancing.ALGORITHM,
        **({"counts_up_to": section.counts_up_to} if section.counts_up_to else {}),
        **({} if section.policy == "none" else given or {"tail_share": DEFAULT_TAIL_SHARE}),
    }


def counts_up_to(context: Context) -> str | None:
    """Return the batch up to which a full rebalance counts: the config's, or the one its recipe was frozen with."""
    config, lake = context.config, context.lake
    if config.balance.counts_up_to or not lake.knows_recipe(config.recipe):
        return config.balance.counts_up_to
    frozen: str | None = lake.recipe(config.recipe).get("counts_up_to")
    return frozen


@dataclass(frozen=True)
class DrawFile:
    """Draws the pairs of one file of matches and stages the kept ones by their place in the curated order."""

    storage: Storage
    model: tuple[str, str]
    tombstones: Tombstones
    seed: int
    selection: str
    bits: int
    staging: str

    def __call__(self, index: int, file: DataFile) -> Iterator[Result]:
        """Yield the staged file and the figures of its draw."""
        model = load_model(self.storage, *self.model)
        figures: Counter[str] = Counter()
        langs: Counter[str] = Counter()
        kept = [ORDERED.empty_table()]
        for batch in read_batches(self.storage, file.path):
            alive = batch.filter(self.tombstones.keep_mask(batch))
            table = choose_and_draw(alive, model, self.seed, self.selection)
            figures.update(images=batch.num_rows, tombstone=batch.num_rows - alive.num_rows)
            figures.update(curated=table.num_rows, not_drawn=alive.num_rows - table.num_rows)
            tally = table["lang"].value_counts()
            langs.update(dict(zip(*(tally.field(name).to_pylist() for name in ("values", "counts")), strict=True)))
            ranks = u64_column(self.seed, "order", table["image_id"].combine_chunks())
            kept.append(table.append_column("order", pa.array(ranks)).cast(ORDERED))
        table = in_order(pa.concat_tables(kept))
        buckets = table["order"].to_numpy() >> np.uint64(64 - self.bits) if self.bits else np.zeros(table.num_rows)
        path = join(self.staging, shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, ORDERED, shuffle.split_sorted(table, buckets, 1 << self.bits))
        yield Result("staged", stats={"path": path, "figures": figures, "langs": langs})


@dataclass(frozen=True)
class WriteBucket:
    """Writes one bucket of the curated rows in their order."""

    storage: Storage
    staged: Sequence[str]
    writers: WriterFactory

    def __call__(self, index: int, bucket: int) -> Iterator[Result]:
        """Yield the written files."""
        rows = in_order(pa.concat_tables(shuffle.read_buckets(self.storage, self.staged, range(bucket, bucket + 1))))
        with self.writers("curated", index) as writer:
            writer.write(rows.drop_columns("order"))
        yield from file_results("curated", writer.files)


def run(context: Context) -> list[Outcome]:
    """Balance the batch's matches."""
    config, lake, batch = context.config, context.lake, context.batch
    match_id = open_matching(context).match_id
    found = {"match_id": match_id, "batch": batch}
    matches = require(lake, "balance", "jobs.match", "matches", **found)
    same_run(matches, require(lake, "balance", "jobs.match", "counts", **found))
    recipe = meaning(config, match_id)
    lake.check_recipe(config.recipe, recipe)
    counted = {**found, "batch": config.balance.counts_up_to or batch}
    require(lake, "balance", "jobs.match", "counts", **counted)
    totals = build_totals(context, match_id, counted["batch"])
    tombstones = Tombstones.read(lake)
    partition = {"recipe": config.recipe, "batch": batch}
    stage = Stage(
        "balance",
        lake,
        config,
        semantic={"recipe": recipe, "bucket_bytes": config.balance.bucket_bytes, "algorithm": ALGORITHM},
        inputs={"matches": matches.run_ids, "totals": totals.run_id, "tombstones": tombstones.digest},
        outputs={"thresholds": partition, "curated": partition},
        batch=batch,
        reads=[matches],
    )
    if done := stage.finished():
        return [totals, done]
    counts = lake.snapshot("totals", counted)
    seen = {part.lang: part.counts for part in read_counts(context.storage, counts)}
    given = {key: recipe[key] for key in ("tail_share", "t_en", "p") if key in recipe}
    # a lake without any match yet has nothing to balance, and that is no mistake
    empty = SCHEMAS["thresholds"].empty_table()
    table = thresholds(seen, config.balance.policy, **given) if seen else empty
    lake.freeze_recipe(config.recipe, recipe)
    with stage.writers()("thresholds", 0) as writer:
        writer.write(table)
    path = join(stage.staging, "keep.model")
    model = path, write_keep_probabilities(context.storage, path, table, read_counts(context.storage, counts))
    stage.step("thresholds")

    bits = shuffle.bucket_bits(matches.size, config.balance.bucket_bytes)
    draw = DrawFile(context.storage, model, tombstones, config.seed, config.balance.selection, bits, stage.staging)
    drawn = run_tasks(context.spark, "balance", matches.files, draw, progress_s=config.progress_s)
    stage.step("draw")
    write = WriteBucket(context.storage, [result.stats["path"] for result in drawn], stage.writers())
    written = run_tasks(context.spark, "curated", range(1 << bits), write, progress_s=config.progress_s)
    stage.step("order")
    curated = files_of(written, "curated")
    figures, drops = add_up([result.stats for result in drawn], table)
    if figures["curated"] != sum(file.rows for file in curated) or figures["images"] != matches.rows:
        raise OutputError(f"balance: {matches.rows} matches read, {figures} counted: the books do not balance")
    figures |= {"recipe": config.recipe, "match_id": match_id}
    files = {"thresholds": writer.files, "curated": curated}
    return [totals, stage.publish(files, totals=figures, drops=drops)]


@lru_cache(maxsize=1)
def load_model(storage: Storage, path: str, sha256: str) -> KeepProbabilities:
    """Return the keep model of a run, checked and mapped once a worker process.

    Raises InputError when the file is missing or not the one the driver wrote.
    """
    return KeepProbabilities.open(host_cache.checked_file(storage, path, sha256))


def in_order(table: pa.Table) -> pa.Table:
    """Sort by order hash, then image id."""
    return table.sort_by([("order", "ascending"), ("image_id", "ascending")])


def add_up(staged: Sequence[dict[str, Any]], table: pa.Table) -> tuple[dict[str, Any], dict[str, int]]:
    """Add the figures of all units to totals and drops by reason."""
    figures: Counter[str] = Counter()
    langs: Counter[str] = Counter()
    for part in staged:
        figures.update(part["figures"])
        langs.update(part["langs"])
    english = table.filter(pc.equal(table["lang"], entry_list_key("en", table["lang"].to_pylist()))).to_pylist()
    totals = {
        "images": figures["images"],
        "curated": figures["curated"],
        "p": (english or table.to_pylist() or [{"p": None}])[0]["p"],
        "t_en": english[0]["t"] if english else None,
        "languages": table.num_rows,
        "curated_by_lang": dict(sorted(langs.items())),
    }
    return totals, {reason: figures[reason] for reason in ("not_drawn", "tombstone") if figures[reason]}


JOB = Job("balance", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.balance"))
