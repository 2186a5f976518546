"""The English text of an image, among its own texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa


@dataclass(frozen=True)
class EnglishText:
    """Makes `english` without a translator: the published text if it is English, or the best English text of the image.

    The best one is in the most entries; of several, the first. An image without an English text has none.
    """

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "lang", "texts")
    uses_seed: ClassVar[bool] = False

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[str | None]:  # noqa: ARG002 - it draws nothing
        """Return the English text of each image."""
        return [_english(row) for row in rows.select(self.reads).to_pylist()]


def _english(row: Mapping[str, Any]) -> str | None:
    if row["lang"] == "en":
        return str(row["text"])
    english = [text for text in row["texts"] or () if text["lang"] == "en"]
    return str(max(english, key=lambda text: len(text["entry_ids"] or ()))["text"]) if english else None
