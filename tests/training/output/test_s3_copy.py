"""Runs whose output is on S3, with a real server on loopback."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from curation.cli.interruption import raise_on_sigterm
from curation.errors import InputError, OutputError, UsageError
from curation.io.storage import Storage
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.output.checkpoints import old_names, unused_name
from training.output.manifest import DamagedCheckpointError, file_entry, write_manifest
from training.output.s3_copy import S3Copy
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
KEYS = SMALL | {"steps": 6, "save_every": 2, "keep_checkpoints": 2}
FILES = ("a.bin", "b.bin", "ema/a.bin")


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("s3-copy") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(50)])
    return root


@pytest.fixture(autouse=True)
def new_host(tmp_path, monkeypatch):
    """Give the process the empty cache of another host; call it for one more."""
    hosts: list[Path] = []

    def start() -> None:
        hosts.append(tmp_path / f"host-{len(hosts)}")
        monkeypatch.setenv("WORLDCURATE_CACHE", str(hosts[-1]))

    start()
    return start


@pytest.fixture
def copy(s3, tmp_path) -> S3Copy:
    return S3Copy(f"s3://lake/{tmp_path.name}", Storage())


def losses_of(text: str) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in map(json.loads, text.splitlines()) if "loss" in line}


def files_of(copy: S3Copy) -> set[str]:
    return {file.path.removeprefix(f"{copy.location}/") for file in copy.storage.list_files(copy.location)}


def test_a_run_on_s3_goes_on_from_another_host_as_if_it_had_not_stopped(copy, lake, tmp_path, new_host):
    keys = {"lake": str(lake), "resume": True} | KEYS
    train(TrainConfig(output=str(tmp_path / "whole"), **keys), ALONE)
    expected = losses_of((tmp_path / "whole" / "metrics.jsonl").read_text())
    first = train(TrainConfig(output=copy.location, **keys), ALONE)
    assert first["checkpoint"] == copy.location_of("step-00000006")
    assert copy.names() == {"step-00000004", "step-00000006"}
    assert any(path.startswith("tensorboard/") for path in files_of(copy))

    copy.storage.delete_folder(copy.location_of("step-00000006"))  # as if the first host had stopped before
    copy._write(f"{copy.location}/checkpoints/latest", b"step-00000004")
    new_host()
    with pytest.raises(UsageError, match=rf"output: {copy.location} already contains a run: set resume: true"):
        train(TrainConfig(output=copy.location, **keys | {"resume": False}), ALONE)
    assert not copy.local_folder("step-00000004").exists(), "nothing is downloaded for a run that is refused"
    again = train(TrainConfig(output=copy.location, **keys), ALONE)
    assert again["checkpoint"] == copy.location_of("step-00000006")
    assert losses_of(copy.storage.read_bytes(f"{copy.location}/metrics.jsonl").decode()) == expected
    earlier = {"output": str(tmp_path / "local"), "resume": copy.location_of("step-00000004")}
    train(TrainConfig(**keys | earlier), ALONE)
    rest = losses_of((tmp_path / "local" / "metrics.jsonl").read_text())
    assert rest == {step: expected[step] for step in (5, 6)}


def made_checkpoint(copy: S3Copy, step: int) -> Path:
    folder = copy.local_folder(unused_name(step, copy.names()))
    (folder / "ema").mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(name.encode() * step)
    write_manifest(folder, {name: file_entry(folder / name) for name in FILES})
    return folder


def upload(copy: S3Copy, folder: Path, keep: int) -> None:
    copy.upload_files(folder, FILES, folder.name)
    copy.publish(folder, keep=keep)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(5))
def test_a_killed_upload_leaves_the_earlier_checkpoint_in_use(copy, monkeypatch, new_host, after):
    upload(copy, made_checkpoint(copy, 1), keep=2)
    upload_one, write, calls = S3Copy._upload, S3Copy._write, []

    def kill_later(act):
        def call(*arguments):
            if len(calls) == after:
                raise Killed
            calls.append(1)
            act(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(S3Copy, "_upload", kill_later(upload_one))
        patch.setattr(S3Copy, "_write", kill_later(write))
        with pytest.raises(Killed):
            upload(copy, made_checkpoint(copy, 2), keep=2)
    new_host()
    assert copy.newest() == "step-00000001"
    copy.download("step-00000001")
    upload(copy, made_checkpoint(copy, 2), keep=2)
    newest = copy.newest()
    copy.download(newest)
    complete = {name for name in copy.names() if f"checkpoints/{name}/manifest.json" in files_of(copy)}
    assert copy.names() == complete, "what the killed upload left is removed"
    assert not old_names(complete, newest, 2)


def test_a_damaged_object_is_named_and_never_used(copy, new_host):
    upload(copy, made_checkpoint(copy, 3), keep=1)
    copy.storage.write_bytes(f"{copy.location_of('step-00000003')}/b.bin", b"other")
    new_host()
    with pytest.raises(DamagedCheckpointError, match=rf"{copy.location}/.*: b\.bin has 5 bytes, not 15"):
        copy.download("step-00000003")
    copy.storage.delete_files([f"{copy.location_of('step-00000003')}/b.bin"])
    with pytest.raises(InputError, match=r"cannot read s3://.*/b\.bin"):
        copy.download("step-00000003")
    assert not copy.local_folder("step-00000003").exists()


def test_an_upload_that_s3_refuses_is_one_line(copy, monkeypatch):
    folder = made_checkpoint(copy, 1)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match=f"cannot write {copy.location_of('step-00000001')}/a") as caught:
        upload(S3Copy(copy.location, Storage()), folder, keep=1)
    assert "\n" not in str(caught.value)


def test_a_start_that_is_refused_leaves_the_logs_on_s3_alone(copy, lake):
    keys = {"lake": str(lake), "output": copy.location} | KEYS
    train(TrainConfig(**keys), ALONE)
    copy.storage.write_bytes(f"{copy.location}/metrics.jsonl", b"of another host")
    with pytest.raises(UsageError, match="already contains a run"):
        train(TrainConfig(**keys), ALONE)
    assert copy.storage.read_bytes(f"{copy.location}/metrics.jsonl") == b"of another host"


def test_neither_sigterm_nor_a_lost_rank_ends_the_last_upload_of_a_run_with_an_error(copy, lake, monkeypatch):
    upload_logs, uploads, world = S3Copy.upload_logs, [], World(0, 1, torch.device("cpu"))

    def terminate(copy):
        os.kill(os.getpid(), signal.SIGTERM)
        upload_logs(copy)
        uploads.append(world.unwatched.is_set())

    monkeypatch.setattr(S3Copy, "upload_logs", terminate)
    config = TrainConfig(**{"lake": str(lake), "output": copy.location} | KEYS | {"lr": 1e30, "warmup_steps": 0})
    with raise_on_sigterm(), pytest.raises(OutputError, match="loss"):
        train(config, world)
    assert uploads == [True]
    assert "metrics.jsonl" in files_of(copy)


def test_a_copy_of_this_host_that_is_damaged_is_downloaded_again(copy):
    folder = made_checkpoint(copy, 3)
    upload(copy, folder, keep=1)
    (folder / "b.bin").write_bytes(b"other")
    assert (copy.download("step-00000003") / "b.bin").read_bytes() == b"b.bin" * 3


def test_a_run_that_names_its_own_checkpoint_keeps_its_history_and_no_other_checkpoint_of_the_host(
    copy, lake, new_host
):
    keys = {"lake": str(lake), "output": copy.location} | KEYS
    train(TrainConfig(**keys | {"steps": 4}), ALONE)
    expected = losses_of(copy.storage.read_bytes(f"{copy.location}/metrics.jsonl").decode())
    new_host()
    copy.download("step-00000004")
    train(TrainConfig(**keys | {"resume": copy.location_of("step-00000002"), "steps": 2}), ALONE)
    found = losses_of(copy.storage.read_bytes(f"{copy.location}/metrics.jsonl").decode())
    assert found == {step: expected[step] for step in (1, 2)}
    assert [path.name for path in (copy.folder / "checkpoints").glob("step-*")] == ["step-00000002"]


def test_a_dry_run_changes_no_file_of_a_run_on_s3(copy, lake):
    keys = {"lake": str(lake), "output": copy.location} | KEYS
    train(TrainConfig(**keys), ALONE)
    copy.download("step-00000004")
    (copy.folder / "metrics.jsonl").write_text("written by a run that goes on")

    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in copy.folder.rglob("*")}

    before = state()
    for resume in (True, copy.location_of("step-00000006")):
        train(TrainConfig(**keys | {"resume": resume, "steps": 8}), ALONE, dry_run=True)
    assert state() == before


def test_a_new_run_has_nothing_of_a_deleted_one(copy, lake):
    keys = {"lake": str(lake), "output": copy.location} | KEYS | {"steps": 2}
    train(TrainConfig(**keys), ALONE)
    (copy.folder / "trackers.json").write_text('{"wandb": "w1"}')
    old = {path for path in files_of(copy) if path.startswith("tensorboard/")}
    copy.storage.delete_folder(copy.location)
    train(TrainConfig(**keys), ALONE)
    assert copy.newest() == "step-00000002"
    assert not files_of(copy) & {"trackers.json", *old}
