from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.hashing import u64, uniform
from support.batches import SIDE, START, global_batches
from support.shards import matched_row, shard_row
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.views.text_transform import MatchedText, TextTransform

MATCHED = TextTransform({"published": 0, "matched": 1})
ROWS = 24


@pytest.fixture
def dataset(shard_lake, tokenizer, tmp_path, monkeypatch):
    """Return a function that loads texts of a lake of 24 images, whose rows come from a function."""
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))

    def start(make_row=matched_row):
        shard_lake.publish([make_row(n) for n in range(ROWS)], group_rows=8)
        index = build_index(shard_lake.lake, "default").train

        def load(text: TextTransform, *, start: DataState = START, **keys) -> ShardDataset:
            config = LoaderConfig(SampleOrder(), SIDE, 12, views={"text": text}, **keys)
            return ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=start, steps=8)

        return load

    return start


def tokens_of(load, text: TextTransform, world_size: int = 1, workers: int = 1, **keys) -> torch.Tensor:
    batches = global_batches(lambda **split: load(text, **split, **keys), world_size, workers)
    return torch.cat([batch.tokens for batch in batches])


def origin_row(number: int) -> dict[str, object]:
    """Return a row whose texts have different sources and languages."""
    row = matched_row(number)
    origins = (("alt", "en"), ("title", "de"), ("alt", "de"), ("title", "en"))
    texts = [
        text | {"source": source, "lang": language}
        for text, (source, language) in zip(row["texts"], origins, strict=False)
    ]
    return row | {"texts": texts}


languages, sources = st.sampled_from(["en", "de"]), st.sampled_from(["alt", "title"])
factors = st.dictionaries(st.sampled_from(["alt", "title", "en", "de", "sw"]), st.sampled_from([0.25, 0.5, 2.0, 8.0]))


@given(
    st.dictionaries(st.integers(0, 20), st.tuples(languages, sources), min_size=1),
    st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.5, 1.0])),
    factors,
    factors,
    st.integers(0, 2**64 - 1),
)
def test_a_text_is_drawn_with_the_product_of_the_weights_of_its_source_and_language(
    origins, of_kinds, by_source, by_language, seed
):
    """The draw is where the hash falls among the texts, each as wide as its weight; weights are exact fractions."""
    matched = {f"text {number}": MatchedText(*origin) for number, origin in origins.items()}
    weights = dict(zip(("published", "matched"), of_kinds, strict=True))
    transform = TextTransform(weights, source_weights=by_source, language_weights=by_language)
    first = next(iter(matched))
    choices = [("published", first), *(("matched", text) for text in matched)]
    widths = [
        Fraction(weights[kind])
        * Fraction(by_source.get(matched[text].source, 1))
        * Fraction(by_language.get(matched[text].language, 1))
        for kind, text in choices
    ]
    ends = list(accumulate(widths))
    point = Fraction(uniform(u64(seed, "source"))) * ends[-1]
    expected = next(text for (_, text), end in zip(choices, ends, strict=True) if point < end)
    assert transform.show(first, matched[first].language, matched, seed) == (expected, matched[expected].language)


def test_without_weights_of_sources_and_languages_the_draw_is_that_of_equal_ones(dataset):
    load = dataset(origin_row)
    plain = TextTransform({"published": 1, "matched": 2})
    ones = TextTransform(plain.sources, source_weights={"alt": 1.0}, language_weights={"de": 1.0, "en": 1.0})
    assert torch.equal(tokens_of(load, plain), tokens_of(load, ones))


def test_a_language_with_nearly_all_weight_is_shown_wherever_an_image_has_it(dataset, tokenizer):
    transform = TextTransform({"matched": 1}, language_weights={"de": 1e9})
    load = dataset(origin_row)
    weighted, plain = (
        set(map(tuple, tokens_of(load, t).tolist())) for t in (transform, TextTransform(transform.sources))
    )
    rows = [origin_row(number)["texts"] for number in range(ROWS)]
    preferred = [text["text"] for texts in rows for text in texts if text["lang"] == "de" or len(texts) == 1]
    allowed = set(map(tuple, tokenizer(preferred).tolist()))
    assert weighted <= allowed
    assert not plain <= allowed


def test_by_default_a_visit_shows_the_text_of_the_sample():
    assert TextTransform().show("a red fish", "en", {}, 7) == ("a red fish", "en")
    assert not TextTransform().reads_matched


def test_a_drawn_text_has_its_own_language_also_after_an_edit():
    transform = TextTransform({"matched": 1}, edits=("swap",))
    matched = {"a fish": MatchedText("en", "alt"), "un pesce": MatchedText("it", "title")}
    shown = {transform.show("a fish", "en", matched, seed) for seed in range(20)}
    assert shown == {("fish a", "en"), ("pesce un", "it")}


def test_every_matched_text_of_an_image_is_shown_and_no_other(dataset, tokenizer):
    shown = Counter(map(tuple, tokens_of(dataset(), MATCHED).tolist()))
    stored = [text["text"] for n in range(ROWS) for text in matched_row(n)["texts"]]
    assert set(shown) <= set(map(tuple, tokenizer(stored).tolist()))
    assert len(shown) > ROWS  # four epochs show more than one text of an image


def test_the_weights_one_and_zero_show_what_was_shown_before(dataset):
    load = dataset()
    plain = tokens_of(load, TextTransform())
    assert torch.equal(tokens_of(load, TextTransform({"published": 1, "matched": 0})), plain)
    assert not torch.equal(tokens_of(load, MATCHED), plain)


@pytest.mark.parametrize(("world_size", "workers"), [(2, 1), (4, 1), (1, 3), (2, 3)])
def test_a_position_shows_the_same_text_for_any_number_of_ranks_and_workers(dataset, world_size, workers):
    weights = {"source_weights": {"title": 2.0}, "language_weights": {"de": 3.0}}
    load, text = dataset(origin_row), TextTransform({"published": 1, "matched": 1}, edits=("swap", "delete"), **weights)
    alone = tokens_of(load, text)
    assert torch.equal(tokens_of(load, text, world_size, workers), alone)
    assert not torch.equal(tokens_of(load, TextTransform(text.sources, edits=text.edits)), alone)


def test_loading_from_the_middle_shows_the_rest_of_the_texts(dataset):
    load = dataset()
    rest = tokens_of(load, MATCHED, start=DataState(1, 12))
    assert torch.equal(rest[:60], tokens_of(load, MATCHED)[36:96])


def test_an_image_without_matched_texts_is_named(dataset):
    message = r"r1\.parquet, row group \d, row \d: texts: the row has none of source matched"
    with pytest.raises(InputError, match=message):
        tokens_of(dataset(shard_row), MATCHED)
