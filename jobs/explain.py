"""Explain why an image or a text was kept or dropped: language, entries, counts, keep probabilities, draw.

    python -m jobs.explain --config c.yaml --image_id 0f3c…
    python -m jobs.explain --config c.yaml --text "a red dog" --lang en

Reads the published tables of the config's lake, batch and recipe without Spark and writes to stdout. A recipe that
jobs.rebalance made is explained by the counts it was made with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from curation.balance.explain import Draw, ExplainedText, explain_draw, explain_entries
from curation.cli.command import Command, CommandOptions
from curation.cli.run import run_command
from curation.errors import InputError, UsageError
from curation.lake.files import Snapshot
from curation.lake.parquet_read import find_rows
from curation.lake.tombstones import Tombstones
from curation.language_keys import MERGED, entry_list_key, matched_lang
from curation.matching.rules import normalize_text
from curation.matching.store import MatcherStore, matcher_name
from jobs.runtime.compilation import MATCH, announce_compilation
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.partitions import find_published
from jobs.runtime.spec import open_match_spec
from metadata.languages import LanguageTable

FETCH_COLUMNS = ("image_id", "status", "reason", "width", "height", "scores")


@dataclass(frozen=True)
class ExplainedImage:
    """One image in one batch: its texts, the draw, and the stage that dropped it."""

    image_id: str
    batch: str
    recipe: str
    image_url: str | None
    texts: Sequence[ExplainedText]
    draw: Draw | None
    verdict: str

    def lines(self) -> Iterator[str]:
        """Yield readable lines."""
        yield f"image {self.image_id}, batch {self.batch}, recipe {self.recipe}"
        yield f"url: {self.image_url}"
        for text in self.texts:
            yield from text.lines()
        if self.draw:
            yield self.draw.line()
        yield f"verdict: {self.verdict}"


class Explainer:
    """Explains texts and images by the published tables of one batch and recipe.

    The recipe is as the lake holds it, whatever thresholds and seed the config gives. Raises UsageError if the config
    gives another matching than the recipe, or if the lake has no such recipe or batch, InputError if the batch was not
    balanced under it.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        config, lake = context.config, context.lake
        self.spec, self.recipe = open_match_spec(context), lake.recipe(config.recipe)
        _check_matching(config.recipe, self.recipe["match_id"], self.spec.match_id)
        _check_batch(context.batch, lake.batches())
        self.counted = {"match_id": self.spec.match_id, "batch": self.recipe.get("counts_up_to") or context.batch}
        self.of_recipe = {"recipe": config.recipe, "batch": context.batch}
        self.totals = find_published(lake, "explain", "jobs.balance", "totals", **self.counted)
        thresholds = find_published(lake, "explain", "jobs.balance", "thresholds", **self.of_recipe)
        self._check_totals(thresholds)
        self.thresholds = {row["lang"]: row["t"] for row in self._rows(thresholds)}

    def _check_totals(self, thresholds: Snapshot) -> None:
        """Raise InputError if the thresholds were made from other totals than the published ones."""
        made = self.context.lake.rows("runs", {"run_id": thresholds.run_ids})["inputs"].to_pylist()
        if [json.loads(inputs)["totals"] for inputs in made] != list(self.totals.run_ids):
            raise InputError(
                f"explain: the totals of batch {self.counted['batch']} changed since batch {self.context.batch} was "
                f"balanced: run jobs.balance again"
            )

    def text(self, text: str, lang: str | None = None, source: str = "") -> ExplainedText:
        """Explain a text, in the given language or in the one that is identified."""
        spec, storage = self.spec, self.context.storage
        labels: list[tuple[str, str, float]] = []
        score: float | None = None
        if lang is None:
            identifier = spec.identifier()
            [lang], [score] = identifier.identify([text])
            labels = identifier.candidates(text)
        identified, lang = lang, matched_lang(lang, spec.manifest.entries)
        key = entry_list_key(lang, spec.manifest.entries)
        ids: list[int] = []
        listed = bool(spec.manifest.entries.get(key))
        if listed:
            version, rules = spec.manifest.version, spec.rules
            sha256 = spec.manifest.files[matcher_name(rules, key)]
            ids = MatcherStore(storage, self.context.lake.root).load(version, rules, key, sha256).match(text)
        t = self.thresholds.get(key)
        entries, keep = explain_entries(ids, self._entries(key, ids), self._counts(key, ids), t)
        form = normalize_text(text, spec.rules)
        return ExplainedText(source, text, lang, score, labels, form, entries, t, keep, listed, identified)

    def image(self, image_id: str) -> ExplainedImage:
        """Explain an image. Raises InputError if the batch has no such image."""
        pairs = self._rows(self._snapshot("pairs", batch=self.context.batch), image_id=[image_id])
        if not pairs:
            raise InputError(
                f"explain: no image {image_id!r} in the pairs of batch {self.context.batch}: ingest never saw it, or "
                f"dropped it (the reasons are in the batch's run and ledger)"
            )
        [pair] = pairs
        texts = [self.text(part["text"], source=part["source"]) for part in pair["texts"]]
        drawn = explain_draw(self.recipe["seed"], image_id, texts)
        verdict = self._verdict(image_id, pair, drawn)
        return ExplainedImage(
            image_id, self.context.batch, self.context.config.recipe, pair["image_url"], texts, drawn, verdict
        )

    def _verdict(self, image_id: str, pair: dict[str, Any], drawn: Draw | None) -> str:
        """Return which stage dropped the image, or that it was kept; tables that contradict the draw are reported."""
        row = pa.Table.from_pylist([{name: pair[name] for name in ("image_id", "image_url")}])
        if not Tombstones.read(self.context.lake).keep_mask(row)[0].as_py():
            return "hidden: a tombstone names the image or its host"
        if drawn is None:
            return "dropped by match: no text matches an entry of its language"
        part = self._snapshot("curated", **self.of_recipe)
        curated = self._rows(part, ["keep_probability"], image_id=[image_id])
        kept = drawn.drawn or self.recipe["selection"] == "all"
        if curated != ([{"keep_probability": drawn.keep_probability}] if kept else []):
            return "the tables are older than their inputs: run jobs.match and jobs.balance of the batch again"
        if not curated:
            return "dropped by balance: not drawn"
        return "kept; " + self._fetched(image_id)

    def _fetched(self, image_id: str) -> str:
        rows = self._rows(self._snapshot("images", **self.of_recipe), list(FETCH_COLUMNS), image_id=[image_id])
        if not rows:
            return "its image has not been fetched"
        [row] = rows
        scores = "".join(f", {name} {score:.4g}" for name, score in row.get("scores") or ())
        if row["status"] != "ok":
            return f"dropped by fetch_images: {row['status']}, {row['reason']}{scores}"
        if duplicates := self._rows(self._snapshot("duplicates", **self.of_recipe), image_id=[image_id]):
            return self._duplicate(**duplicates[0])
        return f"its image was fetched, {row['width']} x {row['height']} pixels{scores}"

    def _duplicate(self, reason: str, duplicate_of: str, distance: int, hash: str | None = None, **_: str) -> str:  # noqa: A002
        """Return that an image is left out of the shards, and of which it is a duplicate."""
        if reason == "benchmark":
            bits = f"{distance} of 64 bits{' of the embedding' if hash == 'embedding' else ''}"
            return f"dropped by fetch_images: benchmark image, {bits} from {duplicate_of!r} of a hash list"
        is_own = self._rows(self._snapshot("images", **self.of_recipe), ["image_id"], image_id=[duplicate_of])
        what = "with the same bytes as" if reason == "exact" else f"{distance} of 64 bits from"
        whose = "of this batch" if is_own else "of an earlier batch"
        return f"dropped by fetch_images: duplicate, {what} image {duplicate_of} {whose}"

    def _entries(self, lang: str, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        part = self._snapshot("entries", metadata_version=self.spec.manifest.version, lang=lang)
        columns = ["entry_id", "entry", "origin", "score"]
        return {row["entry_id"]: row for row in self._rows(part, columns, entry_id=ids)} if ids else {}

    def _counts(self, lang: str, ids: Sequence[int]) -> dict[int, int]:
        rows = self._rows(self.totals, lang=[lang], entry_id=ids) if ids else []
        return {row["entry_id"]: row["count"] for row in rows}

    def _snapshot(self, table: str, **partition: str) -> Snapshot:
        return self.context.lake.snapshot(table, partition)

    def _rows(
        self, snapshot: Snapshot, columns: list[str] | None = None, **values: Sequence[Any]
    ) -> list[dict[str, Any]]:
        storage = self.context.storage
        return [row for file in snapshot.files for row in find_rows(storage, file.path, values, columns).to_pylist()]


class ExplainOptions(CommandOptions):
    """What to explain: an image or a text."""

    former_flags: ClassVar[dict[str, str]] = {"--image-id": "image_id"}

    image_id: str | None = Field(None, description="id of the image to explain")
    text: str | None = Field(None, description="text to explain")
    lang: str | None = Field(None, description="with --text: language key to match under, instead of identifying it")
    json_: bool = Field(False, alias="json", description="print JSON instead of lines")


COMMAND = Command("python -m jobs.explain", __doc__ or "", ExplainOptions, Config, required=("lake", "batch"))


def explain(argv: Sequence[str]) -> None:
    """Write the explanation of an image or a text to stdout."""
    options, config = COMMAND.parse(argv)
    if (options.image_id is None) == (options.text is None):
        raise UsageError(f"give one of --image_id and --text (see {COMMAND.prog} --help)")
    if options.lang is not None and options.text is None:
        raise UsageError("--lang: only allowed with --text")
    announce_compilation("explain", *MATCH)
    explainer = Explainer(Context(config, "explain"))
    lists = explainer.spec.manifest.entries
    if options.lang is not None and not _is_matched(options.lang, lists):
        raise UsageError(f"--lang: the metadata has no language {options.lang!r}")
    if options.text is not None:
        found: ExplainedText | ExplainedImage = explainer.text(options.text, options.lang)
    else:
        found = explainer.image(options.image_id or "")
    as_json = json.dumps(asdict(found), ensure_ascii=False, indent=1) if options.json_ else None
    sys.stdout.write((as_json or "\n".join(found.lines())) + "\n")


def _check_batch(batch: str, known: Sequence[str]) -> None:
    if batch not in known:
        remedy = f"its batches are {', '.join(known)}" if known else "run jobs.nightly first"
        raise UsageError(f"batch: {batch!r} is not in the lake: {remedy}")


def _check_matching(recipe: str, frozen: str, given: str) -> None:
    if frozen != given:
        raise UsageError(
            f"recipe: {recipe!r} was made with match_id {frozen}, but the config gives {given}: set metadata.version, "
            "the language-ID model and the match keys as they were"
        )


def _is_matched(lang: str, lists: Mapping[str, int]) -> bool:
    """Return whether texts of a language are matched against a list: its own, the merged one, or that of `other`."""
    is_other = lang in LanguageTable.load().keys and matched_lang(lang, lists) in lists
    return lang in lists or MERGED in lists or is_other


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(explain, argv)


if __name__ == "__main__":
    sys.exit(main())
