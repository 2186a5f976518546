from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support.vectors import expected, inputs
from training.data.views.seeds import view_seed
from training.data.views.word_masking import UNMASKED, WordMask

PAD, START, END, MASK, VOCABULARY = 0, 1, 2, 3, 50
MASKING = WordMask(MASK, VOCABULARY, [PAD, START, END])


def text_ids(words: list[int], padding: int = 0) -> np.ndarray:
    return np.array([START, *words, END, *[PAD] * padding], np.int32)


@given(words=st.lists(st.integers(4, VOCABULARY - 1), max_size=20), seed=st.integers(0, 2**64 - 1))
def test_special_tokens_stay_and_labels_restore_the_text(words, seed):
    ids = text_ids(words, padding=3)
    masked, labels = MASKING.apply(ids, seed)
    assert masked.dtype == np.int32
    assert np.array_equal(np.where(labels == UNMASKED, masked, labels), ids)
    assert (labels[ids < 4] == UNMASKED).all()
    assert (masked == END).sum() == 1


@given(words=st.lists(st.integers(4, VOCABULARY - 1), max_size=20), seed=st.integers(0, 2**64 - 1))
def test_padding_does_not_change_the_mask(words, seed):
    short, longer = (MASKING.apply(text_ids(words, padding), seed)[0] for padding in (0, 7))
    assert np.array_equal(longer[: len(short)], short)


def test_rates_are_those_of_the_published_code():
    given_rates, wanted = inputs("declip", "mlm_rates"), expected("declip", "mlm_rates")
    texts, length = given_rates["texts"], given_rates["tokens_per_text"]
    ids = np.random.default_rng(4).integers(4, VOCABULARY, (texts, length)).astype(np.int32)
    results = [MASKING.apply(row, view_seed(0, "mask", "text", epoch=0, position=n)) for n, row in enumerate(ids)]
    masked, labels = (np.stack(part) for part in zip(*results, strict=True))
    selected = labels != UNMASKED
    kept = (masked == ids) & selected
    rates = {
        "selected": (selected.mean(), 0.15, selected.size),
        "mask": ((masked[selected] == MASK).mean(), 0.8, selected.sum()),
        # a random id is the original with probability 1 / 46
        "random": (1 - (kept | (masked == MASK))[selected].mean(), 0.1 * 45 / 46, selected.sum()),
    }
    for name, (found, probability, count) in rates.items():
        error = math.sqrt(probability * (1 - probability) / count)
        assert abs(found - probability) < 4 * error, name
        assert abs(found - wanted[name]) < 6 * error, name
