"""Tokens are counted by language, once per occurrence, whatever the files and batches are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError
from jobs import count_tokens, remove, status, verify
from jobs.runtime.context import Context
from support.in_process import change

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> str:
    from support.model_folders import byte_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    byte_tokenizer("<s> $A </s>", 16).save_pretrained(folder)
    return str(folder)


def asking(context: Context, tokenizer: str | None) -> Context:
    changed = change(context, batch=None, annotate=AnnotateSection(tokenizer=tokenizer))
    return Context(changed.config, "count_tokens")


def rows(context: Context, table: str, **partition: str) -> list[dict]:
    return [
        row
        for file in context.lake.snapshot(table, partition).files
        for row in pq.ParquetFile(file.path).read().to_pylist()
    ]


def test_every_token_of_the_published_texts_is_counted_in_its_language(crawled, tokenizer):
    from tokenizers import Tokenizer

    context, encode = asking(crawled[0], tokenizer), Tokenizer.from_file(str(Path(tokenizer) / "tokenizer.json")).encode
    outcomes = count_tokens.run(context)
    for batch in ("b1", "b2"):
        expected: Counter[tuple[str, int]] = Counter()
        for row in rows(context, "shards", batch=batch):
            expected.update((row["lang"], token) for token in encode(row["text"], add_special_tokens=False).ids)
        counted = rows(context, "token_languages", batch=batch)
        assert {(row["lang"], row["token_id"]): row["count"] for row in counted} == expected
        keys = [(row["lang"], row["token_id"]) for row in counted]
        assert keys == sorted(keys)
        assert len({lang for lang, _ in keys}) > 1
    assert [outcome.totals["pairs"] for outcome in outcomes] == [
        context.lake.snapshot("shards", {"batch": batch}).rows for batch in ("b1", "b2")
    ]
    assert not any(outcome.fresh for outcome in count_tokens.run(context))


def test_commands_know_the_table(crawled, tokenizer):
    context = asking(crawled[0], tokenizer)
    count_tokens.run(context)
    stages = status.read_status(context).as_json()["stages"]
    assert [(each["batch"], each["state"]) for each in stages if each["tokenizer"]] == [
        ("b1", "fresh"),
        ("b2", "fresh"),
    ]
    assert verify.main(["--lake", context.config.lake]) == 0
    assert remove.main(["--lake", context.config.lake, "--batch", "b1", "--yes"]) == 0
    assert {file.partition["batch"] for file in context.lake.snapshot("token_languages").files} == {"b2"}


def test_a_tokenizer_that_cannot_be_used_is_refused_in_one_line(crawled, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    for path, problem in [
        (None, r"annotate\.tokenizer: none: name the folder of a tokenizer"),
        (str(tmp_path), r"annotate\.tokenizer: .* cannot be read \(.*\): give a folder with tokenizer\.json"),
        (str(tmp_path / "no"), r"annotate\.tokenizer: .*/no cannot be read \(.*\): give a folder with tokenizer\.json"),
    ]:
        with pytest.raises(UsageError, match=problem) as caught:
            count_tokens.run(asking(crawled[0], path))
        assert "\n" not in str(caught.value)
