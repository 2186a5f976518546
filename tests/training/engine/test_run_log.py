from __future__ import annotations

import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.data.sample_order import DataState
from training.engine.checkpoint import TrainingState
from training.engine.run_log import RunLog
from training.engine.step_times import StepTimes

STATE = TrainingState(step=1, progress=DataState(), version=0, run_ids=(), samples=9, config={})


def lines(output):
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_metrics_go_to_the_log_to_a_file_and_to_tensorboard(tmp_path, caplog):
    with caplog.at_level("INFO"), RunLog(tmp_path, 0, 9, 4) as log:
        log.write(1, 0, {"loss": 2.5, "memory": 7}, shown=["loss"], rest=", soon")
        log.write(2, 1, {"loss": 1.5}, shown=["loss", "recall"])
    assert caplog.messages == ["step 1 of 9, epoch 0: loss 2.5, soon", "step 2 of 9, epoch 1: loss 1.5"]
    assert lines(tmp_path) == [
        {"step": 1, "epoch": 0, "loss": 2.5, "memory": 7},
        {"step": 2, "epoch": 1, "loss": 1.5},
    ]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.5), (2, 1.5)]
    assert log.metrics == {"loss": 1.5, "memory": 7}


def test_a_step_is_logged_with_the_speed_since_the_last_line_and_the_time_left(tmp_path, monkeypatch, caplog):
    now = iter([100.0, 102.0, 107.0])
    monkeypatch.setattr("training.engine.run_log.time.monotonic", lambda: next(now))
    with caplog.at_level("INFO"):
        log = RunLog(tmp_path, 2, 9, 4)
        log.write_step(6, 0, {"loss": 2.5, "peak_memory_bytes": 7})
        log.write_step(9, 1, {"loss": 1.5})
    assert caplog.messages == [
        "step 6 of 9, epoch 0: loss 2.5, pairs_per_second 8, about 2 s left",
        "step 9 of 9, epoch 1: loss 1.5, pairs_per_second 2.4",
    ]
    assert [line["pairs_per_second"] for line in lines(tmp_path)] == [8.0, 2.4]


def test_a_resumed_run_replaces_the_metrics_of_later_steps_and_half_a_line(tmp_path, monkeypatch):
    seconds = itertools.count(1_800_000_000)  # TensorBoard orders its files by the second of their start
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time.time", lambda: float(next(seconds)))
    with RunLog(tmp_path, 0, 9, 4) as log:
        for step in (1, 2, 3):
            log.write(step, 0, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "los')
    with RunLog(tmp_path, 2, 9, 4) as log:
        log.write(3, 0, {"loss": 30})
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(1, 1), (2, 2), (3, 30)]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 1), (2, 2), (3, 30)]


def test_a_kill_at_the_start_of_a_resumed_run_keeps_the_earlier_metrics(tmp_path, monkeypatch):
    with RunLog(tmp_path, 0, 9, 4) as log:
        log.write(1, 0, {"loss": 1})

    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        RunLog(tmp_path, 1, 9, 4)
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_tensorboard_is_on_the_disk_with_each_checkpoint(tmp_path):
    log = RunLog(tmp_path, 0, 9, 4)
    log.write(1, 0, {"loss": 2.5})
    log.write_page(STATE)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("loss")] == [2.5]


def test_a_page_that_cannot_be_made_is_one_line_and_training_goes_on(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise KeyError("step\nmore")

    monkeypatch.setattr("training.engine.run_log.write_page", fail)
    with RunLog(tmp_path, 0, 9, 4) as log:
        log.write_page(STATE)
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    assert caplog.messages[0].startswith("output: the run's page cannot be written (")


def test_a_terminal_shows_a_bar_with_the_time_left(tmp_path, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("training.engine.run_log.Console", lambda **_: terminal)
    monkeypatch.setattr("training.engine.run_log.shows_progress_bar", lambda: True)
    with RunLog(tmp_path, 2, 9, 4) as log:
        log.advance(5)
    assert "step 5 of 9" in screen.getvalue()
    monkeypatch.setattr("training.engine.run_log.shows_progress_bar", lambda: False)
    screen.truncate(0)
    with RunLog(tmp_path, 2, 9, 4) as log:
        log.advance(5)
    assert "step" not in screen.getvalue()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=30))
def test_step_times_leave_out_what_happens_between_steps(plan):
    now = 0.0
    times = StepTimes(lambda: now)

    def source():
        nonlocal now
        for wait, _, _ in plan:
            now += wait
            yield wait

    for (_, work, between), _ in zip(plan, times.batches(source()), strict=True):
        now += work
        times.end_step()
        now += between
    metrics = times.take()
    steps = sorted(wait + work for wait, work, _ in plan)
    assert metrics["step_seconds_max"] == steps[-1]
    assert steps[0] <= metrics["step_seconds_p50"] <= metrics["step_seconds_p95"] <= steps[-1]
    assert metrics["data_wait_share"] == pytest.approx(sum(wait for wait, _, _ in plan) / sum(steps))
    assert times.take() == {}, "every step is reported once"
