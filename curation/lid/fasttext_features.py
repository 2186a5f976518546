"""Texts as fastText sees them: the rows of its input matrix that a text stands for, found by compiled loops.

A text is cut at white space. A word stands for its own row, when the model knows it, and for those of the n-grams of
characters of `<word>`; n-grams of words follow behind. N-grams have no names in a model: they are hashed to buckets.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Int, Ints, Offsets, jit, jit_inline
from curation.lid.fasttext_file import Model

Hashes = npt.NDArray[np.uint32]

END: Final = b"</s>"  # the word that ends each text
_LABEL: Final = np.frombuffer(b"__label__", np.uint8)  # a word that begins so and is not known is passed over
_OPEN, _CLOSE = b"<>"
_BASIS: Final = 2166136261  # of FNV-1a, the hash
_PRIME: Final = 16777619
_WORD_FACTOR: Final = 116049371


class Dictionary(NamedTuple):
    """What the loops need of a model.

    Attributes:
        names: the bytes of all words, then of all labels, then of END unless it is one of the words.
        ends: where the bytes of each end, behind a 0.
        hashes: the hash of each.
        slots: an open-addressing table of names by hash, -1 where nothing lies; a power of two long.
        kept: the place behind the words of each bucket that has a row; empty when every bucket has its own.
        known: a bitmap of the buckets in `kept` that have one. Few have, and it fits the processor's cache.
        end: the number of END among the names.
        words: the number of words.
        minn, maxn, word_ngrams, bucket: as in `Model`.
    """

    names: Bytes
    ends: Offsets
    hashes: Hashes
    slots: Ints
    kept: Ints
    known: Bytes
    end: int
    words: int
    minn: int
    maxn: int
    word_ngrams: int
    bucket: int


def build_dictionary(model: Model) -> Dictionary:
    """Return what the loops need of a model."""
    names = [*model.words, *(label.encode("utf-8") for label in model.labels)]
    if END not in model.words:
        names.append(END)
    ends = np.cumsum([0, *map(len, names)])
    data = np.frombuffer(b"".join(names), np.uint8)
    slots = np.full(1 << (2 * len(names)).bit_length(), -1, np.int32)
    maxn, word_ngrams, kept = model.maxn, max(model.word_ngrams, 1), np.empty(0, np.int32)
    if model.kept is not None and not len(model.kept):
        maxn, word_ngrams = 0, 1  # all its n-grams were pruned away
    elif model.kept is not None:
        kept = np.full(model.bucket, -1, np.int32)
        kept[model.kept[:, 0]] = model.kept[:, 1]
    return Dictionary(
        names=data,
        ends=ends,
        hashes=_fill(data, ends, slots),
        slots=slots,
        kept=kept,
        known=np.packbits(kept >= 0, bitorder="little"),
        end=names.index(END),
        words=len(model.words),
        minn=max(model.minn, 1),
        maxn=maxn,
        word_ngrams=word_ngrams,
        bucket=model.bucket,
    )


@jit_inline
def _mix(hashed: Int, byte: Int) -> Int:
    """Go on with a hash; bytes count as signed numbers, as they did when the published models were trained."""
    return np.uint32(np.uint32(hashed ^ np.uint32(np.int8(byte))) * np.uint32(_PRIME))


@jit_inline
def _is_white(byte: Int) -> bool:
    return bool(byte == 0x20 or byte == 0 or (byte >= 0x09 and byte <= 0x0D))


@jit
def _fill(names: Bytes, ends: Offsets, slots: Ints) -> Hashes:
    """Put names into empty slots and return their hashes."""
    hashes = np.empty(len(ends) - 1, np.uint32)
    for name in range(len(hashes)):
        hashed = np.uint32(_BASIS)
        for at in range(ends[name], ends[name + 1]):
            hashed = _mix(hashed, names[at])
        hashes[name] = hashed
        slot = np.int64(hashed) & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = name
    return hashes


@jit_inline
def _begins(word: Bytes, length: Int, name: Bytes) -> bool:
    """Tell whether a word, which lies behind its bracket, begins with a name."""
    place = 0
    while place < len(name) and place + 1 < length and word[place + 1] == name[place]:
        place += 1
    return place == len(name)


@jit_inline
def _find(names: Bytes, ends: Offsets, hashes: Hashes, slots: Ints, hashed: Int, word: Bytes, length: Int) -> Int:
    """Return the number of the name that a word is, or -1."""
    slot = np.int64(hashed) & (len(slots) - 1)
    while slots[slot] >= 0:
        name = np.int64(slots[slot])
        start, end = ends[name], ends[name + 1]
        if hashes[name] == hashed and end - start == length - 1 and _begins(word, length, names[start:end]):
            return name
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(-1)


@jit_inline
def _read_word(data: Bytes, at: Int, end: Int, word: Bytes, chars: Ints) -> tuple[Int, Int, Int, Int]:
    """Copy the next word behind the bracket that `word` begins with, and set the closing one.

    Puts where each of its characters begins, brackets included, and the end of the last, to `chars`.
    Returns the place behind the word, its length and the number of its characters, both with the first bracket, and its
    hash; the length is 1 when there is none.
    """
    while at < end and _is_white(data[at]):
        at += 1
    hashed = np.uint32(_BASIS)
    length = letters = 1
    while at < end and not _is_white(data[at]):
        byte = data[at]
        hashed = _mix(hashed, byte)
        word[length] = byte
        chars[letters] = length
        letters += (byte & 0xC0) != 0x80
        length += 1
        at += 1
    word[length] = _CLOSE
    chars[letters] = length
    chars[letters + 1] = length + 1
    return at, length, letters, hashed


@jit_inline
def _add_bucket(bucket: Int, known: Bytes, rows: Ints, count: Int) -> Int:
    """Append a bucket as a number below 0, if it has a row, and return the new count."""
    rows[count] = ~bucket
    if len(known) == 0:
        return count + 1
    return count + (known[bucket >> 3] >> np.uint8(bucket & 7) & 1)


@jit_inline
def _add_ngrams(
    word: Bytes, chars: Ints, size: Int, lengths: tuple[Int, Int], bucket: Int, known: Bytes, rows: Ints, count: Int
) -> Int:
    """Append the n-grams of `size` characters of a word, its brackets included; return the new count."""
    minn, maxn = lengths
    for first in range(size):
        hashed = np.uint32(_BASIS)
        for last in range(first, min(first + maxn, size)):
            for at in range(chars[last], chars[last + 1]):
                hashed = _mix(hashed, word[at])
            alone = last == first and (first == 0 or last == size - 1)  # a bracket by itself
            if last - first + 1 >= minn and not alone:
                count = _add_bucket(np.int64(hashed % np.uint32(bucket)), known, rows, count)
    return count


@jit_inline
def _add_word_ngrams(seen: Hashes, size: Int, longest: Int, bucket: Int, known: Bytes, rows: Ints, count: Int) -> Int:
    """Append the n-grams of the words with some hashes, and return the new count."""
    for first in range(size):
        hashed = np.uint64(np.int64(np.int32(seen[first])))
        for last in range(first + 1, min(first + longest, size)):
            hashed = hashed * np.uint64(_WORD_FACTOR) + np.uint64(np.int64(np.int32(seen[last])))
            count = _add_bucket(np.int64(hashed % np.uint64(bucket)), known, rows, count)
    return count


@jit
def collect_feature_rows(data: Bytes, offsets: Offsets, dictionary: Dictionary) -> tuple[Ints, Offsets]:
    """Return the rows of some texts, one after the other, and where those of each end, behind a 0.

    Args:
        data: UTF-8.
        offsets: where each text begins, and the end of the last.
        dictionary: of the model.
    """
    names, ends, hashes, slots, kept, known, end_word, words, minn, maxn, word_ngrams, bucket = dictionary
    texts = len(offsets) - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    most = max(maxn - minn + 1, 0) + word_ngrams  # rows of a character with its word
    rows = np.empty((2 * (offsets[-1] - offsets[0]) + 4 * texts) * most, np.int32)
    row_ends = np.zeros(texts + 1, np.int64)
    word = np.empty(longest + 2, np.uint8)
    chars = np.empty(longest + 3, np.int32)
    seen = np.empty(longest // 2 + 2, np.uint32)  # the hashes of a text's words
    word[0] = _OPEN
    chars[0] = 0
    count = 0
    for text in range(texts):
        at, end = offsets[text], offsets[text + 1]
        size = 0
        while True:
            at, length, letters, hashed = _read_word(data, at, end, word, chars)
            name = _find(names, ends, hashes, slots, hashed, word, length) if length > 1 else end_word
            if name == end_word:
                break
            if name >= words or (name < 0 and _begins(word, length, _LABEL)):
                continue
            if name >= 0:
                rows[count] = name
                count += 1
            count = _add_ngrams(word, chars, letters + 1, (minn, maxn), bucket, known, rows, count)
            seen[size] = hashed
            size += 1
        if end_word < words:
            rows[count] = end_word
            count += 1
        if word_ngrams > 1:
            seen[size] = hashes[end_word]
            count = _add_word_ngrams(seen, size + 1, word_ngrams, bucket, known, rows, count)
        row_ends[text + 1] = count
    for place in range(count):
        if rows[place] < 0:
            rows[place] = words + (kept[~rows[place]] if len(kept) else ~rows[place])
    return rows[:count], row_ends
