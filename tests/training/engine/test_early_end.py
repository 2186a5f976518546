"""How a run ends before its last step: signals, and other ranks that stop, fail or disappear."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from curation.cli.run import exit_code_of
from curation.errors import WorldcurateError
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import RunInterruptedError, World, join_process_group
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.evaluation.held_out import HeldOutResults
from training.models.towers import TwoTowers
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
KEYS = SMALL | {"steps": 4, "save_every": 100, "log_every": 100}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("early-end") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(50)])
    return root


def do_in_step(patch: pytest.MonkeyPatch, step: int, act) -> None:
    """Call `act` on the image embeddings of a training step, counted from 1, and use its result for them."""
    embed, calls = TwoTowers._image_features, []

    def embed_and_act(self, images):
        embeddings = embed(self, images)
        calls.append(1)
        return act(embeddings) if len(calls) == step else embeddings

    patch.setattr(TwoTowers, "_image_features", embed_and_act)


def send(number):
    def act(embeddings):
        os.kill(os.getpid(), number)
        return embeddings

    return act


def stop_by(number, lake: Path, output: Path, monkeypatch) -> pytest.ExceptionInfo[RunInterruptedError]:
    """Train until a signal in step 2 ends the run."""
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        do_in_step(patch, 2, send(number))
        with pytest.raises(RunInterruptedError, match="stopped after step 2 of 4, which is saved") as error:
            train(TrainConfig(lake=str(lake), output=str(output), **KEYS), ALONE)
    assert signal.getsignal(number) == before
    return error


def test_both_signals_save_after_the_step_and_exit_with_3(lake, tmp_path, monkeypatch):
    for number in (signal.SIGTERM, signal.SIGUSR1):
        error = stop_by(number, lake, tmp_path / number.name, monkeypatch)
        assert exit_code_of(error.value) == 3
        assert TrainingState.read(checkpoint.find(tmp_path / number.name)).step == 2


def test_a_run_that_a_signal_stopped_continues_to_the_weights_of_an_undisturbed_one(lake, tmp_path, monkeypatch):
    stop_by(signal.SIGTERM, lake, tmp_path / "stopped", monkeypatch)
    weights = []
    for name in ("stopped", "whole"):
        summary = train(TrainConfig(lake=str(lake), output=str(tmp_path / name), resume=True, **KEYS), ALONE)
        weights.append(load_file(Path(summary["checkpoint"]) / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_a_signal_in_the_last_step_ends_the_run_as_done_with_its_evaluation(lake, tmp_path, monkeypatch):
    do_in_step(monkeypatch, 4, send(signal.SIGTERM))
    keys = KEYS | {"validation_share": 0.2}
    summary = train(TrainConfig(lake=str(lake), output=str(tmp_path / "o"), **keys), ALONE)
    assert summary["steps"] == 4
    assert summary["held_out_pairs"] > 0


def _slow_save(world: World):
    if world.is_main:
        time.sleep(8)
    return HeldOutResults({}, [], [])


def _one_rank(rank: int, port: int, lake: str, folder: Path, results) -> None:
    """Train five times as one of two ranks; in the last run rank 1 disappears."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    torch.set_num_threads(1)

    def run(world: World, name: str, **keys):
        try:
            train(TrainConfig(lake=lake, output=str(folder / name), **KEYS, **keys), world)
        except (WorldcurateError, SystemExit) as error:
            return exit_code_of(error), type(error).__name__
        return 0, ""

    ends = {}
    try:
        with join_process_group() as world, pytest.MonkeyPatch.context() as patch:
            with patch.context() as one:
                if rank == 1:
                    do_in_step(one, 2, lambda embeddings: embeddings * torch.nan)
                ends["nan"] = run(world, "nan")
            ends["unseen"] = run(world, f"of-rank-{rank}")
            with patch.context() as one:
                if rank == 1:
                    do_in_step(one, 3, send(signal.SIGUSR1))
                ends["signal"] = run(world, "signal")
            with patch.context() as one:
                # collectives of the steps time out after 5 s; rank 0 evaluates for 8 s
                dist.distributed_c10d._set_pg_timeout(timedelta(seconds=5), dist.group.WORLD)
                one.setattr("training.engine.trainer.held_out_retrieval", lambda *_: _slow_save(world))
                ends["slow"] = run(world, "slow", validation_share=0.1)
                dist.distributed_c10d._set_pg_timeout(timedelta(minutes=5), dist.group.WORLD)
            if rank == 1:
                do_in_step(patch, 2, lambda _: os._exit(9))
            run(world, "lost")
    except RunInterruptedError as error:
        ends["lost"] = exit_code_of(error), str(error)
    results.put(ends)


def test_two_ranks_end_together(lake, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = [spawn.SimpleQueue(), spawn.SimpleQueue()]
    ranks = [
        spawn.Process(target=_one_rank, args=(rank, port, str(lake), tmp_path, results[rank])) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=300)
    assert [process.exitcode for process in ranks] == [0, 9]
    ends = results[0].get()
    assert ends["nan"] == (4, "OutputError"), "the rank that logs names the step"
    assert checkpoint.find(tmp_path / "nan") is None
    assert ends["unseen"] == (2, "UsageError"), "both ranks must see the output, which is known before the first step"
    assert not (tmp_path / "of-rank-0" / "metrics.jsonl").exists()
    assert ends["signal"] == (3, "RunInterruptedError")
    assert TrainingState.read(checkpoint.find(tmp_path / "signal")).step == 3
    assert ends["slow"] == (0, ""), "the other rank waits for rank 0 longer than for a step"
    code, line = ends["lost"]
    assert code == 3
    assert line.startswith("processes: another rank is lost (")
    assert line.endswith("): read its log, then start all ranks again with resume: true")
    assert "\n" not in line
