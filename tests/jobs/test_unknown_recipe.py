"""A recipe that was never used is a usage error that lists the recipes of the lake."""

from __future__ import annotations

import logging

import pytest

from curation.errors import UsageError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs import compare, report
from jobs.rebalance import batches_of
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import main
from jobs.runtime.partitions import require
from training.config import TrainConfig
from training.distributed import World
from training.train import train

LISTED = r"^recipe: 'defaults' was never used in .+: use one of default, every, or run jobs\.balance first$"


@pytest.fixture
def lake(tmp_path):
    made = Lake(str(tmp_path / "lake"), Storage())
    made.create()
    for name in ("every", "default"):
        made.freeze_recipe(name, {"match_id": "m", "selection": "all"})
    return made


def context(lake: Lake, recipe: str = "defaults") -> Context:
    return Context(Config(lake=lake.root, batch="b", recipe=recipe), "test")


@pytest.mark.parametrize(
    "use",
    [
        lambda lake: lake.recipe("defaults"),
        lambda lake: require(lake, "x", "jobs.balance", "curated", recipe="defaults", batch="b"),
        lambda lake: compare.recipe_stats(context(lake), ["default", "defaults"], ["b"]),
        lambda lake: batches_of(context(lake), "defaults"),
        lambda lake: report.run(context(lake)),
        lambda lake: train(
            TrainConfig(lake=lake.root, recipe="defaults", output=f"{lake.root}-out", steps=1), World(0, 1, None)
        ),
    ],
)
def test_every_use_of_an_unknown_recipe_lists_the_known_ones(lake, use):
    with pytest.raises(UsageError, match=LISTED):
        use(lake)


def test_the_job_exits_with_2(lake, capsys):
    handlers = logging.getLogger().handlers[:]
    try:
        assert main("jobs.fetch_images", ["--lake", lake.root, "--batch", "b", "--recipe", "defaults"]) == 2
    finally:
        logging.getLogger().handlers[:] = handlers
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: recipe: 'defaults' was never used in")


def test_without_any_recipe_the_message_says_what_to_run(tmp_path):
    lake = Lake(str(tmp_path / "lake"), Storage())
    lake.create()
    with pytest.raises(UsageError, match=r"recipe: 'a' was never used in .+: run jobs\.balance first$"):
        lake.require_recipe("a")
