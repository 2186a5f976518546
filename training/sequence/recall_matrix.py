"""The recall of every language after each language of a sequence, as JSON and as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.local_files import LocalFiles
from training.methods.forgetting import sequence_metrics

RECALL_FILE, TABLES_FILE = "recall.json", "recall.md"

Figures = Mapping[str, float]


class RecallMatrix(BaseModel):
    """Recall@1 on held-out pairs, and the changes of the vocabulary: the rows of `recall.json`.

    Attributes:
        languages: the languages so far, in the order in which they were learned.
        recall: by direction, a row per language: the recall of this and all earlier languages once it was learned.
        tokens: number of ids of the vocabulary, by language.
        changed_texts: share of the texts of each earlier language whose ids the new tokens of a language changed.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)  # the file also has what follows from the rows

    languages: tuple[str, ...] = ()
    recall: dict[str, tuple[tuple[float, ...], ...]] = {}
    tokens: tuple[int, ...] = ()
    changed_texts: tuple[dict[str, float], ...] = ()

    @classmethod
    def read(cls, output: Path) -> Self:
        """Read the matrix of an output folder; it is empty if there is none. Raises InputError if it is broken."""
        path = output / RECALL_FILE
        try:
            return cls.model_validate_json(path.read_bytes()) if path.exists() else cls()
        except (OSError, ValidationError) as error:
            raise InputError(
                f"sequence: cannot read {path} ({first_line(error)}): remove it, and continue with resume: true"
            ) from error

    def first(self, count: int) -> Self:
        """Return the rows of the first languages."""
        return self.model_copy(
            update={
                "languages": self.languages[:count],
                "recall": {way: rows[:count] for way, rows in self.recall.items()},
                "tokens": self.tokens[:count],
                "changed_texts": self.changed_texts[:count],
            }
        )

    def with_row(self, found: Mapping[str, Figures], tokens: int, changed_texts: Figures) -> Self:
        """Return the matrix with one more language.

        Args:
            found: recall by direction, of every language so far, the new one last.
            tokens: number of ids.
            changed_texts: share of the texts of each earlier language whose ids changed.
        """
        languages = tuple(next(iter(found.values())))
        return self.model_copy(
            update={
                "languages": languages,
                "recall": {way: (*self.recall.get(way, ()), tuple(row.values())) for way, row in found.items()},
                "tokens": (*self.tokens, tokens),
                "changed_texts": (*self.changed_texts, dict(changed_texts)),
            }
        )

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return average accuracy and forgetting by direction."""
        return {way: sequence_metrics(rows) for way, rows in self.recall.items()}

    def write(self, output: Path) -> None:
        """Write `recall.json` and `recall.md`; a kill leaves the old file or the new one."""
        content = self.model_dump(mode="json") | {"metrics": self.metrics()}
        LocalFiles().write_bytes(str(output / RECALL_FILE), (json.dumps(content, indent=1) + "\n").encode())
        LocalFiles().write_bytes(str(output / TABLES_FILE), ("\n".join(self._tables()) + "\n").encode())

    def _tables(self) -> Iterator[str]:
        """Yield the lines of Markdown tables: a row per language that was learned, a column per language."""
        for way, found in self.metrics().items():
            yield f"Recall@1, {way.replace('_', ' ').removesuffix(' recall')}, after each language\n"
            yield from self._table([[f"{score:.3f}" for score in row] for row in self.recall[way]])
            yield "\n" + ", ".join(f"{name} {value:.3f}" for name, value in found.items()) + "\n"
        yield "Share of the texts of earlier languages whose ids the new tokens of a language changed\n"
        yield from self._table([[f"{share:.3f}" for share in row.values()] for row in self.changed_texts])

    def _table(self, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        yield f"| after | tokens | {' | '.join(self.languages)} |"
        yield "|---|---|" + "---|" * len(self.languages)
        for language, tokens, row in zip(self.languages, self.tokens, rows, strict=True):
            yield f"| {language} | {tokens} | {' | '.join([*row, *[''] * (len(self.languages) - len(row))])} |"
