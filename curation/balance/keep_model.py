"""Keep probabilities of matched texts, from one flat file that all worker processes of a host map into memory.

The file holds the complements 1 - q of the probabilities of all entries, language by language:

    magic                        8 bytes
    complements                  float64: a 1 for languages without a threshold, then one segment per language
        segment of a language    by entry id, up to its last matched entry, then a 0 for all entries after it
    index                        JSON {lang: [start, size]}: its segment, in numbers
    length of the index          8 bytes

With merged metadata there is one segment, for every language. An entry without a count has q = 1. A text of a language
without a threshold is never kept (keep probability 0). The file takes 8 bytes per entry; only the index is private to a
process.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.counts import LanguageCounts
from curation.errors import InputError
from curation.io.storage import Storage
from curation.language_keys import entry_list_key

MAGIC: Final = b"WCKEEP\x00\x01"
INDEX_LENGTH: Final = np.dtype("<u8")
COMPLEMENT: Final = np.dtype("<f8")


class KeepProbabilities:
    """Keep probabilities read from the bytes of a model file.

    Args:
        data: the file's content, which is referenced, not copied.
        name: the file, for the message.

    Raises InputError if the file is damaged.
    """

    def __init__(self, data: bytes | mmap.mmap, name: str = "keep probabilities") -> None:
        try:
            end = (
                len(data) - INDEX_LENGTH.itemsize - int(np.frombuffer(data[-INDEX_LENGTH.itemsize :], INDEX_LENGTH)[0])
            )
            if data[: len(MAGIC)] != MAGIC:
                raise ValueError("not a file of this format")
            index: dict[str, tuple[int, int]] = json.loads(data[end : -INDEX_LENGTH.itemsize])
            complements = np.frombuffer(data, COMPLEMENT, (end - len(MAGIC)) // COMPLEMENT.itemsize, len(MAGIC))
            if len(complements) != 1 + sum(size for _, size in index.values()):
                raise ValueError("cut short")
        except (ValueError, IndexError) as error:
            raise InputError(f"{name} is damaged: run the job again") from error
        self._complements = complements
        self._index = index

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a local file into memory. Raises InputError if it is missing or damaged."""
        try:
            with path.open("rb") as file:
                return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise InputError(f"cannot read {path}: {error}") from error

    @classmethod
    def build(cls, thresholds: pa.Table, totals: Iterable[LanguageCounts]) -> Self:
        """Compute keep probabilities in memory from a `thresholds` table and the counts it was computed from."""
        return cls(b"".join(_serialize(thresholds, totals)))

    def keep(self, langs: pa.StringArray, entry_ids: pa.ListArray) -> npt.NDArray[np.float64]:
        """Return the keep probability of each text, equal to `thresholds.keep_probability` to the last bit."""
        encoded = langs.dictionary_encode()
        lists = (entry_list_key(lang, self._index) for lang in encoded.dictionary.to_pylist())
        segments = [self._index.get(key, (0, 1)) for key in lists]
        starts, sizes = np.array(segments, np.int64).reshape(-1, 2)[encoded.indices.to_numpy()].T
        lengths = pc.list_value_length(entry_ids).to_numpy()
        ids = pc.list_flatten(entry_ids).to_numpy()
        factors = self._complements[np.repeat(starts, lengths) + np.minimum(ids, np.repeat(sizes - 1, lengths))]
        products = np.ones(len(lengths))
        first_factors = np.cumsum(lengths) - lengths
        rows, position = np.flatnonzero(lengths), 0
        while len(rows):  # one factor of every text per pass: left to right, as the scalar loop multiplies
            products[rows] *= factors[first_factors[rows] + position]
            position += 1
            rows = rows[lengths[rows] > position]
        return 1.0 - products


def write_keep_probabilities(
    storage: Storage, path: str, thresholds: pa.Table, totals: Iterable[LanguageCounts]
) -> str:
    """Write the file, with one language in memory at a time, and return its SHA-256."""
    digest = hashlib.sha256()
    with storage.open_output(path) as sink:
        for chunk in _serialize(thresholds, totals):
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()


def _serialize(thresholds: pa.Table, totals: Iterable[LanguageCounts]) -> Iterator[bytes]:
    """Yield the content of the file in parts."""
    t_by_lang = dict(zip(thresholds["lang"].to_pylist(), thresholds["t"].to_pylist(), strict=True))
    index: dict[str, tuple[int, int]] = {}
    yield MAGIC
    yield np.ones(1, COMPLEMENT).tobytes()
    start = 1
    for lang, entry_ids, counts in totals:
        if (t := t_by_lang.get(lang)) is not None:
            segment = np.zeros(int(entry_ids.max()) + 2, COMPLEMENT)
            segment[entry_ids] = 1.0 - t / np.maximum(counts, t)
            yield segment.tobytes()
            index[lang] = (start, len(segment))
            start += len(segment)
    names = json.dumps(index).encode()
    yield names
    yield np.array([len(names)], INDEX_LENGTH).tobytes()
