"""One command finds the nights that are late, missing, failed or stale, and runs them in order."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from curation.errors import InputError, UsageError, WorldcurateError
from curation.io.lease import hold_lease
from jobs import balance, fetch_images, ingest, match, nightly
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import run_job
from support.nights import NIGHT, publish_metadata, write_night

DAYS = ["2024-05-29", "2024-05-30", "2024-05-31"]


@pytest.fixture
def nights(in_process, tmp_path) -> Context:
    """A context without a batch, over a lake without nights; inputs are in a folder per batch."""
    ingest = {**NIGHT["ingest"], "inputs": [str(tmp_path / "in" / "{batch}" / "*.jsonl")]}
    config = Config(**{**NIGHT, "lake": str(tmp_path / "lake"), "ingest": ingest})
    publish_metadata(Context(config.model_copy(update={"create": True}), "nightly"))
    return Context(config, "nightly", catch_up=True)


def arrive(tmp_path: Path, day: str) -> None:
    write_night(tmp_path / "in" / day, 12, files=1, start=100 * DAYS.index(day))


def ran(outcomes) -> list[str]:
    """The batches of the runs of balance, in the order in which they ran."""
    return [outcome.run_id for outcome in outcomes if outcome.stage == "balance" and outcome.fresh]


def caught_up(context: Context) -> list[str]:
    """Catch up; return the batches that were balanced, in order."""
    fresh = ran(nightly.run(Context(context.config, "nightly", catch_up=True)))
    batch_of = {row["run_id"]: row["batch"] for row in context.lake.rows("runs").to_pylist()}
    return [batch_of[run_id] for run_id in fresh]


def test_late_nights_are_inserted_and_the_nights_after_them_are_run_again(nights, tmp_path):
    arrive(tmp_path, DAYS[0])
    arrive(tmp_path, DAYS[2])
    assert caught_up(nights) == [DAYS[0], DAYS[2]]
    assert caught_up(nights) == []
    arrive(tmp_path, DAYS[1])
    assert caught_up(nights) == DAYS[1:], "the totals of the last night have changed"
    assert caught_up(nights) == []
    rows = nights.lake.rows("runs", {"stage": ["totals"], "batch": [DAYS[2]]}).sort_by("finished").to_pylist()
    assert [json.loads(row["totals"])["batches"] for row in rows] == [2, 3]


def test_a_night_that_fails_does_not_stop_the_others_and_gives_the_exit_code(nights, tmp_path):
    for day in DAYS:
        arrive(tmp_path, day)
    (broken,) = (tmp_path / "in" / DAYS[1]).glob("*.jsonl")
    content = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(WorldcurateError, match=r"^catch_up: 1 of 3 batches failed, 2024-05-30: .*0 bytes") as error:
        caught_up(nights)
    assert error.value.exit_code == 3
    assert nights.lake.batches() == [DAYS[0], DAYS[2]]
    broken.write_bytes(content)
    assert caught_up(nights) == DAYS[1:]


def test_a_published_night_whose_inputs_are_gone_is_only_made_from_its_pairs(nights, tmp_path):
    for day in DAYS[1:]:
        arrive(tmp_path, day)
    caught_up(nights)
    shutil.rmtree(tmp_path / "in" / DAYS[2])
    arrive(tmp_path, DAYS[0])
    assert caught_up(nights) == DAYS


def test_a_dry_run_lists_the_nights_and_why_and_changes_nothing(nights, tmp_path, capsys):
    arrive(tmp_path, DAYS[0])
    assert nightly.run(Context(nights.config, "nightly", catch_up=True, dry_run=True)) == []
    assert capsys.readouterr().out == "2024-05-29: ingest runs: it has not been run\n"
    assert nights.lake.batches() == []


def test_nights_before_the_first_one_are_left_alone(nights, tmp_path):
    for day in DAYS:
        arrive(tmp_path, day)
    nightly.run(Context(nights.config, "nightly", catch_up=True, since=DAYS[1]))
    assert nights.lake.batches() == DAYS[1:]


def test_a_batch_given_twice_and_a_pattern_that_names_no_batch_are_refused(nights):
    with pytest.raises(UsageError, match="--catch_up: it finds the batches itself"):
        nightly.run(Context(nights.config.for_batch("b"), "nightly", catch_up=True))
    with pytest.raises(UsageError, match=r"^config: key `batch` is missing: .*--catch_up"):
        nightly.run(Context(nights.config, "nightly"))
    ingest = nights.config.ingest.model_copy(update={"inputs": ["/data/*/{batch}.jsonl"]})
    with pytest.raises(UsageError, match="before any wildcard"):
        nightly.run(Context(nights.config.model_copy(update={"ingest": ingest}), "nightly", catch_up=True))


def test_a_second_process_with_the_same_recipe_is_refused_and_a_plan_is_not(nights, tmp_path, capsys):
    arrive(tmp_path, DAYS[0])
    night = nights.for_batch(DAYS[0])
    in_use = rf"^{{}}: recipe default in .* is in use by process {os.getpid()} of"
    with hold_lease(nights.storage, nights.lake.layout.lease("default"), "test"):
        run_job(nightly.JOB, Context(nights.config, "nightly", catch_up=True, dry_run=True))
        assert "ingest runs" in capsys.readouterr().out
        for job in (nightly, ingest, match, balance, fetch_images):
            with pytest.raises(InputError, match=in_use.format(job.JOB.name)):
                run_job(job.JOB, Context(night.config, job.JOB.name))
    for job in (nightly, fetch_images):  # which releases the lease
        run_job(job.JOB, Context(night.config, job.JOB.name))
    other = night.config.model_copy(update={"recipe": "other"})
    with hold_lease(nights.storage, nights.lake.layout.lease("default"), "test"):
        run_job(balance.JOB, Context(other, "balance"))
