from __future__ import annotations

import logging
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.hashing import u64
from training.data.epochs.mixture import Mixture
from training.data.row_languages import RowLanguages
from training.data.shard_index import ShardIndex

LANGUAGES = ("en", "de", "sw")


def make_index(groups: list[tuple[str, str]]) -> ShardIndex:
    """Return an index of row groups, each a recipe and its rows: a letter per row, upper case if it is a sample."""
    masks = [np.array([row.isupper() for row in rows], bool) for _, rows in groups]
    codes = ["EDS".index(row.upper()) for _, rows in groups for row in rows]
    recipes = sorted({recipe for recipe, _ in groups})
    return ShardIndex(
        version=1,
        run_ids=("r1",),
        files=tuple(f"{recipe}.parquet" for recipe in recipes),
        group_file=np.array([recipes.index(recipe) for recipe, _ in groups], np.int32),
        group_number=np.arange(len(groups), dtype=np.int32),
        group_rows=np.array([len(rows) for _, rows in groups], np.int64),
        counts=np.array([mask.sum() for mask in masks], np.int64),
        bits=np.concatenate([np.packbits(mask) for mask in masks]),
        recipes=tuple(recipes),
        languages=RowLanguages(LANGUAGES, np.array(codes, np.uint16)),
    )


def occurrences(index: ShardIndex) -> Counter[tuple[int, int]]:
    """Return how often each (row group, row) is a sample."""
    found = [(int(index.group_number[group]), row) for group in range(len(index.counts)) for row in index.rows(group)]
    assert len(found) == index.samples == index.counts.sum()
    return Counter(found)


groups_of = st.lists(st.tuples(st.sampled_from("ab"), st.text("EDSeds", min_size=1, max_size=20)), min_size=1).filter(
    lambda groups: all(any(row.isupper() for name, rows in groups if name == r for row in rows) for r, _ in groups)
)
temperatures = st.sampled_from([1.0, 2.0, 3.5, 0.5])
weight_pairs = st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9))


def slow_factors(groups, weights, temperature: float, limit: int) -> dict[tuple[str, str], float]:
    """Return f of each recipe and language, with plain dictionaries, as the module docstring has it."""
    pairs = Counter((recipe, row) for recipe, rows in groups for row in rows if row.isupper())
    of_recipe = Counter()
    for (recipe, _), count in pairs.items():
        of_recipe[recipe] += count
    share = {recipe: weights[recipe] if weights else count for recipe, count in of_recipe.items()}
    each = {recipe: share[recipe] / sum(share.values()) / count for recipe, count in of_recipe.items()}
    p = Counter()
    for (recipe, language), count in pairs.items():
        p[language] += count * each[recipe]
    powers = {language: value ** (1 / temperature) for language, value in p.items()}
    scale = {language: power / sum(powers.values()) / p[language] for language, power in powers.items()}
    return {pair: min(limit, pairs.total() * each[pair[0]] * scale[pair[1]]) for pair in pairs}


@settings(deadline=None)
@given(groups_of, weight_pairs, temperatures, st.integers(1, 5), st.integers(0, 3))
def test_a_pair_occurs_as_often_as_its_recipe_and_language_say_evenly_over_the_epochs(
    groups, weights, temperature, limit, seed
):
    index = make_index(groups)
    of_recipe = dict(zip("ab", weights, strict=True)) if weights else {}
    mixture = Mixture(of_recipe, temperature, limit, seed)
    factors = slow_factors(groups, of_recipe, temperature, limit)
    epochs = [occurrences(mixture.epoch(index, epoch)) for epoch in range(6)]
    for group, (recipe, rows) in enumerate(groups):
        for row, letter in enumerate(rows):
            counts = [epoch[group, row] for epoch in epochs]
            if not letter.isupper():
                assert sum(counts) == 0
                continue
            factor = factors[recipe, letter]
            for start in range(6):
                for stop in range(start + 1, 7):
                    expected = factor * (stop - start)
                    assert abs(sum(counts[start:stop]) - expected) < 1 + 1e-9


def test_shares_follow_the_weights_and_the_temperature():
    rng = np.random.default_rng(0)
    groups = [("a", "".join(rng.choice(list("EDS"), 500, p=[0.9, 0.09, 0.01]))) for _ in range(40)]
    groups += [("b", "".join(rng.choice(list("ED"), 500, p=[0.5, 0.5]))) for _ in range(10)]
    index = make_index(groups)

    def shares(mixture: Mixture, of) -> dict[str, float]:
        found = Counter()
        for (group, row), times in occurrences(mixture.epoch(index, 0)).items():
            found[of(group, row)] += times
        return {name: count / found.total() for name, count in found.items()}

    by_recipe = shares(Mixture({"a": 1, "b": 3}), lambda group, _: groups[group][0])
    assert by_recipe["b"] == pytest.approx(0.75, abs=0.01)
    plain = shares(Mixture({}), lambda group, row: groups[group][1][row])
    found = shares(Mixture({}, 2.0), lambda group, row: groups[group][1][row])
    total = sum(share**0.5 for share in plain.values())
    for language, share in plain.items():
        assert found[language] == pytest.approx(share**0.5 / total, rel=0.05)


def test_without_weights_and_temperature_the_index_is_used_as_it_is():
    index = make_index([("a", "EDs"), ("b", "SSe")])
    assert Mixture({}).epoch(index, 3) is index
    same = Mixture({"a": 2, "b": 2}).epoch(index, 3)
    assert occurrences(same) == occurrences(index)


def test_an_epoch_is_a_function_of_the_seed_and_the_epoch():
    index = make_index([("a", "EDDS" * 30), ("b", "ES" * 50)])
    mixture = Mixture({"a": 1, "b": 5}, 2.0)
    assert occurrences(mixture.epoch(index, 4)) == occurrences(mixture.epoch(index, 4))
    assert occurrences(mixture.epoch(index, 4)) != occurrences(mixture.epoch(index, 5))
    assert occurrences(mixture._replace(seed=1).epoch(index, 4)) != occurrences(mixture.epoch(index, 4))


def test_the_choice_is_the_documented_hash():
    index = make_index([("a", "E" * 8), ("b", "E" * 24)])
    draws = np.random.PCG64(u64(7, "repeat", "1")).random_raw(24)
    epoch = occurrences(Mixture({"a": 1, "b": 1}, seed=7).epoch(index, 2))
    factor = Fraction(32, 2 * 24)
    for row, draw in enumerate(draws.tolist()):
        start = Fraction(draw >> 11, 1 << 53)
        assert epoch[1, row] == int(3 * factor + start) - int(2 * factor + start)


def test_a_recipe_without_pairs_is_named():
    with pytest.raises(UsageError, match="recipe: b has no pairs to train on: remove it, or choose other languages"):
        Mixture({"a": 1, "b": 1}).epoch(make_index([("a", "E"), ("b", "e")]), 0)


def test_the_log_states_repeats_and_reads(caplog):
    with caplog.at_level(logging.INFO):
        Mixture({"a": 3, "b": 1}).epoch(make_index([("a", "EE"), ("b", "EEEE")]), 0)
    assert caplog.messages[0].startswith("epoch 0: ")
    assert "mixed from 6;" in caplog.messages[0]
    assert "row groups are read" in caplog.messages[0]
