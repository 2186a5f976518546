"""Balance head and tail: a threshold per language, a keep probability per text, and a seeded draw.

Publishes `thresholds` and `curated`. The name of a recipe is frozen to its settings at first use. The thresholds of a
batch use the counts up to that batch, so an old batch balanced again gives the old result; or those up to
`balance.counts_up_to`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.counts import read_counts
from curation.balance.keep_model import write_keep_probabilities
from curation.balance.thresholds import thresholds
from curation.errors import OutputError
from curation.io.paths import join
from curation.lake import shuffle
from curation.lake.files import WrittenFile
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones
from curation.language_keys import entry_list_key
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome
from jobs.runtime.spec import SOURCES_OF_P
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.runtime.takedowns import relevant_digest
from jobs.tasks.balance.draw import DrawFile, DrawnFile, WriteBucket
from jobs.tasks.balance.inputs import BalanceInputs
from jobs.tasks.balance.totals import TotalsStage, build_totals

ALGORITHM = 2  # of the rows that this job writes; the algorithm of thresholds and draws is part of the recipe


class BalanceStage(Stage):
    """Balances the matches of a batch and publishes thresholds and curated pairs."""

    name: ClassVar[str] = "balance"
    tables: ClassVar[tuple[str, ...]] = ("thresholds", "curated")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        inputs, self.batch = BalanceInputs.open(context), context.batch
        self.matches, self.recipe = inputs.matches, inputs.recipe
        self.totals = require(context.lake, "balance", "jobs.balance", "totals", **inputs.counted)
        self.tombstones = Tombstones.read(context.lake)
        partition = {"recipe": context.config.recipe, "batch": self.batch}
        self.fingerprint_keys = {
            "recipe": self.recipe,
            "bucket_bytes": context.config.balance.bucket_bytes,
            "algorithm": ALGORITHM,
        }
        self.inputs = {
            "matches": self.matches.run_ids,
            "totals": self.totals.run_ids[0],
            "tombstones": relevant_digest(context.lake, self.tombstones, self.matches),
        }
        self.outputs = {"thresholds": partition, "curated": partition}
        self.reads = [self.matches]

    def execute(self, run: StageRun) -> Publication:
        """Compute thresholds and keep probabilities, draw the pairs and write them in order."""
        context = self.context
        table = self._thresholds()
        context.lake.freeze_recipe(context.config.recipe, self.recipe)
        with run.writers()("thresholds", 0) as writer:
            writer.write(table)
        model = self._write_model(run, table)
        run.step("thresholds")
        drawn, curated = self._draw(run, model)
        totals, drops = add_up(drawn, table)
        rows = sum(file.rows for file in curated)
        if totals["curated"] != rows or totals["images"] != self.matches.rows:
            raise OutputError(
                f"balance: counts do not add up: read {self.matches.rows} images, counted {totals['images']}; "
                f"wrote {rows} rows, drew {totals['curated']}"
            )
        totals |= {"recipe": context.config.recipe, "match_id": self.recipe["match_id"]}
        return Publication({"thresholds": writer.files, "curated": curated}, totals, drops)

    def _thresholds(self) -> pa.Table:
        """Return the threshold of every language; an empty table if the lake has no match yet."""
        counts = {part.lang: part.counts for part in read_counts(self.context.storage, self.totals)}
        source_of_p = {key: self.recipe[key] for key in SOURCES_OF_P if key in self.recipe}
        if not counts:
            return SCHEMAS["thresholds"].empty_table()
        return thresholds(counts, self.context.config.balance.policy, **source_of_p)

    def _write_model(self, run: StageRun, table: pa.Table) -> tuple[str, str]:
        """Stage the keep probabilities for the workers; return their path and checksum."""
        storage, path = self.context.storage, join(run.staging, "keep.model")
        return path, write_keep_probabilities(storage, path, table, read_counts(storage, self.totals))

    def _draw(self, run: StageRun, model: tuple[str, str]) -> tuple[list[DrawnFile], list[WrittenFile]]:
        """Draw the pairs of every file of matches, then write them in the curated order."""
        context, section = self.context, self.context.config.balance
        bits = shuffle.bucket_bits(self.matches.size, section.bucket_bytes)
        draw = DrawFile(
            context.storage, model, self.tombstones, context.config.seed, section.selection, bits, run.staging
        )
        drawn = context.run_tasks("balance", self.matches.files, draw)
        run.step("draw")
        write = WriteBucket(context.storage, [part.staged for part in drawn], run.writers())
        written = context.run_tasks("curated", range(1 << bits), write)
        run.step("order")
        return drawn, [file for files in written for file in files]


def run(context: Context) -> list[Outcome]:
    """Balance the batch's matches."""
    return [build_totals(context), BalanceStage(context).run()]


def add_up(drawn: Sequence[DrawnFile], table: pa.Table) -> tuple[dict[str, Any], dict[str, int]]:
    """Add the counters of all work units to totals and drops by reason."""
    langs: Counter[str] = Counter()
    for part in drawn:
        langs.update(part.langs)
    english = table.filter(pc.equal(table["lang"], entry_list_key("en", table["lang"].to_pylist()))).to_pylist()
    totals = {
        "images": sum(part.images for part in drawn),
        "curated": sum(part.curated for part in drawn),
        "p": (english or table.to_pylist() or [{"p": None}])[0]["p"],
        "t_en": english[0]["t"] if english else None,
        "languages": table.num_rows,
        "curated_by_lang": dict(sorted(langs.items())),
    }
    drops = {
        "not_drawn": sum(part.not_drawn for part in drawn),
        "tombstone": sum(part.tombstone for part in drawn),
    }
    return totals, {reason: count for reason, count in drops.items() if count}


JOB = Job("balance", __doc__ or "", run, stages=(TotalsStage, BalanceStage), sections=("balance",), holds_lease=True)

if __name__ == "__main__":
    sys.exit(main("jobs.balance"))
