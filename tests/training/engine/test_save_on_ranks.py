"""Two ranks save checkpoints together: what each writes, and how both end if one of them fails."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.optim import AdamW

from curation.cli.run import exit_code_of
from curation.errors import WorldcurateError
from curation.io.storage import Storage
from support.models import build_model
from support.ranks import call_on_ranks
from training.data.sample_order import DataState
from training.distributed import World
from training.engine import checkpoint
from training.engine.background_save import CheckpointSaver
from training.engine.checkpoint import TrainingState
from training.engine.snapshot import take_snapshot
from training.models.metaclip2 import PRESETS, Tower
from training.models.towers import TwoTowers
from training.output.manifest import check_manifest
from training.output.s3_copy import S3Copy
from training.parallel.blocks import BlockPlan

CPU = torch.device("cpu")
SMALL = PRESETS["tiny"]._replace(
    image_size=16, context_length=16, embedding=8, vision=Tower(8, 1, 2), text=Tower(8, 1, 2)
)
LIMIT = 4000  # bytes, less than the files of tensors have


class Run:
    """A model after one step on one of the ranks."""

    def __init__(self, world: World, tokenizer) -> None:
        self.world, self.plan, self.tokenizer = world, BlockPlan(world), tokenizer
        self.model = build_model(SMALL, tokenizer)
        self.optimizer = AdamW(self.model.parameters(), fused=True)
        for parameter in self.model.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        self.optimizer.step()

    def snapshot(self, step: int):
        state = TrainingState(step=step, progress=DataState(), version=1, run_ids=("r",), samples=9, config={})
        return take_snapshot(self.plan, TwoTowers(self.model), self.tokenizer, self.optimizer, state)

    def save(self, output: Path, step: int, s3_copy: S3Copy | None = None) -> tuple[int, str]:
        """Save in the background, and return the exit code and the error of this rank."""
        try:
            with CheckpointSaver(self.world, output, keep=2, background=True, s3_copy=s3_copy) as saver:
                saver.save(self.snapshot(step))
        except (WorldcurateError, SystemExit) as error:
            return exit_code_of(error), "" if isinstance(error, SystemExit) else str(error)
        return 0, ""


def save_and_fail(rank: int, size: int, folder: Path, tokenizer) -> dict[str, tuple[int, str]]:
    run, ends = Run(World(rank, size, CPU), tokenizer), {}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ends["first"] = run.save(folder / "out", 1)
    for full in range(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT if rank == full else soft, hard))
        ends[f"full-{full}"] = run.save(folder / "out", 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    moments = run.optimizer.state[run.model.text_projection.weight]
    for key in ("exp_avg", "exp_avg_sq"):
        moments[key][0, 0] = torch.nan
    ends["nan"] = run.save(folder / "out", 2)
    for key in ("exp_avg", "exp_avg_sq"):
        moments[key][0, 0] = 0.5
    host = folder / f"host-{rank}"
    ends["unseen"] = run.save(host, 2)
    ends["s3"] = run.save(host, 2, S3Copy(f"s3://lake/{folder.name}", Storage()))
    ends["again"] = run.save(folder / "out", 2)
    return ends


@pytest.fixture(scope="module")
def saves(tmp_path_factory, tokenizer, s3) -> tuple[Path, list[dict[str, tuple[int, str]]]]:
    """The folder of all saves, and how they ended on each rank."""
    folder = tmp_path_factory.mktemp("save-on-ranks")
    return folder, call_on_ranks(save_and_fail, 2, folder, tokenizer)


def test_each_rank_writes_about_half_and_the_checkpoint_is_whole(saves, tokenizer):
    folder, ends = saves
    assert [end["first"] for end in ends] == [(0, "")] * 2
    first = folder / "out" / "checkpoints" / "step-00000001"
    check_manifest(first)
    shares = [load_file(first / "optimizer" / f"rank-0000{rank}.safetensors") for rank in range(2)]
    assert not shares[0].keys() & shares[1].keys()
    expected = Run(World(0, 1, CPU), tokenizer)
    weights = load_file(first / "model.safetensors")
    assert weights.keys() == expected.model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.model.state_dict().items())
    moments = checkpoint.moments_of(dict(expected.model.named_parameters()), expected.optimizer)
    saved = shares[0] | shares[1]
    assert saved.keys() == moments.keys()
    assert all(torch.equal(saved[name], value) for name, value in moments.items())
    blocks = expected.snapshot(1).blocks
    assert 4 * min(map(size_of, shares)) > sum(saved.block.nbytes for saved in blocks) / len(shares)


def size_of(share: dict[str, torch.Tensor]) -> int:
    return sum(value.nbytes for value in share.values())


@pytest.mark.parametrize("full", [0, 1])
def test_a_full_disk_of_one_rank_is_one_line_and_ends_both(saves, full):
    codes, lines = zip(*(end[f"full-{full}"] for end in saves[1]), strict=True)
    assert codes == (5, 5)
    assert lines[full].startswith(f"output: cannot save {saves[0]}/out/checkpoints/step-00000002 (")
    assert "\n" not in lines[full]
    assert lines[1 - full] == ""


def test_a_moment_that_is_not_finite_ends_both_ranks(saves):
    codes, lines = zip(*(end["nan"] for end in saves[1]), strict=True)
    assert codes == (4, 4)
    assert any(line.startswith("output: text_projection.weight.exp_avg") for line in lines)


def test_a_rank_that_does_not_see_the_output_is_named(saves):
    codes, lines = zip(*(end["unseen"] for end in saves[1]), strict=True)
    assert codes == (2, 2)
    line = f"output: rank 1 does not see {saves[0]}/host-0/checkpoints: choose a folder on a disk that all ranks see"
    assert lines == (f"{line}, or s3://bucket/prefix, and continue with resume: true", "")


def test_hosts_that_share_no_disk_save_a_whole_checkpoint_on_s3_and_leave_nothing_behind(saves, monkeypatch, tmp_path):
    folder, ends = saves
    assert [end["s3"] for end in ends] == [(0, "")] * 2
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path))
    copy = S3Copy(f"s3://lake/{folder.name}", Storage())
    downloaded = copy.download(copy.newest())
    assert len(list((downloaded / "optimizer").iterdir())) == 2
    assert not list((folder / "host-1" / "checkpoints").iterdir())


def test_the_next_save_after_failures_works_and_nothing_is_left_of_them(saves):
    folder, ends = saves
    assert [end["again"] for end in ends] == [(0, "")] * 2
    names = {path.name for path in (folder / "out" / "checkpoints").iterdir()}
    assert names == {"step-00000001", "step-00000002", "latest"}
    check_manifest(checkpoint.find(folder / "out"))


def save_and_lose(rank: int, port: int, folder: Path, tokenizer) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    run = Run(World(rank, 2, CPU), tokenizer)
    run.save(folder, 1)
    if rank == 1:
        patch = pytest.MonkeyPatch()
        patch.setattr("training.engine.checkpoint_writer._write_moments", lambda *_: os._exit(9))
    try:
        run.save(folder, 2)
    except RuntimeError:  # gloo's, which names the lost rank
        os._exit(3)


def test_a_rank_that_dies_while_it_saves_ends_the_other_and_the_earlier_checkpoint_stays(tmp_path, tokenizer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    ranks = [spawn.Process(target=save_and_lose, args=(rank, port, tmp_path, tokenizer)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=300)
    assert [process.exitcode for process in ranks] == [3, 9]
    newest = checkpoint.find(tmp_path)
    assert newest.name == "step-00000001"
    check_manifest(newest)
