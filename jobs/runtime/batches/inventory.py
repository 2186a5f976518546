"""Lists what a lake holds, stage by stage, and whether it still agrees with what it was made from.

Every published partition is judged as its stage would judge it: the stage is opened again with the config that its run
recorded, and asked for its freshness. What is made from an output that is not up to date is not up to date either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from curation.errors import InputError, WorldcurateError
from curation.lake.view import LakeView
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.freshness import Freshness, assess, recorded_inputs
from jobs.runtime.runs import find_run
from jobs.runtime.stage import Stage

CURRENT_KEYS = (
    "lake",
    "storage",
    "spark",
    "metrics",
    "progress_s",
    "backoff_s",
)  # where and how to run, not what was made


@dataclass(frozen=True)
class PublishedStage:
    """The output of one stage in one partition: its state, the run that wrote it, and its size."""

    stage: str
    partition: Mapping[str, str]
    freshness: Freshness
    run_id: str = ""
    rows: int = 0
    size: int = 0

    @property
    def of(self) -> str:
        """The batch, or the dataset that was compacted from several."""
        return self.partition["batch"] if "batch" in self.partition else f"dataset {self.partition['dataset']}"

    @property
    def name(self) -> str:
        """The recipe or match_id, and the kind of annotations or the tokenizer."""
        return " ".join(
            self.partition[key] for key in ("recipe", "match_id", "kind", "tokenizer") if key in self.partition
        )

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Stage and partition."""
        return self.stage, tuple(sorted(self.partition.items()))

    def line(self) -> str:
        """Return batch, stage, name, and the reason of its state."""
        what = " ".join(filter(None, [self.stage, self.name]))
        of = f"batch {self.of}" if "batch" in self.partition else self.of
        return f"{of}: {what}: {self.freshness.reason}"

    @property
    def finished(self) -> str:
        """When the run that wrote it finished, in UTC."""
        row = self.freshness.row
        return str(row["finished"])[:19].replace("T", " ") if row else ""


class Inventory:
    """The stages that are published in a lake, read at one moment.

    Args:
        context: gives access to the lake; only the keys of access of its config are used.
        kinds: the stages of a night, in order.
        view: the lake.
        since: the first batch to judge; earlier ones count as up to date. None means all.
    """

    def __init__(
        self, context: Context, kinds: Sequence[type[Stage]], view: LakeView, since: str | None = None
    ) -> None:
        self.context, self.kinds, self.view = context, kinds, view
        self._earlier = set(view.up_to(since, view.batches())[:-1]) if since is not None else set[str]()
        self.recipes: dict[str, dict[str, Any]] = {}
        self._unreadable: dict[str, str] = {}  # the problem of each recipe whose file is damaged
        for name in sorted({partition["recipe"] for partition in view.partitions("curated")}):
            if view.knows_recipe(name):
                self._read_recipe(name)
        self._metadata = dict(self._metadata_versions())

    def stages(self) -> list[PublishedStage]:
        """Return every published output by stage and partition, and the outputs that are missing after others."""
        judged: dict[Any, PublishedStage] = {}
        for kind in self.kinds:
            for partition in self._partitions(kind):
                stage = self._judge(kind, partition)
                judged[stage.key] = self._follow(stage, judged)
            for partition in filter(self._is_judged, list(self._missing(kind, judged))):
                missing = PublishedStage(kind.name, partition, Freshness("missing", "it has not been run"))
                judged.setdefault(missing.key, missing)
        return list(judged.values())

    def reopen(self, kind: type[Stage], partition: Mapping[str, str], row: Mapping[str, Any]) -> Stage:
        """Return the stage that published a partition, with the config of its run and today's access to the lake."""
        return kind.reopen(self.context.with_config(self.recorded_config(partition, row), self.view), row, partition)

    def recorded_config(self, partition: Mapping[str, str], row: Mapping[str, Any]) -> Config:
        """Return the config of a run; the metadata version is the one that was used, whatever its name was then."""
        config = Config.model_validate(json.loads(row["config"]))
        match_id = partition.get("match_id") or self._match_id(partition)
        section = config.metadata.model_copy(update={"version": self._metadata.get(match_id, config.metadata.version)})
        current = {key: getattr(self.context.config, key) for key in CURRENT_KEYS}
        named: dict[str, Any] = {key: partition[key] for key in ("batch", "recipe") if key in partition}
        if "kind" in partition:
            named["annotate"] = config.annotate.model_copy(update={"kinds": [partition["kind"]]})
        return config.model_copy(update={**current, **named, "metadata": section})

    def _read_recipe(self, name: str) -> None:
        try:
            self.recipes[name] = self.view.recipe(name)
        except InputError as error:
            self._unreadable[name] = str(error)

    def _judge(self, kind: type[Stage], partition: Mapping[str, str]) -> PublishedStage:
        snapshots = [self.view.snapshot(table, partition) for table in kind.tables]
        owners = sorted({run_id for snapshot in snapshots for run_id in snapshot.run_ids})
        row = find_run(self.view, owners[0], snapshots[0].table) if len(owners) == 1 else None
        freshness = self._reassess(kind, partition, row) if row else assess(None, owners, kind.name, {}, {})
        size = sum(snapshot.size for snapshot in snapshots)
        return PublishedStage(kind.name, partition, freshness, ", ".join(owners), snapshots[-1].rows, size)

    def _reassess(self, kind: type[Stage], partition: Mapping[str, str], row: Mapping[str, Any]) -> Freshness:
        if problem := self._unreadable.get(partition.get("recipe", "")):
            return Freshness("unknown", problem, row)
        try:
            stage = self.reopen(kind, partition, row)
        except ValidationError:
            return Freshness("unknown", "its config was recorded by another version of worldcurate", row)
        except InputError as error:
            return Freshness("stale", str(error), row)
        except WorldcurateError as error:
            return Freshness("unknown", str(error), row)
        if dict(stage.outputs[kind.tables[0]]) != dict(partition):
            return Freshness("stale", "the language-ID model or an algorithm of matching has changed", row)
        freshness = stage.freshness()
        return replace(freshness, row=row)

    def _follow(self, stage: PublishedStage, judged: Mapping[Any, PublishedStage]) -> PublishedStage:
        """Mark a stage as stale if one that it is made from is not up to date."""
        if not stage.freshness.fresh:
            return stage
        for key in self._sources(stage):
            source = judged.get(key)
            if source and source.freshness.state not in ("fresh", "unknown"):
                reason = f"{source.stage} of batch {source.partition['batch']} is {source.freshness.state}"
                return replace(stage, freshness=replace(stage.freshness, state="stale", reason=reason))
        return stage

    def _sources(self, stage: PublishedStage) -> Iterator[Any]:
        """Yield the keys of the stages that a stage is made from."""
        batch, match_id = stage.partition.get("batch", ""), self._match_id(stage.partition)
        if stage.stage == "compact" and stage.freshness.row:
            recipe = stage.partition["recipe"]
            sources = recorded_inputs(stage.freshness.row)["shards"]
            yield from (_key("shards", recipe=recipe, batch=source) for source in sources)
        elif stage.stage in ("annotate", "count_tokens"):
            yield _key("shards", recipe=stage.partition["recipe"], batch=batch)
        elif stage.stage == "match":
            yield _key("ingest", batch=batch)
        elif stage.stage == "totals":
            yield from (_key("match", match_id=match_id, batch=name) for name in self.view.batches_up_to(batch))
        elif stage.stage == "balance":
            counted = self.recipes.get(stage.partition["recipe"], {}).get("counts_up_to", batch)
            yield _key("match", match_id=match_id, batch=batch)
            yield _key("totals", match_id=match_id, batch=counted)
        elif stage.stage == "images":
            yield _key("balance", **stage.partition)
        elif stage.stage == "duplicates":
            for name in self.view.batches_up_to(batch):
                yield _key("images", **{**stage.partition, "batch": name})
                yield _key("duplicates", **{**stage.partition, "batch": name})
        elif stage.stage == "shards":
            yield _key("images", **stage.partition)
            yield _key("duplicates", **stage.partition)

    def _missing(self, kind: type[Stage], judged: Mapping[Any, PublishedStage]) -> Iterator[dict[str, str]]:
        """Yield the partitions that a stage has not made yet, although the stage before it is published."""
        batches = self.view.batches()
        if kind.name == "balance":
            for recipe, spec in self.recipes.items():
                matched = [b for b in batches if _key("match", match_id=spec["match_id"], batch=b) in judged]
                yield from ({"recipe": recipe, "batch": batch} for batch in self._expected(recipe, matched))
        elif kind.name in ("images", "shards"):
            before = "balance" if kind.name == "images" else "images"
            yield from (dict(stage.partition) for stage in judged.values() if stage.stage == before and stage.run_id)

    def _expected(self, recipe: str, matched: Sequence[str]) -> Iterator[str]:
        """Yield the matched batches without a recipe that are expected to have it.

        They are those between two batches that have it, and those after the last batch of any recipe, if that batch has
        it: one that was tried on a few batches is not missing in all others.
        """
        have_it = [number for number, found in enumerate(self._recipes_by_batch.values()) if recipe in found]
        last = max((number for number, found in enumerate(self._recipes_by_batch.values()) if found), default=-1)
        numbers = {batch: number for number, batch in enumerate(self._recipes_by_batch)}
        for batch in matched:
            number = numbers[batch]
            if have_it and (have_it[0] < number < have_it[-1] or number > last == have_it[-1]):
                yield batch

    @cached_property
    def _recipes_by_batch(self) -> dict[str, set[str]]:
        """The recipes of each batch, in the order of batches."""
        found: dict[str, set[str]] = {batch: set() for batch in self.view.batches()}
        for partition in self.view.partitions("curated"):
            found.setdefault(partition["batch"], set()).add(partition["recipe"])
        return found

    def _partitions(self, kind: type[Stage]) -> list[dict[str, str]]:
        """Return the partitions of a stage's tables, in the order of batches."""
        order = {batch: number for number, batch in enumerate(self.view.batches())}
        found = [partition for table in kind.tables for partition in self.view.partitions(table)]
        found = list(filter(self._is_judged, found))
        unique = {tuple(sorted(partition.items())): partition for partition in found}
        last = len(order)
        return sorted(unique.values(), key=lambda part: (order.get(part.get("batch", ""), last), *sorted(part.items())))

    def _is_judged(self, partition: Mapping[str, str]) -> bool:
        return partition.get("batch") not in self._earlier

    def _match_id(self, partition: Mapping[str, str]) -> str:
        recipe = self.recipes.get(partition.get("recipe", ""), {})
        return str(partition.get("match_id") or recipe.get("match_id", ""))

    def _metadata_versions(self) -> Iterator[tuple[str, str]]:
        """Yield the metadata version of each match_id, from the newest of its runs that is recorded."""
        known = set[str]()
        for partition in reversed(self.view.partitions("matches")):
            match_id = partition["match_id"]
            for run_id in self.view.snapshot("matches", partition).run_ids if match_id not in known else ():
                row = find_run(self.view, run_id, "matches")
                if row and (version := json.loads(row["totals"]).get("metadata_version")):
                    known.add(match_id)
                    yield match_id, version


def _key(stage: str, **partition: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return stage, tuple(sorted(partition.items()))


def newly_stale(before: Iterable[PublishedStage], after: Iterable[PublishedStage]) -> list[str]:
    """Describe the stages that were up to date before a change and are not after it."""
    fresh = {stage.key for stage in before if stage.freshness.fresh}
    stale = [stage for stage in after if stage.key in fresh and stage.run_id and not stage.freshness.fresh]
    return [stage.line() for stage in stale]
