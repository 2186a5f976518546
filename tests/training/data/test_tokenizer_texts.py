from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.balance.sampling import DrawKey
from curation.io.storage import Storage
from support.shards import matched_row, publish_matched, shard_row
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer
from training.data.tokenizer_texts import MAX_REPEATS, balance, sample_texts, tokenizer_texts

SIZES = st.dictionaries(st.sampled_from(["en", "de", "sw", "th", "yo"]), st.integers(1, 60), min_size=1)


def texts_of(sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Return texts of several languages in turn."""
    rows = [
        (number / size, language, f"{language} {number}") for language, size in sizes.items() for number in range(size)
    ]
    return [(language, text) for _, language, text in sorted(rows)]


@given(SIZES, st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_a_language_has_its_share_of_the_balanced_texts(sizes, alpha):
    found = Counter(text.partition(" ")[0] for text in balance(texts_of(sizes), alpha))
    total, powers = sum(sizes.values()), {language: size**alpha for language, size in sizes.items()}
    for language, size in sizes.items():
        expected = min(MAX_REPEATS * size, total * powers[language] / sum(powers.values()))
        assert abs(found[language] - expected) <= 1


@given(SIZES, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_texts_of_a_language_are_repeated_or_left_out_evenly_and_in_order(sizes, alpha):
    texts = texts_of(sizes)
    found = list(balance(texts, alpha))
    ranks = {text: number for number, (_, text) in enumerate(texts)}
    assert [ranks[text] for text in found] == sorted(ranks[text] for text in found)
    counts = Counter(found)
    for language, size in sizes.items():
        repeats = [counts[f"{language} {number}"] for number in range(size)]
        assert max(repeats) - min(repeats) <= 1
        assert max(repeats) <= MAX_REPEATS


@given(SIZES)
def test_with_an_exponent_of_one_or_a_single_language_nothing_changes(sizes):
    texts = texts_of(sizes)
    assert list(balance(texts, 1.0)) == [text for _, text in texts]
    only = [("en", text) for _, text in texts]
    assert list(balance(only, 0.3)) == [text for _, text in texts]


def test_every_sample_is_read_with_its_language(shard_lake):
    rows = [{**shard_row(n), "lang": ("en", "de")[n % 3 == 0], "text": f"text {n}"} for n in range(50)]
    shard_lake.publish(rows)
    index = build_index(shard_lake.lake, "default").train
    assert sorted(sample_texts(index, Storage(), limit=1000)) == sorted((row["lang"], row["text"]) for row in rows)


def test_a_limited_sample_has_texts_of_every_batch_in_proportion(shard_lake):
    """The first texts in file order were all of the first batch."""
    for batch, language in (("b1", "en"), ("b2", "de"), ("b3", "ja")):
        shard_lake.publish([shard_row(n) | {"lang": language} for n in range(400)], batch=batch, run=f"r-{batch}")
    index = build_index(shard_lake.lake, "default").train
    found = sample_texts(index, Storage(), limit=605)
    assert len(found) == 605
    assert all(150 < count < 250 for count in Counter(language for language, _ in found).values())
    order = [language for language, _ in found]
    assert order == sorted(order, key=["en", "de", "ja"].index), "in file order"


def test_a_drawn_text_is_read_with_its_own_language(shard_lake):
    rows = []
    for n in range(80):
        row = matched_row(n)
        texts = [{**text, "lang": f"l{k}"} for k, text in enumerate(row["texts"])]
        rows.append({**row, "texts": texts, "lang": "other"})
    shard_lake.publish(rows, selection="all")
    index = build_index(shard_lake.lake, "default", online=True).train
    key = DrawKey(3, 0)
    found = sample_texts(index, Storage(), key, limit=1000)
    drawn = []
    for group in range(len(index.counts)):
        mask, chosen, _ = ShardReader(index, Storage()).draw(group, key)
        drawn += [text for text, is_kept in zip(chosen.to_pylist(), mask.tolist(), strict=True) if is_kept]
    assert [text for _, text in found] == drawn
    assert {language for language, _ in found} >= {"l0", "l1"}
    assert all(text.endswith(f" {language[1:]}") for language, text in found)


def test_a_rare_language_gets_words_of_its_own(shard_lake):
    rows = [{**shard_row(n), "text": f"a picture of the number {n * 7919}"} for n in range(400)]
    for n in range(0, 400, 40):
        rows[n] |= {"lang": "th", "text": "สวัสดีครับ แมวสีดำ"}
    shard_lake.publish(rows)
    index = build_index(shard_lake.lake, "default").train

    def length(alpha: float) -> int:
        texts = tokenizer_texts(index, Storage(), None, alpha=alpha)
        tokens = Tokenizer.train(texts, vocab_size=290, context_length=64)(["สวัสดีครับ แมวสีดำ"])[0].tolist()
        return tokens.index(2)

    assert length(0.3) < length(1.0)


def test_online_lakes_give_texts_for_a_tokenizer(shard_lake):
    publish_matched(shard_lake, 60)
    index = build_index(shard_lake.lake, "default", online=True).train
    assert len(list(tokenizer_texts(index, Storage(), DrawKey(3, 0), alpha=0.3))) == pytest.approx(
        len(sample_texts(index, Storage(), DrawKey(3, 0), limit=1000)), abs=2
    )
