"""Read the file of a supervised fastText model into arrays, and check it while reading.

A file contains, in little-endian order, each size before the items it counts:

    magic, version, the arguments it was trained with
    dictionary: for each word, then for each label, its bytes and a 0, its number of occurrences, its type;
        then, in a pruned model, the remaining buckets of n-grams, each with its row after the rows of the words
    input matrix: a row for each word, then for each bucket of n-grams
    output matrix: a row for each label, or for each inner node of the labels' tree

A matrix is dense or quantized. In a quantized matrix a row is cut into subvectors of a few numbers, and each subvector
is stored as the index of one of 256 centroids; norms, if they are stored separately, as the index of one of 256 norms.
Quantized matrices are decoded here. Dense matrices stay in the file, which is mapped into memory, so that all processes
of a host share them.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

HIERARCHICAL, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL = range(1, 5)  # losses
MAX_DECODED: Final = 1 << 26  # numbers in a quantized matrix; larger ones are not decoded
_MAGIC: Final = 793712314
_VERSIONS: Final = (11, 12)
_SUPERVISED: Final = 3
_CENTROIDS: Final = 256


class Model(NamedTuple):
    """A supervised model.

    Attributes:
        words: in the order of their rows.
        labels: as in the file, in the order of their numbers.
        label_counts: occurrences of each label in training.
        loss: one of the losses above.
        minn, maxn: the lengths of the n-grams of characters, in characters; there are none if `maxn` is 0.
        word_ngrams: the length of the longest n-grams of words; 1 for none.
        bucket: the number of buckets that n-grams are hashed to.
        bucket_rows: in a pruned model, pairs of a bucket and its row, counted after the rows of the words; None if
            every bucket has a row.
        rows: the input matrix.
        outputs: the output matrix.
    """

    words: list[bytes]
    labels: list[str]
    label_counts: list[int]
    loss: int
    minn: int
    maxn: int
    word_ngrams: int
    bucket: int
    bucket_rows: npt.NDArray[np.int32] | None
    rows: Floats
    outputs: Floats


def read_model(path: Path) -> Model | None:
    """Read a model; return None if its kind or version is not supported here, or if it is too large to be decoded.

    Raises OSError if the file cannot be read, ValueError if it is cut short or contradicts itself.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return None
    reader = _Reader(data)
    if len(data) < 8 or reader.numbers("ii") not in [(_MAGIC, version) for version in _VERSIONS]:
        return None
    dim, _, _, _, _, word_ngrams, loss, model_kind, bucket, minn, maxn, _, _ = reader.numbers("12id")
    if model_kind != _SUPERVISED:
        return None
    if data[4] == _VERSIONS[0]:
        maxn = 0  # older models were trained without n-grams of characters
    words, labels, counts, bucket_rows = _read_dictionary(reader)
    (quantized,) = reader.numbers("?")
    rows = reader.matrix(quantized)
    (quantized_outputs,) = reader.numbers("?")
    outputs = reader.matrix(quantized and quantized_outputs)
    if rows is None or outputs is None or (bucket_rows is not None and bucket > MAX_DECODED):
        return None
    has_ngrams = maxn > 0 or word_ngrams > 1
    num_bucket_rows = len(rows) - len(words)
    _check(loss in (HIERARCHICAL, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL))
    _check(rows.shape[1] == outputs.shape[1] == dim > 0 and len(outputs) == len(labels))
    _check(num_bucket_rows >= 0 and (bucket > 0 or not has_ngrams))
    if bucket_rows is None:
        _check(not has_ngrams or num_bucket_rows >= bucket)
    else:
        _check(quantized and bool(np.all((bucket_rows >= 0) & (bucket_rows < [max(bucket, 0), num_bucket_rows]))))
    return Model(words, labels, counts, loss, minn, maxn, word_ngrams, bucket, bucket_rows, rows, outputs)


def _read_dictionary(reader: _Reader) -> tuple[list[bytes], list[str], list[int], npt.NDArray[np.int32] | None]:
    size, words, labels, _, num_pairs = reader.numbers("iiiqq")
    _check(words >= 0 and labels > 0 and size == words + labels)
    names, counts = [], []
    for index in range(size):
        names.append(reader.name())
        count, label = reader.numbers("qb")
        _check(label == (index >= words))
        counts.append(count)
    pairs = None if num_pairs < 0 else reader.array("<i4", 2 * num_pairs).reshape(-1, 2)
    return names[:words], [name.decode("utf-8") for name in names[words:]], counts[words:], pairs


def _check(condition: bool) -> None:
    if not condition:
        raise ValueError("the file is damaged: it contradicts itself")


class _Reader:
    """Reads a file sequentially."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def _skip(self, size: int) -> int:
        """Skip `size` bytes and return the offset of the first."""
        _check(size >= 0)
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError("the file is cut short")
        return start

    def numbers(self, formats: str) -> tuple[Any, ...]:
        """Read packed numbers, given by their `struct` formats."""
        return struct.unpack_from("<" + formats, self._data, self._skip(struct.calcsize("<" + formats)))

    def name(self) -> bytes:
        """Read the bytes before the next 0, and the 0."""
        end = self._data.find(b"\0", self._at)
        start = self._skip((len(self._data) if end < 0 else end) - self._at + 1)
        return self._data[start:end]

    def array(self, dtype: str, count: int) -> npt.NDArray[Any]:
        """Read `count` numbers of one type, without a copy."""
        return np.frombuffer(self._data, dtype, count, self._skip(count * np.dtype(dtype).itemsize))

    def matrix(self, quantized: bool) -> Floats | None:
        """Read a matrix; return None for a quantized one that is too large."""
        if not quantized:
            rows, columns = self.numbers("qq")
            _check(rows >= 0 and columns > 0)
            return self.array("<f4", rows * columns).reshape(rows, columns)
        with_norms, rows, columns, size = self.numbers("?qqi")
        _check(rows >= 0 and columns > 0)
        codes = self.array("u1", size)
        parts = self._centroids(columns)
        _check(size == rows * len(parts))
        norms: Floats | None = None
        if with_norms:
            norm_codes = self.array("u1", rows)
            norms = self._centroids(1)[0][norm_codes]
        if rows * columns > MAX_DECODED:
            return None
        decoded = np.hstack([part[codes[index :: len(parts)]] for index, part in enumerate(parts)])
        return decoded if norms is None else norms * decoded

    def _centroids(self, columns: int) -> list[Floats]:
        """Read the centroids of each subvector of a row."""
        dim, count, size, last = self.numbers("4i")
        _check(dim == columns and size > 0 and last > 0 and (count - 1) * size + last == columns)
        numbers = self.array("<f4", columns * _CENTROIDS)
        edges = [_CENTROIDS * size * index for index in range(count)]
        return [part.reshape(_CENTROIDS, -1) for part in np.split(numbers, edges[1:])]
