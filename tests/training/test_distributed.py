from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError, UsageError
from training import distributed, heartbeat
from training.distributed import RunInterruptedError, join_process_group
from training.launcher import check_environment, reported_once


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def one_process(rank: int, port: int, results) -> None:
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    events: list[object] = []

    def fail():
        raise InputError("no such shards")

    with join_process_group() as world:
        events.append(world.broadcast_from_main(lambda: f"made by {rank}"))
        events.append(world.means(torch.tensor([float(rank), 4.0])))
        try:
            world.broadcast_from_main(fail)
        except InputError as error:
            events.append(str(error))
        except SystemExit as error:
            events.append(error.code)
        events.append(world.all_gather(lambda: rank * 10))
        try:
            world.all_gather(fail if rank == 1 else lambda: rank)
        except InputError as error:
            events.append(str(error))
        except SystemExit as error:
            events.append(error.code)
        for text in ("shards: missing", f"rank {rank}: its disk is full"):
            world.all_gather(lambda: None)
            try:
                with reported_once():
                    raise InputError(text)
            except InputError as error:
                events.append(str(error))
            except SystemExit as error:
                events.append(error.code)
        world.all_gather(lambda: None)
    results.put((rank, world.is_main, events))


def test_results_reach_all_ranks_and_a_failure_ends_all_ranks_with_its_code():
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(one_process, (free_port(), results), nprocs=2)
    (_, is_main, first), (_, other_is_main, second) = sorted(results.get() for _ in range(2))
    assert (is_main, other_is_main) == (True, False)
    assert first[:5] == ["made by 0", [0.5, 4.0], "no such shards", [0, 10], 3]
    assert second[:5] == ["made by 0", [0.5, 4.0], 3, [0, 10], "no such shards"]
    assert sorted([first[5], second[5]], key=str) == [3, "shards: missing"], "an error of all ranks is reported once"
    assert [first[6], second[6]] == ["rank 0: its disk is full", "rank 1: its disk is full"]


def test_without_torchrun_there_is_one_process():
    with join_process_group() as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.broadcast_from_main(lambda: 5) == 5
        assert world.all_gather(lambda: 5) == [5]
        assert world.means(torch.tensor([2.5])) == [2.5]


VARIABLES = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@given(st.sets(st.sampled_from(sorted(VARIABLES))), st.sampled_from(["", "unset"]))
def test_variables_of_a_launcher_are_complete_or_refused_in_one_line(given_names, empty):
    environment = {name: VARIABLES[name] if name in given_names else "" for name in VARIABLES}
    if empty == "unset":
        environment = {name: value for name, value in environment.items() if value}
    if given_names == VARIABLES.keys() or not given_names & {"RANK", "WORLD_SIZE"}:
        check_environment(environment)
        return
    with pytest.raises(UsageError, match="start the processes with torchrun") as caught:
        check_environment(environment)
    missing = [name for name in VARIABLES if name not in given_names]
    assert all(name in str(caught.value).partition(" without ")[2] for name in missing)


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"])
def test_a_variable_that_is_not_a_number_is_refused(name):
    with pytest.raises(UsageError, match=f"environment: {name}='x' is not a number"):
        check_environment(VARIABLES | {name: "x"})


def test_a_rank_without_an_address_is_refused_before_training(monkeypatch, capsys):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="RANK without LOCAL_RANK, WORLD_SIZE, MASTER_ADDR"), join_process_group():
        pass
    monkeypatch.setenv("RANK", "")
    with join_process_group() as world:
        assert world.size == 1


def test_an_error_is_reported_if_the_store_does_not_answer(monkeypatch):
    for name, value in (VARIABLES | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("training.launcher.REPORT_TIMEOUT", timedelta(seconds=0.2))
    with pytest.raises(InputError, match="shards: missing"), reported_once():
        raise InputError("shards: missing")


def test_a_rank_that_never_joins_is_one_line(monkeypatch):
    for name, value in (VARIABLES | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("training.distributed.STEP_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(RunInterruptedError, match=r"processes: another rank is lost \(.*\): read its log"):
        join_process_group().__enter__()


def wait_for_a_frozen_rank(rank: int, port: int, results) -> None:
    """Wait for an exchange with a rank that is alive but does not run."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    with join_process_group() as world:
        world.all_gather(lambda: None)
        if rank == 1:
            results.put(os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
        world.all_gather(lambda: None)


def end_slowly(rank: int, port: int) -> None:
    """End with an error, rank 0 only after a save that takes longer than the others have patience."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    heartbeat.PATIENCE_S = 0.5
    distributed.watch = partial(heartbeat.watch, interval=0.1)
    with join_process_group() as world:
        world.all_gather(lambda: None)
        if rank == 1:
            os._exit(4)
        with ended_by(partial(time.sleep, 3)), world.unwatched_after_error():
            raise SystemExit(5)


@contextmanager
def ended_by(act):
    try:
        yield
    finally:
        act()


def test_a_rank_that_ends_with_an_error_completes_its_save_although_the_others_have_ended():
    spawn = mp.get_context("spawn")
    port = free_port()
    ranks = [spawn.Process(target=end_slowly, args=(rank, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [5, 4]


@pytest.mark.slow
def test_a_rank_that_is_stopped_ends_the_others_within_a_minute():
    spawn = mp.get_context("spawn")
    results, port = spawn.SimpleQueue(), free_port()
    ranks = [spawn.Process(target=wait_for_a_frozen_rank, args=(rank, port, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    frozen = results.get()
    ranks[0].join(timeout=60)
    os.kill(frozen, signal.SIGKILL)
    ranks[1].join()
    assert ranks[0].exitcode == 3


def test_a_run_that_asks_for_a_gpu_does_not_start_without_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device: torch finds no GPU"), join_process_group("cuda"):
        raise AssertionError("started")
    with join_process_group("auto") as world:
        assert world.device.type == "cpu"


SAVE_AND_END = """
import sys, threading, time
from pathlib import Path
from training import distributed

def save():
    time.sleep(float(sys.argv[1]))
    Path(sys.argv[2]).touch()

distributed.SAVE_PATIENCE_S = float(sys.argv[3])
threading.Thread(target=save, name=distributed.SAVE_THREAD).start()
distributed._end_process("rank 1 has not answered")
"""


@pytest.mark.parametrize(("seconds", "patience", "is_saved"), [(0.5, 300, True), (300, 0.5, False)])
def test_a_lost_rank_ends_a_process_after_a_save_that_can_be_completed(tmp_path, seconds, patience, is_saved):
    command = [sys.executable, "-c", SAVE_AND_END, str(seconds), str(tmp_path / "saved"), str(patience)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (ended.returncode, (tmp_path / "saved").exists()) == (3, is_saved)
    assert "another rank is lost (rank 1 has not answered)" in ended.stderr
