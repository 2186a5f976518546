"""Compute the features of texts as fastText defines them: rows of the model's input matrix, in compiled loops.

A text is split at white space and ends with the word `</s>`. Its features are, for each word:

- the row of the word itself, if the model's vocabulary contains it;
- one row for each n-gram of characters of `<word>`, brackets included, with `minn` to `maxn` characters;

and, after all words, one row for each n-gram of 2 to `word_ngrams` words. Models do not store n-grams: an n-gram is
hashed to a bucket, and each bucket has a row after the rows of the words. In a pruned model only some buckets have one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Int, Ints, Offsets, jit, jit_inline
from curation.lid.fasttext_file import Model

Hashes = npt.NDArray[np.uint32]

END: Final = b"</s>"  # the word that ends each text
_LABEL: Final = np.frombuffer(b"__label__", np.uint8)  # unknown words with this prefix are skipped
_OPEN, _CLOSE = b"<>"
_BASIS: Final = 2166136261  # of the hash FNV-1a
_PRIME: Final = 16777619
_WORD_FACTOR: Final = 116049371


class Dictionary(NamedTuple):
    """The vocabulary of a model as arrays, for compiled loops.

    Attributes:
        names: the bytes of all words, then of all labels, then of END unless it is one of the words.
        ends: a 0, then the end of each name in `names`.
        hashes: the hash of each name.
        slots: an open-addressing hash table of name numbers, -1 in empty slots; its length is a power of two.
        bucket_rows: per bucket its row, counted after the rows of the words, or -1; empty if every bucket has one.
        has_row: a bitmap of the buckets that have a row in `bucket_rows`. It fits the processor's cache.
        end: the number of the name END.
        words: the number of words.
        minn, maxn, word_ngrams, bucket: as in `Model`.
    """

    names: Bytes
    ends: Offsets
    hashes: Hashes
    slots: Ints
    bucket_rows: Ints
    has_row: Bytes
    end: int
    words: int
    minn: int
    maxn: int
    word_ngrams: int
    bucket: int


def build_dictionary(model: Model) -> Dictionary:
    """Build the dictionary of a model."""
    names = [*model.words, *(label.encode("utf-8") for label in model.labels)]
    if END not in model.words:
        names.append(END)
    ends = np.cumsum([0, *map(len, names)])
    data = np.frombuffer(b"".join(names), np.uint8)
    slots = np.full(1 << (2 * len(names)).bit_length(), -1, np.int32)
    maxn, word_ngrams, bucket_rows = model.maxn, max(model.word_ngrams, 1), np.empty(0, np.int32)
    if model.bucket_rows is not None and not len(model.bucket_rows):
        maxn, word_ngrams = 0, 1  # all its n-grams were pruned
    elif model.bucket_rows is not None:
        bucket_rows = np.full(model.bucket, -1, np.int32)
        bucket_rows[model.bucket_rows[:, 0]] = model.bucket_rows[:, 1]
    return Dictionary(
        names=data,
        ends=ends,
        hashes=_insert_names(data, ends, slots),
        slots=slots,
        bucket_rows=bucket_rows,
        has_row=np.packbits(bucket_rows >= 0, bitorder="little"),
        end=names.index(END),
        words=len(model.words),
        minn=max(model.minn, 1),
        maxn=maxn,
        word_ngrams=word_ngrams,
        bucket=model.bucket,
    )


@jit_inline
def _hash_byte(hashed: Int, byte: Int) -> Int:
    """Add a byte to a hash. Bytes are sign-extended, as they were when the published models were trained."""
    return np.uint32(np.uint32(hashed ^ np.uint32(np.int8(byte))) * np.uint32(_PRIME))


@jit_inline
def _is_white_space(byte: Int) -> bool:
    return bool(byte == 0x20 or byte == 0 or (byte >= 0x09 and byte <= 0x0D))


@jit
def _insert_names(names: Bytes, ends: Offsets, slots: Ints) -> Hashes:
    """Insert names into an empty hash table and return their hashes."""
    hashes = np.empty(len(ends) - 1, np.uint32)
    for name in range(len(hashes)):
        hashed = np.uint32(_BASIS)
        for at in range(ends[name], ends[name + 1]):
            hashed = _hash_byte(hashed, names[at])
        hashes[name] = hashed
        slot = np.int64(hashed) & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = name
    return hashes


@jit_inline
def _starts_with(word: Bytes, length: Int, name: Bytes) -> bool:
    """Return whether a word, stored after its opening bracket, starts with a name."""
    index = 0
    while index < len(name) and index + 1 < length and word[index + 1] == name[index]:
        index += 1
    return index == len(name)


@jit_inline
def _find_name(names: Bytes, ends: Offsets, hashes: Hashes, slots: Ints, hashed: Int, word: Bytes, length: Int) -> Int:
    """Return the number of the name that equals a word, or -1."""
    slot = np.int64(hashed) & (len(slots) - 1)
    while slots[slot] >= 0:
        name = np.int64(slots[slot])
        start, end = ends[name], ends[name + 1]
        if hashes[name] == hashed and end - start == length - 1 and _starts_with(word, length, names[start:end]):
            return name
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(-1)


@jit_inline
def _read_word(data: Bytes, at: Int, end: Int, word: Bytes, chars: Ints) -> tuple[Int, Int, Int, Int]:
    """Copy the next word of `data[at:end]` to `word`, after the opening bracket there, and add the closing bracket.

    Writes the start of each of its characters, brackets included, and the end of the last, to `chars`. Returns the
    offset after the word in `data`; its number of bytes and of characters, both with the opening bracket; and its hash.
    The number of bytes is 1 if no word is left.
    """
    while at < end and _is_white_space(data[at]):
        at += 1
    hashed = np.uint32(_BASIS)
    length = num_chars = 1
    while at < end and not _is_white_space(data[at]):
        byte = data[at]
        hashed = _hash_byte(hashed, byte)
        word[length] = byte
        chars[num_chars] = length
        num_chars += (byte & 0xC0) != 0x80
        length += 1
        at += 1
    word[length] = _CLOSE
    chars[num_chars] = length
    chars[num_chars + 1] = length + 1
    return at, length, num_chars, hashed


@jit_inline
def _add_bucket(bucket: Int, has_row: Bytes, rows: Ints, count: Int) -> Int:
    """Append `~bucket`, a negative number, if the bucket has a row; return the new number of rows."""
    rows[count] = ~bucket
    if len(has_row) == 0:
        return count + 1
    return count + (has_row[bucket >> 3] >> np.uint8(bucket & 7) & 1)


@jit_inline
def _add_ngrams(
    word: Bytes, chars: Ints, size: Int, lengths: tuple[Int, Int], bucket: Int, has_row: Bytes, rows: Ints, count: Int
) -> Int:
    """Append the n-grams of a word of `size` characters, brackets included; return the new number of rows."""
    minn, maxn = lengths
    for first in range(size):
        hashed = np.uint32(_BASIS)
        for last in range(first, min(first + maxn, size)):
            for at in range(chars[last], chars[last + 1]):
                hashed = _hash_byte(hashed, word[at])
            is_bracket_alone = last == first and (first == 0 or last == size - 1)
            if last - first + 1 >= minn and not is_bracket_alone:
                count = _add_bucket(np.int64(hashed % np.uint32(bucket)), has_row, rows, count)
    return count


@jit_inline
def _add_word_ngrams(
    word_hashes: Hashes, size: Int, max_length: Int, bucket: Int, has_row: Bytes, rows: Ints, count: Int
) -> Int:
    """Append the n-grams of the first `size` words, given by their hashes; return the new number of rows."""
    for first in range(size):
        hashed = np.uint64(np.int64(np.int32(word_hashes[first])))
        for last in range(first + 1, min(first + max_length, size)):
            hashed = hashed * np.uint64(_WORD_FACTOR) + np.uint64(np.int64(np.int32(word_hashes[last])))
            count = _add_bucket(np.int64(hashed % np.uint64(bucket)), has_row, rows, count)
    return count


@jit
def collect_feature_rows(data: Bytes, offsets: Offsets, dictionary: Dictionary) -> tuple[Ints, Offsets]:
    """Return the input rows of texts, one text after the other, and a 0 followed by the end of each text's rows.

    Args:
        data: the texts as UTF-8.
        offsets: start of each text in `data`, and the end of the last.
        dictionary: of the model.
    """
    names, ends, hashes, slots, bucket_rows, has_row, end_word, words, minn, maxn, word_ngrams, bucket = dictionary
    num_texts = len(offsets) - 1
    max_length = 0
    for text in range(num_texts):
        max_length = max(max_length, offsets[text + 1] - offsets[text])
    rows_per_char = max(maxn - minn + 1, 0) + word_ngrams  # upper bound of the features that start at a character
    rows = np.empty((2 * (offsets[-1] - offsets[0]) + 4 * num_texts) * rows_per_char, np.int32)
    row_ends = np.zeros(num_texts + 1, np.int64)
    word = np.empty(max_length + 2, np.uint8)
    chars = np.empty(max_length + 3, np.int32)
    word_hashes = np.empty(max_length // 2 + 2, np.uint32)  # of the words of a text
    word[0] = _OPEN
    chars[0] = 0
    count = 0
    for text in range(num_texts):
        at, end = offsets[text], offsets[text + 1]
        size = 0
        while True:
            at, length, num_chars, hashed = _read_word(data, at, end, word, chars)
            name = _find_name(names, ends, hashes, slots, hashed, word, length) if length > 1 else end_word
            if name == end_word:
                break
            if name >= words or (name < 0 and _starts_with(word, length, _LABEL)):
                continue
            if name >= 0:
                rows[count] = name
                count += 1
            count = _add_ngrams(word, chars, num_chars + 1, (minn, maxn), bucket, has_row, rows, count)
            word_hashes[size] = hashed
            size += 1
        if end_word < words:
            rows[count] = end_word
            count += 1
        if word_ngrams > 1:
            word_hashes[size] = hashes[end_word]
            count = _add_word_ngrams(word_hashes, size + 1, word_ngrams, bucket, has_row, rows, count)
        row_ends[text + 1] = count
    for index in range(count):
        if rows[index] < 0:
            rows[index] = words + (bucket_rows[~rows[index]] if len(bucket_rows) else ~rows[index])
    return rows[:count], row_ends
