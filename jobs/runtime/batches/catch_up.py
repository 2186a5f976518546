"""Finds the batches of which a night would do something: late, missing, failed and stale ones, in order.

Batches are those of the lake, and those whose inputs exist: an input such as `/data/{batch}/*.wat.gz` names them. A
batch is judged as its night would judge it, after the nights before it have run, because they may have made it stale.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from curation.cli.counts import count
from curation.errors import InputError, LostSparkError, StorageFullError, UsageError, WorldcurateError
from curation.io.paths import is_http
from curation.lake.names import PARTITION_VALUE
from jobs.runtime.batches.plan import decide
from jobs.runtime.context import Context
from jobs.runtime.job import Job
from jobs.runtime.runs import Outcome

log = logging.getLogger(__name__)

PLACE = "{batch}"
Run = Callable[[Context, Sequence[Job]], list[Outcome]]


def catch_up(context: Context, steps: Sequence[Job], run: Run) -> list[Outcome]:
    """Run the nights that have something to do, in order; with `dry_run`, only write them to stdout.

    A batch that fails does not stop the others. Raises WorldcurateError, with the exit code of the first failure, if
    any did, and StorageFullError and LostSparkError at once.
    """
    outcomes, errors = list[Outcome](), dict[str, WorldcurateError]()
    batches = _batches(context)
    for batch in batches:
        night = context.for_batch(batch)
        try:
            possible = _possible_steps(night, steps)
            if reason := _first_work(night, possible):
                log.info("catch_up: batch %s: %s", batch, reason)
                if context.dry_run:
                    sys.stdout.write(f"{batch}: {reason}\n")
                else:
                    outcomes += run(night, possible)
        except (StorageFullError, LostSparkError):  # the next batch would meet the same
            raise
        except WorldcurateError as error:
            log.warning("catch_up: batch %s failed: %s", batch, error)
            errors[batch] = error
    if errors:
        batch, first = next(iter(errors.items()))
        failure = WorldcurateError(
            f"catch_up: {len(errors)} of {count(len(batches), 'batch')} failed, {batch}: {first}"
        )
        failure.exit_code = first.exit_code
        raise failure
    return outcomes


def _batches(context: Context) -> list[str]:
    """Return the batches to look at, in their order."""
    lake, since = context.lake, context.since
    known = {*lake.batches(), *_batches_with_inputs(context)}
    ordered = lake.in_order(known)
    return ordered if since is None else ordered[len(lake.up_to(since, known)) - 1 :]


def _batches_with_inputs(context: Context) -> Iterator[str]:
    """Yield the names that stand for `{batch}` in the paths that exist."""
    for source in context.config.ingest.all_sources():
        storage = context.config.open_inputs(source)
        for pattern in source.inputs:
            if PLACE in pattern and not is_http(pattern):
                folder, name = _split(pattern)
                before, _, after = name.partition(PLACE)
                expected = re.compile(f"{re.escape(before)}(?P<batch>{PARTITION_VALUE.pattern}){re.escape(after)}")
                for entry in storage.list_names(folder):
                    if found := expected.fullmatch(entry):
                        yield found["batch"]


def _split(pattern: str) -> tuple[str, str]:
    """Return the folder in which `{batch}` is looked for, and the name there. Raises UsageError if it has wildcards."""
    before, _, after = pattern.partition(PLACE)
    folder, slash, start = before.rpartition("/")
    name = start + PLACE + after.partition("/")[0]
    if any(char in folder + name for char in "*?[") or name.count(PLACE) > 1:
        raise UsageError(f"ingest.inputs: {pattern}: --catch_up finds batches only by {PLACE} before any wildcard")
    return folder or slash or ".", name


def _possible_steps(night: Context, steps: Sequence[Job]) -> Sequence[Job]:
    """Return the steps that can be run: without ingest if the batch is published and its inputs are gone."""
    ingest, *later = steps
    try:
        for kind in ingest.stages:
            kind.open(night)
    except InputError as error:
        if night.batch not in night.lake.batches():
            raise
        log.info("catch_up: batch %s is not ingested again: %s", night.batch, error)
        return later
    return steps


def _first_work(night: Context, steps: Sequence[Job]) -> str:
    """Return the first stage that would run, and why; nothing if none would."""
    for kind in (kind for step in steps for kind in step.stages if kind.applies(night.config)):
        runs, reason = decide(kind.open(night))
        if runs:
            return f"{kind.name} runs: {reason}"
    return ""
