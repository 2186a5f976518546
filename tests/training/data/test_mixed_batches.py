from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.lake import Lake
from support.batches import SIDE, equal, merge, rank_batches
from support.ranks import call_on_ranks
from support.shards import ShardLake, draw, shard_row
from training.data.batch_loader import BatchLoader
from training.data.epochs.mixture import Mixture
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import ShardIndex, build_index
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer

MIXTURE = Mixture({"a": 1, "b": 2}, temperature=2.0, max_repeats=3, seed=5)
LANGUAGES = ("en", "en", "en", "de", "de", "sw")
ORDER, SIZE = SampleOrder(5, 4, 6), 12


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A lake of two recipes, whose texts are all different."""
    root = tmp_path_factory.mktemp("mixed") / "lake"
    for recipe, start, rows in (("a", 0, 67), ("b", 100, 31)):
        numbers = range(start, start + rows)
        shard_rows = [shard_row(n) | {"lang": LANGUAGES[n % 6], "text": f"text {n}"} for n in numbers]
        ShardLake(root).publish(shard_rows, recipe=recipe, group_rows=9, file_rows=25, run=f"r-{recipe}")
    return root


def mixed_index(root, epoch: int | None = None):
    lake = Lake(str(root), Storage())
    index = build_index(lake, "a", "b", read_languages=True).train
    return index if epoch is None else MIXTURE.epoch(index, epoch)


def expected_texts(root, epoch: int) -> list[str]:
    """Return the texts of the epoch's samples, one by one, from the index alone."""
    return all_texts(mixed_index(root, epoch))


def all_texts(index: ShardIndex) -> list[str]:
    reader = ShardReader(index, Storage())
    groups = [reader.load(group) for group in range(len(index.counts))]
    return [group.text(row) for group in groups for row in range(len(group))]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    """A tokenizer that tells all texts apart."""
    return Tokenizer.train([f"text {n}" for n in range(140)], vocab_size=400, context_length=8)


def texts_of(tokens: torch.Tensor, words: Tokenizer) -> list[str]:
    names = {tuple(words([f"text {n}"])[0].tolist()): f"text {n}" for n in range(140)}
    return [names[tuple(row)] for row in tokens.tolist()]


def shares(root, words, epoch: int, world_size: int, workers: int, size: int, start: int, steps: int):
    index = mixed_index(root, epoch)
    config = {"order": ORDER, "image_size": SIDE, "batch_size": size, "world_size": world_size}
    state = DataState(epoch, start)
    ranks = (
        ShardDataset(index, Storage(), words, LoaderConfig(**config, rank=rank), start=state, steps=steps)
        for rank in range(world_size)
    )
    return [rank_batches(dataset, workers) for dataset in ranks]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3), st.integers(0, 2))
def test_any_ranks_workers_and_batch_see_every_occurrence_once_and_in_the_same_order(
    root, words, tmp_path, monkeypatch, world_size, workers, per_rank, epoch, done
):
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path))
    size, samples = world_size * per_rank, mixed_index(root, epoch).samples
    steps = samples // size
    whole = shares(root, words, epoch, 1, 1, samples, 0, 1)
    alone = texts_of(next(whole[0]).tokens, words)
    assert Counter(alone) == Counter(expected_texts(root, epoch))
    done = min(done, steps)
    parts = shares(root, words, epoch, world_size, workers, size, done * size, steps - done)
    batches = [merge(list(step)) for step in zip(*parts, strict=True)]
    seen = [text for batch in batches for text in texts_of(batch.tokens, words)]
    assert seen == alone[done * size : steps * size]


def make_loader(root, words, steps: int, **keys) -> BatchLoader:
    config = LoaderConfig(ORDER, image_size=SIDE, batch_size=SIZE, **keys)
    return BatchLoader(mixed_index(root), Storage(), words, config, steps=steps, mixture=MIXTURE)


@pytest.mark.parametrize(("workers", "done"), [(0, 0), (2, 3), (1, 9), (0, 17)])
def test_a_mixed_loader_continues_at_the_next_batch_also_with_other_workers(root, words, workers, done):
    whole = list(make_loader(root, words, 20))
    stopped = make_loader(root, words, 20, num_workers=workers)
    assert len(list(islice(stopped, done))) == done
    resumed = make_loader(root, words, 20 - done)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert all(equal(one, other) for one, other in zip(resumed, whole[done:], strict=True))
    per_epoch = mixed_index(root, 0).samples // SIZE
    seen = [text for batch in whole[:per_epoch] for text in texts_of(batch.tokens, words)]
    assert not Counter(seen) - Counter(expected_texts(root, 0))


def batches_of_rank(
    rank: int, size: int, root, text: str, workers: int
) -> list[tuple[list[int], list[list[int]], dict[str, int]]]:
    words = Tokenizer.from_json(text, 8, {})
    loader = make_loader(root, words, 18, rank=rank, world_size=size, num_workers=workers)
    return [(batch.positions.tolist(), batch.tokens.tolist(), dict(batch.languages)) for batch in loader]


@pytest.mark.parametrize(
    ("size", "workers"), [(2, 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, 1), (4, 0)))]
)
def test_real_ranks_with_real_workers_see_the_same_mixed_batches_as_one_process(root, words, size, workers):
    alone = batches_of_rank(0, 1, root, words.to_json(), 0)
    together = call_on_ranks(batches_of_rank, size, root, words.to_json(), workers)
    for step, (positions, tokens, languages) in enumerate(alone):
        parts = [rank[step] for rank in together]
        assert len({len(part[0]) for part in parts}) == 1, "ranks have equal steps"
        merged = sorted(pair for part in parts for pair in zip(part[0], part[1], strict=True))
        assert merged == sorted(zip(positions, tokens, strict=True))
        assert sum((Counter(part[2]) for part in parts), Counter()) == Counter(languages)


def test_batches_count_the_languages_of_their_texts(root, words):
    for batch in make_loader(root, words, 12, num_workers=2):
        numbers = [int(text.split()[1]) for text in texts_of(batch.tokens, words)]
        assert Counter(LANGUAGES[n % 6] for n in numbers) == Counter(batch.languages)


def test_a_damaged_image_is_replaced_the_same_way_in_every_copy(root, words, tmp_path):
    rows = [shard_row(n) | {"text": f"text {n}", "image": b"no image" if n == 4 else draw(n)[0]} for n in range(20)]
    lake = ShardLake(tmp_path / "lake")
    lake.publish(rows[:10], recipe="a", run="r-a")
    lake.publish(rows[10:], recipe="b", run="r-b")
    index = Mixture({"a": 4, "b": 1}).epoch(build_index(lake.lake, "a", "b").train, 0)

    def batch(workers: int):
        config = LoaderConfig(ORDER, image_size=SIDE, batch_size=index.samples, on_bad_row="replace")
        dataset = ShardDataset(index, Storage(), words, config, start=DataState(), steps=1)
        return next(rank_batches(dataset, workers))

    alone = batch(1)
    assert equal(alone, batch(3))
    times = Counter(all_texts(index))["text 4"]
    assert times >= 1
    assert len(alone.replaced) >= times
    assert "text 4" not in texts_of(alone.tokens, words)
