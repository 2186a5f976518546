"""Show the batches and datasets of a lake, and for each stage whether its output is up to date, and its size.

    python -m jobs.status --config c.yaml

The state of a stage is `fresh`, `stale` (an input, the settings or an algorithm changed, or it is made from something
that is not up to date), `incomplete` (the next run repeats it), `interrupted`, `damaged`, `missing`, or
`unknown` (it cannot be judged here; the reason says why). A stage is judged with the config that its run recorded.
Input files outside the lake are not looked at; `jobs.nightly --dry_run` does that. Needs no Spark and changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.run import run_command
from curation.lake.schemas import PARTITIONS
from curation.lake.view import LakeView
from jobs import annotate, compact, count_tokens, nightly
from jobs.runtime.batches.inventory import Inventory, PublishedStage
from jobs.runtime.config import Config
from jobs.runtime.context import Context

HEADINGS = ("batch", "stage", "match_id or recipe, kind", "state", "rows", "bytes", "finished (UTC)", "reason")


@dataclass(frozen=True)
class Status:
    """What a lake holds."""

    lake: str
    batches: Sequence[str]
    stages: Sequence[PublishedStage]
    tables: dict[str, dict[str, int]]

    def lines(self) -> Iterator[str]:
        """Yield a table to read: the stages of every batch, then the totals."""
        rows = [HEADINGS, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
        for row in rows:
            cells = [
                cell.rjust(width) if heading in ("rows", "bytes") else cell.ljust(width)
                for heading, cell, width in zip(HEADINGS, row, widths, strict=False)
            ]
            yield "  ".join([*cells, row[-1]]).rstrip()
        states = Counter(stage.freshness.state for stage in self.stages)
        size = sum(table["bytes"] for table in self.tables.values())
        counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        yield f"{self.lake}: {count(len(self.batches), 'batch')}, stages: {counted or 'none'}; {size:,} bytes in tables"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        known = [*self.batches, *sorted({stage.of for stage in self.stages} - set(self.batches))]
        for batch in known:
            for stage in self.stages:
                if stage.of == batch:
                    state, reason = stage.freshness.state, stage.freshness.reason
                    figures = (f"{stage.rows:,}", f"{stage.size:,}", stage.finished)
                    yield (batch, stage.stage, stage.name, state, *figures, reason)

    def as_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        order = {batch: number for number, batch in enumerate(self.batches)}
        stages = [
            {
                "batch": stage.partition.get("batch"),
                "dataset": stage.partition.get("dataset"),
                "order": order.get(stage.partition.get("batch", "")),
                "stage": stage.stage,
                "match_id": stage.partition.get("match_id"),
                "recipe": stage.partition.get("recipe"),
                "kind": stage.partition.get("kind"),
                "tokenizer": stage.partition.get("tokenizer"),
                "state": stage.freshness.state,
                "reason": stage.freshness.reason,
                "run_id": stage.run_id or None,
                "finished": stage.finished or None,
                "rows": stage.rows,
                "bytes": stage.size,
            }
            for stage in self.stages
        ]
        return {"lake": self.lake, "batches": list(self.batches), "stages": stages, "tables": self.tables}


def read_status(context: Context, since: str | None = None) -> Status:
    """Read the state of every published stage, and the size of every table, at one moment.

    `since` is the first batch whose stages are read and judged; None means all.
    """
    view = LakeView(context.lake.root, context.storage, context.lake.order, few=since is not None)
    kinds = [kind for step in (*nightly.STEPS, compact.JOB, annotate.JOB, count_tokens.JOB) for kind in step.stages]
    stages = Inventory(context, kinds, view, since).stages()
    tables = {}
    for name in PARTITIONS:
        snapshot = view.snapshot(name)
        if snapshot.version >= 0:
            tables[name] = {"files": len(snapshot.files), "rows": snapshot.rows, "bytes": snapshot.size}
    batches = view.batches()
    shown = batches if since is None else [batch for batch in batches if batch not in view.up_to(since, batches)[:-1]]
    return Status(context.lake.root, shown, stages, tables)


class StatusOptions(CommandOptions):
    """How to print."""

    json_: bool = Field(False, alias="json", description="print JSON instead of a table")
    since: str | None = Field(None, description="the first batch to show; default: all")


COMMAND = Command("python -m jobs.status", __doc__ or "", StatusOptions, Config, required=("lake",))


def status(argv: Sequence[str]) -> None:
    """Write the status of the config's lake to stdout."""
    options, config = COMMAND.parse(argv)
    found = read_status(Context(config, "status"), options.since)
    text = json.dumps(found.as_json(), ensure_ascii=False, indent=1) if options.json_ else "\n".join(found.lines())
    sys.stdout.write(text + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(status, argv)


if __name__ == "__main__":
    sys.exit(main())
