from __future__ import annotations

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError, UsageError
from training.distributed import check_environment, join_process_group


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
    results.put((rank, world.is_main, events))


def test_results_reach_all_ranks_and_a_failure_ends_all_ranks_with_its_code():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(one_process, (port, results), nprocs=2)
    assert sorted(results.get() for _ in range(2)) == [
        (0, True, ["made by 0", [0.5, 4.0], "no such shards", [0, 10], 3]),
        (1, False, ["made by 0", [0.5, 4.0], 3, [0, 10], "no such shards"]),
    ]


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
