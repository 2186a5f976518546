"""The configuration of all jobs: a YAML file, overridden by environment variables, overridden by flags.

An unknown key, a wrong type or a bad value ends in one line that names the key, before anything starts. In the
environment `balance.t_en` is `WORLDCURATE_BALANCE__T_EN`; as a flag it is `--balance.t_en`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from curation.cli.annotate_config import AnnotateSection
from curation.cli.config import (
    BalanceSection,
    CompactSection,
    DedupSection,
    ImagesSection,
    MatchSection,
    Section,
    Share,
    StorageSection,
)
from curation.cli.ingest_config import IngestSection, SourceSection
from curation.cli.locations import Location
from curation.io.retry import RetryPolicy
from curation.io.storage import Storage
from metadata.config import MetadataSection


class SparkSection(Section):
    """The Spark session; ignored under spark-submit."""

    master: str = Field("local[*]", description="Spark master")
    event_log: Location | None = Field(
        None, description="folder for Spark's event logs, which its history server shows; default: none"
    )
    conf: dict[str, str] = Field({}, description="more Spark settings, which override those of the job")


class AlarmsSection(Section):
    """Comparison of a night with the nights before it; what is compared is in docs/operations.md."""

    nights: int = Field(14, ge=0, description="compare with this many earlier nights of the recipe; 0 = no alarms")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.25, description="how far, as a share of itself, a figure may be outside the range of these nights"
    )
    min_change: Share = Field(0.01, description="how far, in addition, a share may be outside the range")
    action: Literal["warn", "fail"] = Field(
        "warn", description="warn = publish with a warning; fail = end with exit code 4 and publish nothing"
    )


class GcSection(Section):
    """Removal of files that no published version needs."""

    retention_hours: int = Field(168, ge=0, description="hours to keep a file that no version needs")
    dry_run: bool = Field(False, description="only list the files that would be removed")


class Config(BaseSettings):
    """All keys of all jobs."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="WORLDCURATE_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    # what else starts with WORLDCURATE_: paths of caches, and the variables of other commands
    other_variables: ClassVar[tuple[str, ...]] = ("CACHE", "COMPILED", "TRAINING_", "EVALUATE_", "DOWNLOAD_", "API_")

    lake: Location | None = Field(None, description="the lake: a folder or s3://bucket/prefix")
    batch: str | None = Field(None, description="the input partition: a night (2024-05-31) or a crawl")
    batch_order: list[str] = Field(
        [], description="order of batches; those that are not listed follow in the order of their names"
    )
    recipe: str = Field("default", description="name of the balancing recipe")
    seed: int = Field(0, description="seed of all random choices: samples, texts per image, draws")
    max_failed_inputs: Share = Field(0.01, description="a run fails if a larger share of its input files fails")
    max_failed_files: int | None = Field(
        None, ge=0, description="a run fails if more of its input files fail, even if max_failed_inputs allows them"
    )
    progress_s: Annotated[float, Field(gt=0)] = Field(10.0, description="seconds between progress lines")
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        5.0, description="seconds before the third attempt of a task; twice as long before the fourth"
    )
    metrics: Location | None = Field(
        None, description="folder for Prometheus text files; default: LAKE/reports/metrics"
    )
    push_gateway: str | None = Field(None, description="Prometheus push gateway (host:port) that gets the metrics too")
    create: CliImplicitFlag[bool] = Field(
        False, description="create the lake if it does not exist; build_metadata always does"
    )
    metadata: MetadataSection = MetadataSection()
    ingest: IngestSection = IngestSection()
    match: MatchSection = MatchSection()
    balance: BalanceSection = BalanceSection()
    images: ImagesSection = ImagesSection()
    dedup: DedupSection = DedupSection()
    compact: CompactSection = CompactSection()
    annotate: AnnotateSection = AnnotateSection()
    storage: StorageSection = StorageSection()
    spark: SparkSection = SparkSection()
    gc: GcSection = GcSection()
    alarms: AlarmsSection = AlarmsSection()

    @model_validator(mode="before")
    @classmethod
    def _name_inputs_of_batch(cls, values: Any) -> Any:
        """Replace `{batch}` in the inputs of ingest and its sources, so that a run records the files that it read."""
        batch, section = values.get("batch"), values.get("ingest")
        if not batch or not isinstance(section, Mapping):
            return values
        section = _with_batch(section, str(batch))
        if isinstance(section.get("sources"), list | tuple):
            section["sources"] = [_with_batch(source, str(batch)) for source in section["sources"]]
        return {**values, "ingest": section}

    def for_batch(self, batch: str) -> Self:
        """Return the configuration of a batch, which replaces `{batch}` in the inputs."""
        return type(self).model_validate({**self.model_dump(), "batch": batch})

    def open_storage(self) -> Storage:
        """Return the storage these keys describe."""
        return Storage(**self.storage.model_dump())

    def open_inputs(self, source: SourceSection) -> Storage:
        """Return the storage of the inputs of a source."""
        ingest = self.ingest
        retry_policy = RetryPolicy(ingest.retries, ingest.backoff_s, ingest.timeout_s)
        return Storage(**(source.storage or self.storage).model_dump(), retry_policy=retry_policy)


def _with_batch(section: Any, batch: str) -> Any:
    """Return a section before validation, with `{batch}` in its inputs replaced."""
    inputs = section.get("inputs") if isinstance(section, Mapping) else None
    if not isinstance(inputs, str | list | tuple):
        return dict(section) if isinstance(section, Mapping) else section
    paths = [inputs] if isinstance(inputs, str) else inputs
    named = [path.replace("{batch}", batch) if isinstance(path, str) else path for path in paths]
    return {**section, "inputs": named}
