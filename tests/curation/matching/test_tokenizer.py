"""Compiled normalization equals that of `rules`, for every character and every mixture of characters."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.jit.utf8 import string_buffers
from curation.matching import tokenizer
from curation.matching.char_tables import char_tables
from curation.matching.nfkc_folding import NEEDS_NFKC, NORMALIZED, UNKNOWN_CHAR, build_char_arrays
from curation.matching.rules import normalize_text
from curation.matching.text_block import make_block

MODES = {"reference": tokenizer.REFERENCE, "worldwide": tokenizer.WORLDWIDE}
MARKS = "\u0301\u0308\u0323\u093c\u09be\u0bbe\u0e38\u0e48\u05b0\u05bc\u3099\u1161\u11a8\u0f73\u0344\u20dd\ufe0f\u200d"
LETTERS = "aé1 .'-_ñữ☃™½…ﷺ漢カ한க্কनกאᄀ㍿①ﬁＡ’‐\u00a0\u3000\u200b\u0000\x7f\t"


def normalized_texts(texts, rules):
    """Return each normalized text (from its tokens, if it has no span of its own) and its state."""
    data, offsets = string_buffers(pa.array(texts, pa.large_string()))
    block = make_block(max(1, int(np.diff(offsets).max(initial=0))))
    results, first = [], 0
    while first < len(texts):
        last = tokenizer.tokenize_texts(data, offsets, first, MODES[rules], build_char_arrays(char_tables()), block)
        for index in range(last - first):
            start, end = block.spans[2 * index : 2 * index + 2]
            tokens = range(block.token_offsets[index], block.token_offsets[index + 1] - 1)
            cut = [block.data[block.starts[at] : block.ends[at]].tobytes().decode() for at in tokens]
            normalized = (
                block.data[start:end].tobytes().decode() if start < end else "".join([" ", *(f"{t} " for t in cut)])
            )
            if start < end:
                assert cut == normalized[1:-1].split(" ") or (normalized == " " and not cut)
            results.append((normalized, block.states[index]))
        first = last
    return results


def assert_normalized(texts, rules):
    for text, (normalized, state) in zip(texts, normalized_texts(texts, rules), strict=True):
        assert state != NORMALIZED or normalized == normalize_text(text, rules), repr(text)


def load_characters(texts):
    for code in {ord(char) for text in texts for char in text}:
        char_tables().ensure_loaded(code)
    return texts


def test_every_character_is_normalized_like_in_rules():
    alike = [range(0x3500, 0x9F00), range(0xAD00, 0xD700), range(0xD800, 0xF900), range(0x17000, 0x18D00)]
    codes = [c for c in range(0x20000) if not any(c in part for part in alike)] + [0x20000, *range(0xE0000, 0xE0200)]
    codes = [code for code in codes if unicodedata.category(chr(code)) != "Cn"]
    texts = load_characters([f"a{chr(code)}b1" for code in codes] + [chr(code) for code in codes])
    assert_normalized(texts, "worldwide")
    states = [state for _, state in normalized_texts(texts, "worldwide")]
    assert UNKNOWN_CHAR not in states
    assert states.count(NEEDS_NFKC) < len(states) / 100


@pytest.mark.parametrize("rules", MODES)
@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from(LETTERS + MARKS), max_size=12), max_size=6))
def test_mixtures_are_normalized_like_in_rules(rules, texts):
    assert_normalized(load_characters(texts), rules)


@pytest.mark.parametrize("rules", MODES)
def test_thousands_of_mixtures_are_normalized_like_in_rules(rules):
    dice = random.Random(f"forming {rules}")
    plain = "".join(map(chr, range(0x20, 0x7F)))
    anything = "".join(chr(dice.choice([*range(0xD800), *range(0xE000, 0x20000)])) for _ in range(2000))
    for alphabet in (plain, plain + LETTERS, "ab'.-_ ,", LETTERS + MARKS, MARKS, anything):
        texts = ["".join(dice.choices(alphabet, k=dice.randrange(40))) for _ in range(300)]
        assert_normalized(load_characters(texts), rules)


def test_texts_of_any_size_share_a_block_or_fill_one():
    texts = load_characters(["a, b" * size for size in (1, 0, 9000, 3, 20000, 1, 1)] + ["é…" * 20000, "x"] * 2)
    assert_normalized(texts, "worldwide")
    assert_normalized(texts, "reference")


def test_a_character_that_is_not_loaded_is_reported():
    code = next(code for code in range(0x50000, 0xC0000, 256) if not char_tables().kinds[code])
    [(_, state)] = normalized_texts([f"a {chr(code)}"], "worldwide")
    assert state == UNKNOWN_CHAR


@pytest.mark.parametrize(
    "data", [b"\xff", b"a\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80\x80", b"\xf8\x88\x80\x80\x80"]
)
def test_invalid_utf8_is_tokenized_without_reading_past_its_end(data):
    load_characters(["\ufffd"])
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data)]
    )
    bytes_, offsets = string_buffers(text)
    block = make_block(len(data))
    for mode in MODES.values():
        assert tokenizer.tokenize_texts(bytes_, offsets, 0, mode, build_char_arrays(char_tables()), block) == 1
