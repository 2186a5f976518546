"""Keep probabilities of matched texts, from one flat file that all worker processes of a host map into memory.

    magic (8 bytes) · 1 - q as float64: one place for languages without a threshold, then each language by entry id
    with one more place for entries beyond its last seen one
    index as JSON {lang: [start, size]} · its length (8 bytes)

With merged metadata the one list is every language's. An entry without a count is as rare as can be (q = 1); a language
without a threshold has no pairs (keep = 0). The file takes 8 bytes an entry, of which a process holds privately nothing
but the index.
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
LENGTH: Final = np.dtype("<u8")
PLACE: Final = np.dtype("<f8")


class KeepProbabilities:
    """Keep probabilities read from the bytes of a model file.

    Args:
        data: the file's content, which stays referenced and is not copied.
        name: the file, for the message of the InputError that is raised when it is damaged.
    """

    def __init__(self, data: bytes | mmap.mmap, name: str = "keep model") -> None:
        try:
            end = len(data) - LENGTH.itemsize - int(np.frombuffer(data[-LENGTH.itemsize :], LENGTH)[0])
            if data[: len(MAGIC)] != MAGIC:
                raise ValueError("not a model of this format")
            index: dict[str, tuple[int, int]] = json.loads(data[end : -LENGTH.itemsize])
            places = np.frombuffer(data, PLACE, (end - len(MAGIC)) // PLACE.itemsize, len(MAGIC))
            if len(places) != 1 + sum(size for _, size in index.values()):
                raise ValueError("cut short")
        except (ValueError, IndexError) as error:
            raise InputError(f"{name} is damaged: run the job again") from error
        self._places = places
        self._index = index

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a local model file into memory. Raises InputError when it is missing or damaged."""
        try:
            with path.open("rb") as file:
                return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise InputError(f"cannot read {path}: {error}") from error

    @classmethod
    def build(cls, thresholds: pa.Table, totals: Iterable[LanguageCounts]) -> Self:
        """Make a model in memory from a `thresholds` table and the counts it was made from."""
        return cls(b"".join(_packed(thresholds, totals)))

    def keep(self, langs: pa.StringArray, entry_ids: pa.ListArray) -> npt.NDArray[np.float64]:
        """Return the keep probability of each text, equal to the last bit to `balancing.keep_probability`."""
        encoded = langs.dictionary_encode()
        lists = (entry_list_key(lang, self._index) for lang in encoded.dictionary.to_pylist())
        segments = [self._index.get(key, (0, 1)) for key in lists]
        starts, sizes = np.array(segments, np.int64).reshape(-1, 2)[encoded.indices.to_numpy()].T
        lengths = pc.list_value_length(entry_ids).to_numpy()
        ids = pc.list_flatten(entry_ids).to_numpy()
        complements = self._places[np.repeat(starts, lengths) + np.minimum(ids, np.repeat(sizes - 1, lengths))]
        products = np.ones(len(lengths))
        firsts = np.cumsum(lengths) - lengths
        rows, place = np.flatnonzero(lengths), 0
        while len(rows):  # one factor of every text at a time: left to right, as the scalar loop multiplies
            products[rows] *= complements[firsts[rows] + place]
            place += 1
            rows = rows[lengths[rows] > place]
        return 1.0 - products


def write_keep_probabilities(
    storage: Storage, path: str, thresholds: pa.Table, totals: Iterable[LanguageCounts]
) -> str:
    """Write a model file, one language in memory at a time, and return its SHA-256."""
    digest = hashlib.sha256()
    with storage.open_output(path) as sink:
        for piece in _packed(thresholds, totals):
            digest.update(piece)
            sink.write(piece)
    return digest.hexdigest()


def _packed(thresholds: pa.Table, totals: Iterable[LanguageCounts]) -> Iterator[bytes]:
    t_of = dict(zip(thresholds["lang"].to_pylist(), thresholds["t"].to_pylist(), strict=True))
    index: dict[str, tuple[int, int]] = {}
    yield MAGIC
    yield np.ones(1, PLACE).tobytes()
    start = 1
    for lang, entry_ids, counts in totals:
        if (t := t_of.get(lang)) is not None:
            segment = np.zeros(int(entry_ids.max()) + 2, PLACE)
            segment[entry_ids] = 1.0 - t / np.maximum(counts, t)
            yield segment.tobytes()
            index[lang] = (start, len(segment))
            start += len(segment)
    names = json.dumps(index).encode()
    yield names
    yield np.array([len(names)], LENGTH).tobytes()
