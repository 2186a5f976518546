"""Count the tokens of the texts of shards by language, for methods that treat tokens by the languages that use them.

    python -m jobs.count_tokens --config c.yaml --annotate.tokenizer runs/1/checkpoints/step-00001000

Publishes the table `token_languages` for the batch of the config, or for all batches of the recipe. Counts of batches
can be added up; a language uses a token if it has a row.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from curation.cli.plugins import model_digest
from curation.errors import OutputError, UsageError
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.annotate.batches import batches_with_shards
from jobs.tasks.annotate.tokens import CountTokens, SumTokens, check_tokenizer, tokenizer_file

ALGORITHM: Final = 1


class CountTokensStage(Stage):
    """Counts the tokens of one batch and publishes `token_languages`."""

    name: ClassVar[str] = "count_tokens"
    tables: ClassVar[tuple[str, ...]] = ("token_languages",)

    def __init__(self, context: Context, batch: str) -> None:
        super().__init__(context)
        tokenizer = context.config.annotate.tokenizer
        if tokenizer is None:
            raise UsageError("annotate.tokenizer: none: name the folder of a tokenizer")
        self.batch, self.path = batch, tokenizer_file(tokenizer)
        partition = {"recipe": context.config.recipe, "batch": batch}
        self.shards = require(context.lake, "count_tokens", "jobs.fetch_images", "shards", **partition)
        digest = model_digest(self.path, "annotate.tokenizer")
        self.fingerprint_keys = {"tokenizer_sha256": digest, "algorithm": ALGORITHM}
        self.inputs = {"shards": list(self.shards.run_ids)}
        self.outputs = {"token_languages": {**partition, "tokenizer": digest[:16]}}
        self.reads = [self.shards]

    @classmethod
    def open(cls, context: Context) -> Self:
        """Return the stage of the context's batch."""
        return cls(context, context.batch)

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage that published a partition."""
        return cls(context, partition["batch"])

    def execute(self, run: StageRun) -> Publication:
        """Count the tokens of each file of shards, then add them up."""
        count = CountTokens(self.context.storage, self.path, run.staging)
        counted = self.context.run_tasks("count_tokens", self.shards.files, count)
        run.step("count")
        [summed] = self.context.run_tasks(
            "count_tokens: sum", [[part.path for part in counted]], SumTokens(self.context.storage, run.writers())
        )
        run.step("sum")
        texts, tokens = (sum(getattr(part, key) for part in counted) for key in ("texts", "tokens"))
        if texts != self.shards.rows or tokens != summed.tokens:
            raise OutputError(f"count_tokens: counts do not add up: {tokens} tokens counted, {summed.tokens} written")
        rows = sum(file.rows for file in summed.files)
        totals = {"pairs": texts, "tokens": tokens, "languages": summed.languages, "written": rows}
        return Publication({"token_languages": summed.files}, totals)


def run(context: Context) -> list[Outcome]:
    """Count the tokens of the config's batches."""
    if context.config.annotate.tokenizer is not None:
        check_tokenizer(context.config.annotate.tokenizer)
    return [stage.run() for stage in [CountTokensStage(context, batch) for batch in batches_with_shards(context)]]


JOB = Job("count_tokens", __doc__ or "", run, required=("lake",), stages=(CountTokensStage,), sections=("annotate",))

if __name__ == "__main__":
    sys.exit(main("jobs.count_tokens"))
