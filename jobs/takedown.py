"""Take images down by id, URL or host: no stage and no training run uses them any more.

    python -m jobs.takedown --config c.yaml --reason "ticket 7" --url https://a.example/1.jpg --host b.example --dry_run
    python -m jobs.takedown --config c.yaml --reason "ticket 7" --file names.txt --purge

Adds tombstones, then rebuilds the partitions that have such images, each with the config of its run, from stored images
only: nothing is downloaded. With `--purge`, the rows are removed from `pairs` too, and the old files of these
partitions are deleted at once. Prints how many images it finds in each table, and the stages of other batches that
become stale. Running it again with the same names continues a takedown that was interrupted, and changes nothing after
one that was not.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.run import run_command
from curation.errors import InputError, UsageError
from curation.lake.takedown_names import TakedownNames, read_names
from curation.lake.tombstones import Tombstones, add_tombstones
from curation.lake.view import LakeView
from curation.urls import ALGORITHM as URL_ALGORITHM
from jobs import annotate, compact, nightly, report
from jobs.runtime.batches.inventory import Inventory, newly_stale
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.takedowns import read_searches, record_search
from jobs.tasks import url_algorithms
from jobs.tasks.takedown.purge import purge_files, purge_pairs
from jobs.tasks.takedown.rebuild import Rebuild, kinds_of
from jobs.tasks.takedown.search import SearchResult, search_tables

log = logging.getLogger(__name__)


class TakedownOptions(CommandOptions):
    """What is taken down, why, and how thoroughly."""

    image_id: list[str] = Field([], description="id of an image")
    url: list[str] = Field([], description="URL of an image")
    host: list[str] = Field([], description="host of images, exactly this one: subdomains are other hosts")
    file: list[str] = Field([], description="file with ids, URLs and hosts, one per line; # starts a comment line")
    reason: str = Field("", description="why, such as a ticket; stored with each tombstone")
    date: str | None = Field(None, description="date of the tombstones, YYYY-MM-DD (default: today)")
    purge: bool = Field(False, description="also remove the rows from pairs, and delete old files at once")
    dry_run: bool = Field(False, description="only print what would be hidden and rebuilt")


STEPS = (*nightly.STEPS, compact.JOB, annotate.JOB)
COMMAND = Command("python -m jobs.takedown", __doc__ or "", TakedownOptions, Config, required=("lake",))


class Takedown:
    """One takedown: what it names, what it found, and what it changes."""

    def __init__(self, context: Context, names: TakedownNames) -> None:
        self.context, self.names, self.started = context, names, datetime.now(UTC)
        lake = context.lake
        self.view = LakeView(lake.root, context.storage, lake.order)
        self.named = Tombstones(names.all_image_ids, frozenset(names.hosts))
        self.new = self.named.without(Tombstones.read(lake).names)
        self.found: SearchResult = search_tables(context, self.view, self.named)
        named = set(self.named.names)
        searches = [self.found.search, *(search for search in read_searches(lake) if search.names & named)]
        found = {run: b for search in searches for run, b in search.batches.items() if search.found[run] & named}
        self.batches = set(found.values()) & set(self.view.batches())
        self.rebuild = Rebuild(context, STEPS, self.view, self.batches, found)

    def lines(self) -> Iterator[str]:
        """Yield what is named, what was found, and what is rebuilt."""
        old = len(self.named.names) - len(self.new.names)
        yield f"tombstones: {len(self.new.names)} new, {old} on record"
        if other := self._other_ids():
            log.warning("takedown: the URLs may have other image ids in %s: give --image_id too", ", ".join(other))
        yield from self.found.lines()
        for step, partition in self.rebuild.partitions():
            yield f"rebuild: {step.name}: {' '.join(f'{key} {value}' for key, value in partition.items())}"

    def _other_ids(self) -> list[str]:
        """Return the batches whose image ids come from another URL algorithm, if URLs are named."""
        pairs = {batch: self.view.snapshot("pairs", {"batch": batch}) for batch in self.view.batches()}
        numbers = url_algorithms.of_pairs(self.view, pairs) if self.names.urls else {}
        return [batch for batch, number in numbers.items() if number != URL_ALGORITHM]

    def run(self, reason: str, day: date | None, *, purge: bool) -> list[str]:
        """Record the search, add the tombstones and rebuild; return the lines that say what happened."""
        context, lake, kinds = self.context, self.context.lake, kinds_of(STEPS)
        before = Inventory(context, kinds, self.view).stages()
        if self.new.names:
            self._record()
            urls = [url for image_id, url in self.names.urls.items() if image_id in self.new.image_ids]
            ids = sorted(self.new.image_ids - self.names.urls.keys())
            hosts = sorted(self.new.hosts)
            add_tombstones(lake, image_ids=ids, image_urls=urls, hosts=hosts, reason=reason, day=day)
        if purge:
            found = {batch for table, _, batch in self.found.images if table == "pairs"}
            for batch in (batch for batch in self.view.batches() if batch in found):
                purge_pairs(context, batch, self.named)
        problems = self.rebuild.run(report.JOB)
        others = [*self.rebuild.datasets, *self.rebuild.duplicates]
        removed = purge_files(lake, self.batches, others) if purge else []
        after = Inventory(context, kinds, LakeView(lake.root, context.storage, lake.order)).stages()
        lines = (
            [f"purged: {count(len(removed), 'file')}, {sum(file.size for file in removed):,} bytes"] if purge else []
        )
        lines += [f"becomes stale: {line}" for line in newly_stale(before, after)]
        return [*lines, *(f"not rebuilt: {problem}" for problem in problems)]

    def _record(self) -> None:
        names, search = frozenset(self.new.names), self.found.search
        found = {run_id: some & names for run_id, some in search.found.items() if some & names}
        batches = {run_id: search.batches[run_id] for run_id in found}
        run_id = f"{self.started:%Y%m%dT%H%M%S}-takedown-{uuid.uuid4().hex[:8]}"
        totals = {"names": len(names), "images": self.found.images_in("pairs")}
        new = type(search)(names, search.searched, found, batches)
        record_search(self.context.lake, new, run_id, self.started, totals)


def takedown(argv: Sequence[str]) -> None:
    """Take down what the arguments name; write what was found and done to stdout."""
    options, config = COMMAND.parse(argv)
    day = _day(options)
    context = Context(config, "takedown")
    names = read_names(
        context.storage, image_ids=options.image_id, urls=options.url, hosts=options.host, files=options.file
    )
    plan = Takedown(context, names)
    sys.stdout.writelines(f"{line}\n" for line in plan.lines())
    if options.dry_run:
        log.info("takedown: nothing was changed")
        return
    lines = plan.run(options.reason.strip(), day, purge=options.purge)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if failed := [line for line in lines if line.startswith("not rebuilt: ")]:
        raise InputError(
            f"takedown: {count(len(failed), 'partition')} with these images could not be rebuilt "
            f"({failed[0].removeprefix('not rebuilt: ')}): the trainer and later runs skip them; rebuild or remove the "
            f"partitions, then run this command again"
        )


def _day(options: TakedownOptions) -> date | None:
    """Check the reason, and return the date of the tombstones."""
    if not options.reason.strip() and not options.dry_run:
        raise UsageError(f"--reason: missing: say why, it is stored with each tombstone (see {COMMAND.prog} --help)")
    try:
        return date.fromisoformat(options.date) if options.date else None
    except ValueError:
        raise UsageError(f"--date: {options.date!r} is not a date: give YYYY-MM-DD") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(takedown, argv)


if __name__ == "__main__":
    sys.exit(main())
