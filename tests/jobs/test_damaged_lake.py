"""A lake with missing, shortened or changed files: a rerun rebuilds its own output and names a damaged input."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from curation.errors import DamagedLakeError
from jobs import balance, fetch_images, ingest, match, nightly
from jobs.runtime.context import Context
from support.lakes import TABLES, digests

PRODUCERS = {
    "pairs": (ingest, "jobs.ingest", match),
    "matches": (match, "jobs.match", balance),
    "counts": (match, "jobs.match", balance),
    "curated": (balance, "jobs.balance", fetch_images),
}


@pytest.fixture
def night(night_here) -> Context:
    """A finished night in a lake of its own, to be damaged."""
    return night_here


def command(job, context, tmp_path, capsys) -> tuple[int, str]:
    """Run a job as a command and return its exit code and its last line on stderr."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(context.config.model_dump(mode="json", exclude_none=True)))
    code = job.main(job.__name__, ["--config", str(path)])
    return code, capsys.readouterr().err.strip().rpartition("\n")[2]


DAMAGE = {"missing": lambda path: path.unlink(), "cut": lambda path: path.write_bytes(path.read_bytes()[:-1])}


@pytest.mark.parametrize(
    ("table", "how"), [*((table, "missing") for table in TABLES), ("pairs", "cut"), ("shards", "cut")]
)
def test_the_next_night_rebuilds_a_table_with_a_missing_or_shortened_file(night, table, how, caplog):
    before = digests(night.lake)
    path = Path(night.lake.snapshot(table).files[0].path)
    DAMAGE[how](path)
    nightly.run(night)
    assert f"{path}: " in caplog.text
    assert digests(night.lake) == before
    owners = {name: night.lake.snapshot(name).run_ids for name in TABLES}
    nightly.run(night)
    assert {name: night.lake.snapshot(name).run_ids for name in TABLES} == owners


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("table", PRODUCERS)
def test_a_job_names_the_lost_file_of_its_input_and_the_job_that_makes_it(night, table, how, tmp_path, capsys):
    _, producer, consumer = PRODUCERS[table]
    path = Path(night.lake.snapshot(table).files[0].path)
    DAMAGE[how](path)
    before = {name: night.lake.snapshot(name).run_ids for name in TABLES}
    code, line = command(consumer, night, tmp_path, capsys)
    assert code == 4
    assert line.startswith(f"error: {path}: ")
    assert f"run {producer} again" in line
    assert {name: night.lake.snapshot(name).run_ids for name in TABLES} == before


@pytest.mark.parametrize("table", ["pairs", "matches", "curated"])
def test_a_flipped_bit_in_an_input_ends_the_next_stage_with_one_line(night, table, tmp_path, capsys):
    _, _, consumer = PRODUCERS[table]
    path = Path(night.lake.snapshot(table).files[0].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    keys = {"match": {"unit_bytes": 12345}, "balance": {"bucket_bytes": 999}, "images": {"shard_bytes": 999}}
    sections = {name: getattr(night.config, name).model_copy(update=update) for name, update in keys.items()}
    changed = Context(night.config.model_copy(update=sections), "test")  # so that there is work to do
    code, line = command(consumer, changed, tmp_path, capsys)
    assert code == 4
    assert line.startswith(f"error: {path}: damaged: ")
    assert "jobs.verify --config c.yaml --repair" in line


@pytest.mark.parametrize("content", [b"", b"{", b"[]"], ids=["empty", "cut", "other"])
@pytest.mark.parametrize("name", ["recipes/default.json", "matchers/latest.json", "manifest"])
def test_a_damaged_small_file_ends_a_night_with_one_line(night, name, content, tmp_path, capsys):
    root = Path(night.config.lake)
    path = next(root.glob("matchers/*/manifest.*.json")) if name == "manifest" else root / name
    path.write_bytes(content)
    code, line = command(nightly, night, tmp_path, capsys)
    assert code == 4
    assert line.startswith(f"error: {path}: damaged: ")
    assert "run " in line


def test_a_damaged_matcher_ends_a_match_with_one_line(night, tmp_path, capsys):
    path = next(Path(night.config.lake).glob("matchers/*/worldwide.*/fr.matcher"))
    path.write_bytes(path.read_bytes()[:-1])
    update = {"match": night.config.match.model_copy(update={"unit_bytes": 12345})}
    code, line = command(match, Context(night.config.model_copy(update=update), "match"), tmp_path, capsys)
    assert (code, line.startswith(f"error: {path} is damaged")) == (4, True)


def test_workers_pass_on_which_file_is_damaged():
    from jobs.runtime.work_unit import run_unit

    def task(_: int, __: int) -> int:
        raise DamagedLakeError("file: damaged")

    answer = run_unit(task, 0, 0, None)
    assert (answer.error_class, answer.error) == ("DamagedLakeError", "file: damaged")
