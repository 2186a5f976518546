"""Samples are left out by columns of annotations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotations.capitalized import capitalized_share
from curation.errors import UsageError
from support.annotations import publish_annotations
from support.shards import ShardLake, shard_row
from support.vectors import expected, inputs
from training.data.shard_index import build_index
from training.data.tables.selection import Interval

MAKER = {"maker": "m:Maker", "version": "1"}
ROWS = 40
NO_NUMBERS = "select.subtitle: it has no numbers: leave out the bounds, or choose among clip_score, propn_share"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake whose pairs have the scores 0, 0.1, … 0.9, and none of each seventh."""
    shard_lake = ShardLake(tmp_path_factory.mktemp("selection") / "lake")
    shard_lake.publish([shard_row(n) for n in range(ROWS)], group_rows=9, file_rows=25)
    for run, kind in enumerate(("clip_score", "propn_share")):
        publish_annotations(shard_lake, kind, value=lambda _, name: score(int(name, 16)), maker=MAKER, run=f"r{run}")
    return shard_lake.lake


def score(number: int) -> float | None:
    return None if number % 7 == 6 else number % 10 / 10


def samples(lake, select: dict[str, Interval]) -> list[int]:
    index = build_index(lake, "default", select=select).train
    starts = np.concatenate([[0], np.cumsum(index.group_rows)])
    numbers = [int(start) + row for group, start in enumerate(starts[:-1]) for row in index.rows(group).tolist()]
    assert len(numbers) == index.samples
    return numbers


bounds = st.none() | st.integers(0, 10).map(lambda tenths: tenths / 10)


@given(st.builds(Interval, bounds, bounds), st.builds(Interval, bounds, bounds))
def test_samples_are_those_within_all_bounds(lake, first, second):
    def within(number: int, interval: Interval) -> bool:
        value = score(number)
        low, high = interval
        return value is not None and (low is None or value >= low) and (high is None or value < high)

    wanted = [number for number in range(ROWS) if within(number, first) and within(number, second)]
    assert samples(lake, {"clip_score": first, "propn_share": second}) == wanted


def test_captions_of_proper_nouns_are_dropped_as_in_the_vector(tmp_path):
    tags = inputs("clip_italian", "propn_filter")["tags"]
    texts = [" ".join("Roma" if tag == "PROPN" else "casa" for tag in caption) for caption in tags]
    shard_lake = ShardLake(tmp_path / "lake")
    shard_lake.publish([shard_row(n) for n in range(len(texts))])
    shares = {f"{number:024x}": capitalized_share(text) for number, text in enumerate(texts)}
    publish_annotations(shard_lake, "propn_share", value=lambda _, name: shares[name], maker=MAKER)
    left = samples(shard_lake.lake, {"propn_share": Interval(below=0.8)})
    assert [number not in left for number in range(len(texts))] == expected("clip_italian", "propn_filter")["drop"]


def test_a_column_that_cannot_be_selected_by_is_refused_in_one_line(lake):
    for column, interval, line in (
        ("subtitle", Interval(at_least=1), NO_NUMBERS),
        ("size", Interval(), "annotations: there is no column 'size': choose among"),
    ):
        with pytest.raises(UsageError, match=line) as caught:
            build_index(lake, "default", select={column: interval})
        assert "\n" not in str(caught.value)
