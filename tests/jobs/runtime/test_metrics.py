"""Metrics tell of every run, failed or not, how it ended; counts are counters, and no family is empty."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from curation.errors import InputError, OutputError, UsageError
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main, run_job, summary
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage

STATUS = ("last_run_timestamp_seconds", "last_run_duration_seconds", "last_run_exit_code", "last_run_complete")
ERRORS = [(UsageError, 2), (InputError, 3), (OutputError, 4), (RuntimeError, 1), (KeyboardInterrupt, 130)]
NAMES = st.text(st.sampled_from("abcdef_"), min_size=1, max_size=6)


def context_at(folder: Path, **keys) -> Context:
    return Context(Config(**{"lake": str(folder / "lake"), "create": True, "batch": "b1", **keys}), "test")


def families(folder: Path, stage: str) -> dict:
    text = (folder / f"worldcurate_{stage}.prom").read_text()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.samples for family in found.values()), "no family is empty"
    assert text.count("# TYPE") == len(found)
    return found


def values(folder: Path, stage: str) -> dict:
    """Values by name and last label, with names without the prefix."""
    return {
        (
            sample.name.removeprefix("worldcurate_"),
            *[value for key, value in sample.labels.items() if key not in ("stage", "batch")],
        ): sample.value
        for family in families(folder, stage).values()
        for sample in family.samples
    }


def job(run, name: str = "ingest") -> Job:
    return Job(name, "Does something.", run)


def raising(error: type[BaseException]):
    def run(context):
        raise error("x")

    return run


@given(
    st.dictionaries(NAMES, st.integers(0, 10**12) | st.floats(0, 1) | st.booleans() | NAMES | st.none(), max_size=5),
    st.dictionaries(NAMES, st.integers(1, 1000), max_size=3),
    st.dictionaries(NAMES, st.floats(0, 100), max_size=3),
    st.booleans(),
)
def test_counts_are_counters_levels_are_gauges_and_nothing_is_empty(tmp_path_factory, totals, drops, seconds, complete):
    folder = tmp_path_factory.mktemp("metrics")
    outcome = Outcome("ingest", "r", True, {**totals, "t_en": 20, "p": 0.5}, drops, seconds, complete=complete)
    run_job(job(lambda _: [outcome]), context_at(folder, metrics=str(folder)))
    found = values(folder, "ingest")
    counts = {key: value for key, value in totals.items() if type(value) is int and key != "p"}
    assert {name[1]: value for name, value in found.items() if name[0] == "total"} == counts
    assert {name[1]: value for name, value in found.items() if name[0] == "dropped_total"} == drops
    assert {name[1] for name in found if name[0] == "seconds"} == seconds.keys()
    assert (found["level", "t_en"], found["level", "p"], found["last_run_complete",]) == (20, 0.5, complete)
    kinds = {family.name: family.type for family in families(folder, "ingest").values()}
    assert {name for name, kind in kinds.items() if kind == "counter"} <= {"worldcurate", "worldcurate_dropped"}
    assert {kinds.get("worldcurate", "counter"), kinds.get("worldcurate_dropped", "counter")} == {"counter"}


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_a_failed_run_writes_its_exit_code_and_keeps_the_last_success(tmp_path, error, code):
    made = context_at(tmp_path, metrics=str(tmp_path))
    before = time.time()
    run_job(job(lambda _: [Outcome("ingest", "r", True, {"kept": 5})]), made)
    success = values(tmp_path, "ingest")
    assert before <= success["last_success_timestamp_seconds",] <= time.time()
    for _ in range(2):
        with pytest.raises(error):
            run_job(job(raising(error)), made)
        failed = values(tmp_path, "ingest")
        assert failed["last_success_timestamp_seconds",] == success["last_success_timestamp_seconds",]
        assert failed["last_run_timestamp_seconds",] >= success["last_run_timestamp_seconds",]
        assert (failed["last_run_exit_code",], failed["last_run_complete",], failed["total", "kept"]) == (code, 0, 5)
    run_job(job(lambda _: [Outcome("ingest", "r", False, {"kept": 6})]), made)
    again = values(tmp_path, "ingest")
    assert (again["last_run_exit_code",], again["last_run_complete",], again["total", "kept"]) == (0, 1, 6)
    assert again["last_success_timestamp_seconds",] > success["last_success_timestamp_seconds",]


def test_a_run_that_never_succeeded_has_no_time_of_success(tmp_path):
    with pytest.raises(InputError):
        run_job(job(raising(InputError)), context_at(tmp_path, metrics=str(tmp_path)))
    assert sorted(name for name, *_ in values(tmp_path, "ingest")) == sorted(STATUS)


class Failing(Stage):
    name: ClassVar[str] = "shards"
    tables: ClassVar[tuple[str, ...]] = ("shards",)
    fails: ClassVar[bool] = True
    fingerprint_keys: ClassVar[dict] = {}
    inputs: ClassVar[dict] = {}
    outputs: ClassVar[dict] = {"shards": {"recipe": "r", "batch": "b1"}}

    def execute(self, run):
        if self.fails:
            raise OutputError("the counts do not add up")
        return Publication({"shards": []}, {"written": 0}, complete=False)


def test_the_stage_that_failed_and_its_job_both_say_so(tmp_path, monkeypatch):
    made = context_at(tmp_path)
    folder = tmp_path / "lake" / "reports" / "metrics"
    fetch = job(lambda context: [Failing(context).run()], "fetch_images")
    with pytest.raises(OutputError):
        run_job(fetch, made)
    assert values(folder, "shards")["last_run_exit_code",] == values(folder, "fetch_images")["last_run_exit_code",] == 4
    monkeypatch.setattr(Failing, "fails", False)
    outcomes = run_job(fetch, made)
    found = values(folder, "shards")
    assert (found["last_run_exit_code",], found["last_run_complete",], found["total", "written"]) == (0, 0, 0)
    assert values(folder, "fetch_images")["last_run_complete",] == 0
    assert found["last_run_duration_seconds",] > 0
    assert summary("fetch_images", outcomes, 1.0).startswith("fetch_images: incomplete (shards): the next run tries")


def test_a_failure_without_a_lake_creates_none_and_writes_to_the_configured_folder_only(tmp_path, capsys):
    handlers = logging.getLogger().handlers[:]
    try:
        arguments = ["--lake", str(tmp_path / "laek"), "--batch", "b"]
        assert main("jobs.match", arguments) == 2
        assert list(tmp_path.iterdir()) == []
        assert main("jobs.match", [*arguments, "--metrics", str(tmp_path / "metrics")]) == 2
        assert main("jobs.build_metadata", ["--lake", str(tmp_path / "laek"), "--metadata.languages", "xx"]) == 2
    finally:
        logging.getLogger().handlers[:] = handlers
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]
    assert values(tmp_path / "metrics", "match")["last_run_exit_code",] == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"worldcurate_total 5\n# TYPE x counter\nx{a=\n"])
def test_a_damaged_file_of_metrics_is_replaced_and_hides_no_error(tmp_path, damage):
    (tmp_path / "worldcurate_ingest.prom").write_bytes(damage)
    with pytest.raises(InputError, match=r"^x$"):
        run_job(job(raising(InputError)), context_at(tmp_path, metrics=str(tmp_path)))
    assert values(tmp_path, "ingest")["last_run_exit_code",] == 3


def test_a_folder_that_cannot_be_written_hides_no_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^x$"):
        run_job(job(raising(InputError)), context_at(tmp_path, metrics=str(tmp_path / "file" / "below")))


def test_a_dry_run_writes_no_metrics(tmp_path):
    made = context_at(tmp_path, metrics=str(tmp_path))
    run_job(job(lambda _: [Outcome("gc", "-", True, {"files": 1}, dry_run=True)], "gc"), made)
    assert not list(tmp_path.glob("*.prom"))


def test_a_job_of_several_stages_ends_with_one_line():
    ran, idle = Outcome("images", "r", True), Outcome("shards", "r", False)
    assert summary("fetch_images", [ran, idle], 2.04) == (
        "fetch_images: complete: ran images; nothing to do for shards (2.0 s)"
    )


def test_a_push_gateway_gets_the_same_metrics_and_its_failure_is_only_logged(tmp_path, monkeypatch, caplog):
    pushed = []

    def push(gateway, job, registry, grouping_key, timeout):
        pushed.append((gateway, job, grouping_key, generate_latest(registry).decode()))
        if len(pushed) > 1:
            raise OSError("connection refused")

    monkeypatch.setattr("jobs.runtime.metrics.pushadd_to_gateway", push)
    made = context_at(tmp_path, metrics=str(tmp_path), push_gateway="127.0.0.1:9091")
    for _ in range(2):
        run_job(job(lambda _: [Outcome("ingest", "r", True, {"kept": 5})]), made)
        text = (tmp_path / "worldcurate_ingest.prom").read_text()
        assert pushed[-1] == ("127.0.0.1:9091", "worldcurate", {"stage": "ingest"}, text)
    assert "push_gateway: the metrics of ingest could not be sent to 127.0.0.1:9091: connection refused" in caplog.text
