"""Runs of two ranks that cannot start or cannot save: each ends on both ranks with the same code, and with one line."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
from pathlib import Path

import pytest

from curation.cli.run import exit_code_of
from curation.errors import WorldcurateError
from curation.lake.tombstones import add_tombstones
from support.models import build_model
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.data.tokenizer import Tokenizer
from training.distributed import World, join_process_group
from training.launcher import reported_once
from training.models.metaclip2 import PRESETS
from training.train import train

KEYS = SMALL | {"steps": 2, "save_every": 1, "recipe": "good"}

# name: keys, exit code and what the line says
CASES = {
    "unknown recipe": ({"recipe": "absent"}, 2, "recipe: 'absent' was never used"),
    "recipes of two metadata versions": (
        {"recipe": {"good": 1, "other": 1}},
        2,
        "recipe: these recipes were matched with different metadata, models or rules (match_id: good m1, other m2)",
    ),
    "empty recipe": ({"recipe": "empty"}, 2, "batch_size: 16 is more than the 0 pairs to train on"),
    "unknown batch": ({"batches": ["b9"]}, 2, "b9"),
    "missing shard": ({"recipe": "lost"}, 4, ".parquet"),
    "more ranks than pairs": ({"recipe": "one", "batch_size": 2}, 2, "batch_size: 2 is more than the 1 pairs"),
    "odd batch": ({"batch_size": 15}, 2, "batch_size: 15 is not a multiple of the 2 processes"),
    "odd group": ({"group": {"ranks": 3}}, 2, "group.ranks: 3 does not divide the 2 processes"),
    "no tokenizer": ({"tokenizer": "absent.json"}, 2, "tokenizer: cannot read absent.json"),
    "tokenizer without end": ({"tokenizer": "no-end.json"}, 2, "tokenizer: its vocabulary has no end token"),
    "tokenizer too large": (
        {"start": {"checkpoint": "small"}, "tokenizer": "large.json"},
        2,
        "tokenizer: its 400 ids do not fit the",
    ),
    "nothing to train": ({"phase": {"freeze": ["*"]}}, 2, "phase: no parameter is left to train"),
    "full disk": ({"limit": True}, 5, "output: cannot save"),
    "resume from nowhere": ({"resume": "nowhere"}, 3, "resume: nowhere contains no checkpoint"),
}


def end_of(config: TrainConfig, world: World, *, limit: bool) -> tuple[int, str]:
    """Return the exit code of a run and the line that this rank prints, if it is the one that prints it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with reported_once():
            train(config, world)
    except WorldcurateError as error:
        return exit_code_of(error), str(error)
    except SystemExit as error:
        return exit_code_of(error), ""
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return 0, ""


def one_rank(rank: int, port: int, folder: Path, results) -> None:
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    os.chdir(folder)
    with join_process_group() as world:
        for name, (keys, _, _) in CASES.items():
            given = {"lake": "lake", "output": name, **KEYS, **keys}
            limit = bool(given.pop("limit", False))
            results.put((name, rank, *end_of(TrainConfig(**given), world, limit=limit)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer) -> Path:
    """A folder with a lake of several recipes, tokenizers and a small model."""
    root = tmp_path_factory.mktemp("bad-starts")
    lake = ShardLake(root / "lake")
    for recipe, rows in (("good", 50), ("other", 50), ("empty", 20), ("one", 1), ("lost", 50)):
        lake.publish([shard_row(n, host=f"{recipe}.example") for n in range(rows)], recipe=recipe)
    lake.lake.freeze_recipe("good", {"match_id": "m1"})
    lake.lake.freeze_recipe("other", {"match_id": "m2"})
    add_tombstones(lake.lake, hosts=["empty.example"], reason="asked")
    next((root / "lake" / "shards" / "recipe=lost").rglob("*.parquet")).unlink()
    texts = [f"number {n * n}" for n in range(500)]
    large = Tokenizer.train(texts, vocab_size=400, context_length=16)
    build_model(PRESETS["tiny"], tokenizer).save_pretrained(root / "small")
    tokenizer.save(root / "small")
    (root / "large.json").write_text(large.to_json())
    (root / "no-end.json").write_text(tokenizer.to_json().replace(tokenizer.eos, "<other>"))
    return root


def test_a_bad_start_ends_both_ranks_with_one_code_and_one_line(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = spawn.SimpleQueue()
    ranks = [spawn.Process(target=one_rank, args=(rank, port, folder, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    ends = [results.get() for _ in range(2 * len(CASES))]
    for process in ranks:
        process.join(timeout=120)
    assert [process.exitcode for process in ranks] == [0, 0], "no rank hangs"
    codes = {name: [code for other, _, code, _ in ends if other == name] for name in CASES}
    assert codes == {name: [code, code] for name, (_, code, _) in CASES.items()}
    lines = {name: [line for other, _, _, line in ends if other == name and line] for name in CASES}
    wrong = {
        name: lines[name]
        for name, (_, _, text) in CASES.items()
        if len(lines[name]) != 1 or text not in lines[name][0] or "\n" in lines[name][0]
    }
    assert wrong == {}
