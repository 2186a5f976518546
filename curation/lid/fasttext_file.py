"""The file of a fastText model, read into arrays and checked as it is read.

A file holds, little-endian, with sizes in front of what they count:

    magic, version, the arguments it was trained with
    dictionary: of each word, then of each label, its bytes and a 0, how often it occurred, its type;
        then, in a pruned model, the buckets of n-grams that are left, each with its place behind the words
    input matrix: a row for each word, then for each bucket of n-grams
    output matrix: a row for each label, or for each inner node of the labels' tree

A matrix is dense, or it is quantised: a row is cut into pieces of a few numbers, and for each piece stands one of 256
centroids; with norms apart, one of 256 norms as well. Quantised matrices are decoded here; dense ones stay in the file,
which is mapped into memory, so all processes of a host share them.
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
MOST_DECODED: Final = 1 << 26  # numbers of a quantised matrix; larger ones are not decoded
_MAGIC: Final = 793712314
_VERSIONS: Final = (11, 12)
_SUPERVISED: Final = 3
_CENTROIDS: Final = 256


class Model(NamedTuple):
    """A supervised model.

    Attributes:
        words: in the order of their rows.
        labels: as they stand in the file, in the order of their numbers.
        label_counts: how often each label occurred in training.
        loss: one of the losses above.
        minn, maxn: the lengths of the n-grams of characters, in characters; none when `maxn` is 0.
        word_ngrams: the length of the longest n-grams of words; 1 for none.
        bucket: the number of buckets that n-grams are hashed to.
        kept: pairs of a bucket and its place behind the words; None when every bucket has its own.
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
    kept: npt.NDArray[np.int32] | None
    rows: Floats
    outputs: Floats


def read_model(path: Path) -> Model | None:
    """Read a model; None when it is of a kind or a version that is not known here, or too large to be decoded.

    Raises OSError when the file cannot be read, ValueError when it is cut short or contradicts itself.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return None
    reader = _Reader(data)
    if len(data) < 8 or reader.numbers("ii") not in [(_MAGIC, version) for version in _VERSIONS]:
        return None
    dim, _, _, _, _, word_ngrams, loss, kind, bucket, minn, maxn, _, _ = reader.numbers("12id")
    if kind != _SUPERVISED:
        return None
    if data[4] == _VERSIONS[0]:
        maxn = 0  # older models were trained without n-grams of characters
    words, labels, counts, kept = _read_dictionary(reader)
    (quantised,) = reader.numbers("?")
    rows = reader.matrix(quantised)
    (quantised_outputs,) = reader.numbers("?")
    outputs = reader.matrix(quantised and quantised_outputs)
    if rows is None or outputs is None or (kept is not None and bucket > MOST_DECODED):
        return None
    hashed = maxn > 0 or word_ngrams > 1
    behind = len(rows) - len(words)
    _check(loss in (HIERARCHICAL, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL))
    _check(rows.shape[1] == outputs.shape[1] == dim > 0 and len(outputs) == len(labels))
    _check(behind >= 0 and (bucket > 0 or not hashed))
    if kept is None:
        _check(not hashed or behind >= bucket)
    else:
        _check(quantised and bool(np.all((kept >= 0) & (kept < [max(bucket, 0), behind]))))
    return Model(words, labels, counts, loss, minn, maxn, word_ngrams, bucket, kept, rows, outputs)


def _read_dictionary(reader: _Reader) -> tuple[list[bytes], list[str], list[int], npt.NDArray[np.int32] | None]:
    size, words, labels, _, kept = reader.numbers("iiiqq")
    _check(words >= 0 and labels > 0 and size == words + labels)
    names, counts = [], []
    for place in range(size):
        names.append(reader.name())
        count, label = reader.numbers("qb")
        _check(label == (place >= words))
        counts.append(count)
    pairs = None if kept < 0 else reader.array("<i4", 2 * kept).reshape(-1, 2)
    return names[:words], [name.decode("utf-8") for name in names[words:]], counts[words:], pairs


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError("the file is damaged: it contradicts itself")


class _Reader:
    """Reads a file from its beginning to its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def _skip(self, size: int) -> int:
        """Pass over some bytes and return where they begin."""
        _check(size >= 0)
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError("the file is cut short")
        return start

    def numbers(self, kinds: str) -> tuple[Any, ...]:
        """Read some numbers, which are packed."""
        return struct.unpack_from("<" + kinds, self._data, self._skip(struct.calcsize("<" + kinds)))

    def name(self) -> bytes:
        """Read bytes up to a 0."""
        end = self._data.find(b"\0", self._at)
        start = self._skip((len(self._data) if end < 0 else end) - self._at + 1)
        return self._data[start:end]

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        """Read as many numbers of one kind, which are not copied."""
        return np.frombuffer(self._data, kind, count, self._skip(count * np.dtype(kind).itemsize))

    def matrix(self, quantised: bool) -> Floats | None:
        """Read a matrix; None for a quantised one that is too large."""
        if not quantised:
            rows, columns = self.numbers("qq")
            _check(rows >= 0 and columns > 0)
            return self.array("<f4", rows * columns).reshape(rows, columns)
        with_norms, rows, columns, size = self.numbers("?qqi")
        _check(rows >= 0 and columns > 0)
        codes = self.array("u1", size)
        pieces = self._centroids(columns)
        _check(size == rows * len(pieces))
        norms: Floats | None = None
        if with_norms:
            norm_codes = self.array("u1", rows)
            norms = self._centroids(1)[0][norm_codes]
        if rows * columns > MOST_DECODED:
            return None
        decoded = np.hstack([piece[codes[place :: len(pieces)]] for place, piece in enumerate(pieces)])
        return decoded if norms is None else norms * decoded

    def _centroids(self, columns: int) -> list[Floats]:
        """Read the centroids of each piece of a row."""
        dim, count, size, last = self.numbers("4i")
        _check(dim == columns and size > 0 and last > 0 and (count - 1) * size + last == columns)
        numbers = self.array("<f4", columns * _CENTROIDS)
        edges = [_CENTROIDS * size * place for place in range(count)]
        return [part.reshape(_CENTROIDS, -1) for part in np.split(numbers, edges[1:])]
