"""Counts the tokens of texts by language: per file of shards, then over all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import UsageError
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from jobs.runtime.partitions import WriterFactory

COUNTS: Final = SCHEMAS["token_languages"]


class CountedTokens(msgspec.Struct):
    """A staged file of counts, and the numbers of texts and tokens that it counts."""

    path: str
    texts: int
    tokens: int


@dataclass(frozen=True)
class CountTokens:
    """Counts the tokens of the published texts of one file of shards, and stages the counts."""

    storage: Storage
    tokenizer: str
    staging: str

    def __call__(self, index: int, file: DataFile) -> CountedTokens:
        """Return the staged file."""
        counts: dict[str, Counter[int]] = {}
        texts = 0
        for batch in read_batches(self.storage, file.path, ["text", "lang"]):
            encoded = _load(self.tokenizer).encode_batch_fast(batch["text"].to_pylist(), add_special_tokens=False)
            for lang, text in zip(batch["lang"].to_pylist(), encoded, strict=True):
                counts.setdefault(lang, Counter()).update(text.ids)
            texts += batch.num_rows
        rows = [
            {"lang": lang, "token_id": token, "count": count}
            for lang, tokens in counts.items()
            for token, count in tokens.items()
        ]
        path = join(self.staging, shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, COUNTS, [pa.Table.from_pylist(rows, schema=COUNTS)])
        return CountedTokens(path, texts, sum(tokens.total() for tokens in counts.values()))


class SummedTokens(msgspec.Struct):
    """The written counts: files, tokens, and languages."""

    files: list[WrittenFile]
    tokens: int
    languages: int


@dataclass(frozen=True)
class SumTokens:
    """Adds up the staged counts of all files."""

    storage: Storage
    writers: WriterFactory

    def __call__(self, _: int, staged: Sequence[str]) -> SummedTokens:
        """Return the written files, sorted by language and token."""
        table = shuffle.read_table(self.storage, staged, range(1), COUNTS)
        summed = table.group_by(["lang", "token_id"]).aggregate([("count", "sum")])
        summed = summed.rename_columns({"count_sum": "count"}).sort_by(
            [("lang", "ascending"), ("token_id", "ascending")]
        )
        with self.writers("token_languages", 0) as writer:
            writer.write(summed.select(COUNTS.names))
        return SummedTokens(
            writer.files, pc.sum(summed["count"]).as_py() or 0, pc.count_distinct(summed["lang"]).as_py()
        )


def tokenizer_file(location: str) -> str:
    """Return the file of a tokenizer, given the file or its folder."""
    path = Path(location)
    return str(path / "tokenizer.json" if path.is_dir() else path)


def check_tokenizer(location: str) -> None:
    """Raise UsageError if a tokenizer cannot be read."""
    if not find_spec("tokenizers"):
        raise UsageError("annotate.tokenizer: needs tokenizers: run pip install 'worldcurate[train]'")
    try:
        _load(tokenizer_file(location))
    except Exception as error:  # tokenizers raises Exception itself
        what = " ".join(str(error).split())
        raise UsageError(
            f"annotate.tokenizer: {location} cannot be read ({what}): give a folder with tokenizer.json"
        ) from error


@lru_cache(maxsize=2)
def _load(path: str) -> Any:
    import tokenizers

    return tokenizers.Tokenizer.from_file(path)
