"""Identify the language of texts with a fastText model, whose labels a mapping translates to language keys.

A text is `other` if it is empty, if its score is too low, or if the mapping translates its label to `other`. Any
supervised fastText model can be used (lid.176, GlotLID, OpenLID …) if the mapping, which `metadata.labels` creates, has
every label of the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import fasttext
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import UsageError
from curation.lid.fasttext_file import read_model
from curation.lid.fasttext_predict import Predictor

OTHER: Final = "other"
_PREFIX: Final = "__label__"
FileStamp = tuple[int, ...]
_BLANK: Final = r"\A[\x00\x0b\x1c-\x1f\x{85}\s\p{Z}]*\z"  # only NULs and white space as Python defines it
MAX_LISTED: Final = 5  # unknown labels that a message lists


class LanguageIdentifier:
    """Identifies the languages of texts.

    Args:
        path: the fastText model file, loaded at most once per process.
        label_to_lang: language key (or `other`) of every label of the model, labels without `__label__`.
        min_score: a text whose best label has a lower score is `other`.

    Raises UsageError if the file is missing or is not a supervised fastText model, or if the mapping lacks a label.
    """

    def __init__(self, path: str | Path, label_to_lang: Mapping[str, str], min_score: float = 0.0) -> None:
        self._path = str(path)
        self._model = _load(self._path, _stamp(self._path))
        self._langs = dict(label_to_lang)
        self._min_score = min_score
        labels = labels_of(path)
        unknown = sorted(set(labels) - label_to_lang.keys())
        if unknown:
            some = ", ".join(unknown[:MAX_LISTED]) + (", …" if len(unknown) > MAX_LISTED else "")
            raise UsageError(
                f"match.lid_model: {path} has labels without a language ({len(unknown)}): {some}; "
                f"map them to languages in a file and set match.lid_labels to it"
            )
        self._keys = pa.array([*(label_to_lang[label] for label in labels), OTHER], pa.string())

    def identify(self, texts: Sequence[str]) -> tuple[list[str], list[float]]:
        """Return the language key and the score in [0, 1] of each text; an empty text is `other` with score 0."""
        langs, scores = self.identify_column(pa.array([_encodable(text) for text in texts], pa.string()))
        return langs.to_pylist(), scores.to_pylist()

    def identify_column(self, texts: pa.StringArray) -> tuple[pa.StringArray, pa.FloatArray]:
        """Do the same as `identify` for a column without nulls."""
        labels, scores = self._model.predict(texts)
        blank = pc.match_substring_regex(texts, _BLANK).to_numpy(zero_copy_only=False)
        labeled = (labels >= 0) & ~blank
        scores = np.where(labeled, np.minimum(scores, np.float32(1)), np.float32(0))  # fastText reports up to 1.00005
        accepted = labeled & (scores.astype(np.float64) >= self._min_score)
        keys = self._keys.take(pa.array(np.where(accepted, labels, len(self._keys) - 1)))
        return keys, pa.array(scores)

    def candidates(self, text: str, most: int = 3) -> list[tuple[str, str, float]]:
        """Return the best `most` labels of the model for a text, each with its language key and score, best first."""
        [labels], [scores] = _load_package(self._path).predict([_line(text)], k=most)
        names = [label.removeprefix(_PREFIX) for label in labels]
        return [(name, self._langs[name], min(float(score), 1.0)) for name, score in zip(names, scores, strict=True)]


def labels_of(path: str | Path) -> list[str]:
    """Return the labels of a model without `__label__`; UsageError if it is not a supervised fastText model."""
    return [label.removeprefix(_PREFIX) for label in _load(str(path), _stamp(path)).labels]


class PackagePredictor:
    """Predicts with the package `fasttext`, for models that `fasttext_file` does not support.

    Attributes:
        labels: in the order of their numbers.
    """

    def __init__(self, path: str) -> None:
        self._model = _load_package(path)
        self.labels: list[str] = self._model.get_labels()
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    def predict(self, column: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the number of the best label of each text, or -1 if there is none, and its score."""
        labels, scores = self._model.predict([_line(text) for text in column.to_pylist()])
        numbers = [self._numbers[text_labels[0]] if text_labels else -1 for text_labels in labels]
        best = [text_scores[0] if len(text_scores) else 0.0 for text_scores in scores]
        return np.array(numbers, np.int32), np.array(best, np.float32)


def cached(path: str | Path, label_to_lang: Mapping[str, str], min_score: float = 0.0) -> LanguageIdentifier:
    """Return the identifier of this process for these arguments; it is created at the first call."""
    return _cached(str(path), _stamp(path), tuple(sorted(label_to_lang.items())), min_score)


def _stamp(path: str | Path) -> FileStamp:
    """Return a key that changes when the file is replaced, so that a long-running process loads the new one."""
    try:
        status = Path(path).stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=4)
def _cached(path: str, _: FileStamp, labels: tuple[tuple[str, str], ...], min_score: float) -> LanguageIdentifier:
    return LanguageIdentifier(path, dict(labels), min_score)


@lru_cache(maxsize=4)
def _load(path: str, _: FileStamp) -> Predictor | PackagePredictor:
    # Our reader comes first: the package accepts some files that are cut short, and others make it end the process.
    try:
        model = read_model(Path(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"match.lid_model: cannot load {path} as a fastText model: {reason}") from error
    loaded = Predictor(model) if model is not None else PackagePredictor(path)
    # For unsupervised models the package returns their words as labels.
    if not all(label.startswith(_PREFIX) for label in loaded.labels or [""]):
        raise UsageError(
            f"match.lid_model: {path} is not a supervised fastText model: no label starts with {_PREFIX}; "
            f"set it to a model for language identification"
        )
    return loaded


@lru_cache(maxsize=4)
def _load_package(path: str) -> Any:
    try:
        return fasttext.load_model(path)
    except (ValueError, MemoryError) as error:
        raise UsageError(f"match.lid_model: cannot load {path} as a fastText model: {error}") from error


def _encodable(text: str) -> str:
    """Return the text with question marks for lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _line(text: str) -> str:
    """Return the text as one line, as the package requires."""
    return _encodable(text.replace("\n", " ").replace("\0", " ") or " ")


def model_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a model file in hexadecimal; UsageError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"match.lid_model: cannot read {path}: {error.strerror}") from error
