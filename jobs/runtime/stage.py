"""A stage and one run of it: is there work to do, where do its files go, and how are they published.

A stage's fingerprint hashes the config keys that affect its result, its inputs by content and its algorithm number. If
one complete run with this fingerprint wrote every output partition, the stage has nothing to do and says so. Otherwise
it writes data files under a new run id and publishes them: ledger rows first (the rows of a run that never finishes
count for nothing), then the tables, the dependent one last, then the run's row.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from curation.lake.files import Snapshot, WrittenFile
from curation.lake.lake import Lake
from curation.lake.presence import file_problems
from curation.redaction import know_secrets
from jobs.runtime.batches.drift import with_alarms
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.freshness import Freshness, assess, fingerprint_of
from jobs.runtime.ledger import LedgerRow, failed_files, ledger_table, too_many_failed
from jobs.runtime.metrics import write_failure
from jobs.runtime.partitions import WriterFactory, check_written
from jobs.runtime.runs import Outcome, append_run, describe_run, earlier_outcome, find_run, recover_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """The output of a stage: files by table, counters, and the rows of its input files for the ledger.

    `complete` is False if input files failed, so that the next run tries them again. A stage that knows its output
    partitions only after its work gives them as `outputs`.
    """

    files: Mapping[str, Sequence[WrittenFile]]
    totals: Mapping[str, Any]
    drops: Mapping[str, int] = field(default_factory=dict)
    complete: bool = True
    ledger: Sequence[LedgerRow] = ()
    outputs: Mapping[str, Mapping[str, str]] | None = None


class StageRun:
    """One run of a stage.

    Args:
        name: the stage, as in the runs table.
        lake: where it reads and writes.
        config: the whole resolved config, stored in the run's row.
        fingerprint_keys: the config keys and algorithm numbers that affect the result.
        inputs: the inputs by content: run ids, or path, tag and size of files.
        outputs: output tables with their partitions, in the order of publication.
        batch: the batch, empty for stages that have none.
        reads: the input tables; their versions are recorded in the run's row and not part of the fingerprint.
        recorded: what the run's row has in the place of `inputs`, if these grow with the lake.
    """

    def __init__(
        self,
        name: str,
        lake: Lake,
        config: Config,
        *,
        fingerprint_keys: Mapping[str, Any],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Mapping[str, str]],
        batch: str = "",
        reads: Sequence[Snapshot] = (),
        recorded: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.lake, self.config, self.batch = name, lake, config, batch
        self.outputs: dict[str, Mapping[str, str]]
        self.inputs = dict(inputs)
        self.recorded = self.inputs if recorded is None else dict(recorded)
        know_secrets([config.model_dump(), inputs])
        self.versions = {snapshot.table: snapshot.version for snapshot in reads}
        self.set_keys(fingerprint_keys)
        self.started = datetime.now(UTC)
        self.run_id = f"{self.started:%Y%m%dT%H%M%S}-{self.fingerprint[:12]}-{uuid.uuid4().hex[:8]}"
        self.set_outputs(outputs)
        self._steps = [("start", self.started)]

    def freshness(self, find: Callable[[Lake, str, str], dict[str, Any] | None] = find_run) -> Freshness:
        """Return whether the outputs are those of one complete run with this fingerprint. `find_run` writes nothing."""
        owners = sorted({run for runs in self._published.values() for run in runs})
        if owners and not all(self._published.values()):
            return Freshness("interrupted", "a run was interrupted between its tables")
        row = find(self.lake, owners[0], next(iter(self.outputs))) if len(owners) == 1 else None
        freshness = assess(row, owners, self.name, self.fingerprint_keys, self.inputs, self.recorded)
        if freshness.fresh and (lost := self._lost_files()):
            problems = "; ".join(f"{path}: {problem}" for path, problem in lost.items())
            return Freshness("damaged", problems, row)
        return freshness

    def finished(self) -> Outcome | None:
        """Return the outcome of the complete run with this fingerprint that owns the outputs, if there is one.

        Outputs with missing or shortened files are not finished; the log names the files.
        """
        freshness = self.freshness(recover_run)
        if freshness.state == "damaged":
            log.warning("%s: %s: building it again", self.name, freshness.reason)
        return earlier_outcome(freshness.row) if freshness.fresh and freshness.row else None

    def _lost_files(self) -> dict[str, str]:
        """Return a problem by path for the files of the outputs that are missing or have another size."""
        lost: dict[str, str] = {}
        for table, partition in self.outputs.items():
            lost |= file_problems(self.lake.storage, self.lake.snapshot(table, partition).files)
        return lost

    def same_work(self) -> Outcome | None:
        """Return the outcome of the newest complete run with this fingerprint, if there is one.

        For a stage that learns its output partitions from its work; the caller checks that they still exist.
        """
        same = self.lake.rows("runs", {"fingerprint": [self.fingerprint], "complete": [True]})
        rows = same.sort_by([("finished", "descending")]).to_pylist()
        return earlier_outcome(rows[0]) if rows else None

    def set_keys(self, fingerprint_keys: Mapping[str, Any]) -> None:
        """Set the keys of the fingerprint, for a run whose result is not what its settings would give."""
        self.fingerprint_keys = fingerprint_keys
        self.fingerprint = fingerprint_of(self.name, fingerprint_keys, self.inputs)

    def set_outputs(self, outputs: Mapping[str, Mapping[str, str]]) -> None:
        """Set the output partitions and note which runs own them now."""
        self.outputs = dict(outputs)
        self._published = {table: self.lake.snapshot(table, part).run_ids for table, part in self.outputs.items()}

    def writers(self) -> WriterFactory:
        """Return the factory of this run's writers, for workers."""
        return WriterFactory(self.lake.storage, self.lake.root, self.run_id, self.outputs)

    def step(self, name: str) -> None:
        """Record that the step `name` ends now."""
        self._steps.append((name, datetime.now(UTC)))

    def publish(self, publication: Publication) -> Outcome:
        """Commit the outputs in their order, then the run's row. Raises OutputError if another run published first."""
        if publication.outputs is not None:
            self.set_outputs(publication.outputs)
        check_written(self.lake, self.name, publication.files)
        self.append_ledger(publication.ledger)
        self.step("publish")
        row = self._row(publication)
        for table, partition in self.outputs.items():
            self.lake.publish(
                table,
                partition,
                publication.files[table],
                expected=self._published[table],
                metadata={"run_id": self.run_id, "fingerprint": self.fingerprint, "run": json.dumps(row)},
            )
        append_run(self.lake, row)
        self.remove_staging()
        totals, drops = dict(publication.totals), dict(publication.drops)
        seconds, complete = json.loads(row["seconds"]), publication.complete
        return Outcome(self.name, self.run_id, True, totals, drops, seconds, complete=complete)

    def append_ledger(self, ledger: Sequence[LedgerRow]) -> None:
        """Add one row per input file to the ledger."""
        if ledger:
            self.lake.append("ledger", ledger_table(ledger, self.run_id, self.batch))

    def check_failed(self, ledger: Sequence[LedgerRow]) -> list[LedgerRow]:
        """Return the rows of the input files that failed.

        Raises InputError if there are more than `max_failed_inputs` and `max_failed_files` allow; then the ledger keeps
        its rows, and nothing else is published.
        """
        failed = failed_files(self.name, ledger)
        if error := too_many_failed(self.name, failed, len(ledger), self.config):
            self.append_ledger(ledger)
            self.remove_staging()
            raise error
        return failed

    @property
    def staging(self) -> str:
        """Folder of this run's working files; no other stage reads it."""
        return self.lake.layout.run_staging(self.run_id)

    def remove_staging(self) -> None:
        """Remove this run's working files."""
        self.lake.storage.delete_folder(self.staging)

    def _row(self, publication: Publication) -> dict[str, Any]:
        """Return the row of this run, which ends now."""
        return {
            "run_id": self.run_id,
            "stage": self.name,
            "batch": self.batch,
            "fingerprint": self.fingerprint,
            "complete": publication.complete,
            **describe_run(
                self.config,
                inputs=self.recorded,
                settings=self.fingerprint_keys,
                versions=self.versions,
                totals=publication.totals,
                drops=publication.drops,
                steps=self._steps,
            ),
        }


class Stage(ABC):
    """A stage of a job: subclasses declare its inputs and outputs, and do the work.

    Their constructors set `fingerprint_keys`, `inputs`, `outputs` and, where they need them, `reads` and `recorded`
    (see `StageRun`), and write nothing. `tables` are the tables of their outputs, the main one last.
    """

    name: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    fingerprint_keys: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, str]]
    reads: Sequence[Snapshot] = ()
    recorded: Mapping[str, Any] | None = None
    batch: str = ""

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def applies(cls, config: Config) -> bool:  # noqa: ARG003
        """Return whether a config asks for this stage."""
        return True

    @classmethod
    def open(cls, context: Context) -> Self:
        """Return the stage that the context's config asks for."""
        return cls(context)

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage that published a partition, from a context with the config recorded in its run's row."""
        return cls.open(context)

    @abstractmethod
    def execute(self, run: StageRun) -> Publication:
        """Do the work of the stage and return its output."""

    def earlier(self, run: StageRun) -> Outcome | None:
        """Return the outcome of an earlier run that makes this one unnecessary."""
        return run.finished()

    def finished(self) -> Outcome | None:
        """Return the outcome of an earlier run that did the same work, if there is one, without starting a run."""
        return self.earlier(self._new_run())

    def freshness(self) -> Freshness:
        """Return whether the stage has work to do, and why. Writes nothing."""
        return self._new_run().freshness()

    def check(self, freshness: Freshness) -> None:  # noqa: B027 - most stages accept every replacement
        """Raise UsageError if the stage must not replace the output that it found."""

    def run(self) -> Outcome:
        """Run the stage, unless an earlier run did the same work, and publish its outputs.

        The metrics of the stage say so if it fails.
        """
        started = time.monotonic()
        try:
            outcome = self._run()
        except BaseException as error:
            write_failure(self.context, self.name, time.monotonic() - started, error)
            raise
        outcome.elapsed = time.monotonic() - started
        return outcome

    def _run(self) -> Outcome:
        run = self._new_run()
        if outcome := self.earlier(run):
            return outcome
        self.check(run.freshness())
        made = self.execute(run)
        totals = with_alarms(run, made.totals) if self.context.fetch else made.totals  # takedowns are not judged
        return run.publish(replace(made, totals=totals))

    def _new_run(self) -> StageRun:
        return StageRun(
            self.name,
            self.context.lake,
            self.context.config,
            fingerprint_keys=self.fingerprint_keys,
            inputs=self.inputs,
            outputs=self.outputs,
            batch=self.batch,
            reads=self.reads,
            recorded=self.recorded,
        )
