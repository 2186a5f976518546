"""The context of a job: its configuration, and the storage, lake and Spark session that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from pyspark.sql import SparkSession

from curation.cli.tracing import span
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs.runtime import session
from jobs.runtime.config import Config
from jobs.runtime.lost_spark import named_loss
from jobs.runtime.run_tasks import Task, run_tasks

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Context:
    """The configuration of a job, with its storage, lake and Spark session, which start on first use.

    Attributes:
        config: the configuration.
        name: the job.
        replace: whether ingest may replace a published batch that was read with other settings or from other files.
        dry_run: whether the job only says what it would do.
        fetch: whether images may be requested; without it, only stored images are used.
        catch_up: whether nightly runs all nights that have something to do.
        since: the first batch that `catch_up` looks at; None means all.
        retry_failed: reasons for which images failed that are requested again; () means all reasons.
    """

    config: Config
    name: str
    replace: bool = False
    dry_run: bool = False
    fetch: bool = True
    retry_failed: tuple[str, ...] | None = None
    catch_up: bool = False
    since: str | None = None

    @cached_property
    def storage(self) -> Storage:
        """The storage of the lake and of metadata's sources."""
        return self.config.open_storage()

    @cached_property
    def lake(self) -> Lake:
        """The lake of the configuration; it is created if the configuration says so.

        Raises UsageError if there is no lake.
        """
        assert self.config.lake is not None, "checked when the config was read"
        lake = Lake(self.config.lake, self.storage, self.config.batch_order)
        if self.config.create:
            lake.create()
        else:
            lake.check_exists()
        return lake

    @cached_property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return session.start(self.name, self.config.spark)

    @property
    def cores(self) -> int:
        """The number of tasks that run at the same time."""
        with named_loss():
            return int(self.spark.sparkContext.defaultParallelism)

    def with_config(self, config: Config, lake: Lake | None = None) -> Context:
        """Return a context with another configuration, for the same lake or a view of it."""
        other = replace(self, config=config)
        other.__dict__.update(storage=self.storage, lake=lake or self.lake)  # fills the cached properties
        return other

    def for_batch(self, batch: str) -> Context:
        """Return a context for another batch of the same lake, whose name replaces `{batch}` in the inputs."""
        return self.with_config(self.config.for_batch(batch))

    @property
    def batch(self) -> str:
        """The batch of the configuration."""
        assert self.config.batch is not None, "checked when the config was read"
        return self.config.batch

    def run_tasks(
        self,
        name: str,
        units: Sequence[Unit],
        task: Task[Unit, Result],
        *,
        on_crash: Task[Unit, Result] | None = None,
        at_once: int | None = None,
    ) -> list[Result]:
        """Run a task over work units on Spark and return their results in order (see `jobs.runtime.run_tasks`).

        Without work units Spark does not start.
        """
        if not units:
            return []
        seconds = {"progress_s": self.config.progress_s, "backoff_s": self.config.backoff_s}
        with span(name, units=len(units)):
            return run_tasks(self.spark, name, units, task, **seconds, on_crash=on_crash, at_once=at_once)
