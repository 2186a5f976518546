"""Weights & Biases and MLflow, for which modules with the same functions record their calls."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from curation.errors import UsageError
from training.config import TrainConfig
from training.engine.run_log import RunLog
from training.engine.trackers import Trackers, check_packages


def recorded_wandb(made: list[tuple[object, ...]]) -> list[ModuleType]:
    """Return a module with the functions of wandb that record their calls."""

    class Run:
        def __init__(self, name: str) -> None:
            self.id = name

        def define_metric(self, name, step_metric):
            made.append(("define", name, step_metric))

        def log(self, values):
            made.append(("log", values))

        def finish(self, exit_code):
            made.append(("finish", exit_code))

    def init(*, project, id, resume, dir, config):  # noqa: A002 - names of the package
        made.append(("init", project, id, resume, dir, config))
        return Run(id or "w1")

    wandb = ModuleType("wandb")
    wandb.init = init
    return [wandb]


def recorded_mlflow(made: list[tuple[object, ...]]) -> list[ModuleType]:
    """Return modules with the functions of mlflow that record their calls."""

    class Client:
        def get_experiment_by_name(self, name):
            return SimpleNamespace(experiment_id="7") if name == "old" else None

        def create_experiment(self, name):
            made.append(("create_experiment", name))
            return "8"

        def create_run(self, experiment_id, run_name):
            made.append(("create_run", experiment_id, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="m1"))

        def update_run(self, run_id, status):
            made.append(("update_run", run_id, status))

        def log_batch(self, run_id, metrics=(), params=(), synchronous=None):
            made.append(("log_batch", run_id, [(m.key, m.value, m.step) for m in metrics], len(params), synchronous))

        def set_terminated(self, run_id, status):
            made.append(("set_terminated", run_id, status))

    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient = Client
    mlflow.flush_async_logging = lambda: made.append(("flush",))
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step)
    entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)
    return [mlflow, entities]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[object, ...]]:
    """The calls of both packages, in order."""
    made: list[tuple[object, ...]] = []
    for module in (*recorded_wandb(made), *recorded_mlflow(made)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def config_of(tmp_path, **keys) -> TrainConfig:
    return TrainConfig(steps=9, output=str(tmp_path), **keys)


def test_wandb_gets_every_line_and_a_resumed_run_continues_the_same_one(calls, tmp_path):
    config = config_of(tmp_path, wandb_project="maps")
    for step in (0, 2):
        with RunLog(tmp_path, step, 9, 4, Trackers(config, {"lr": 0.1})) as log:
            log.write(step + 1, 0, {"loss": 2.5})
    expected = []
    for step, run_id in ((0, None), (2, "w1")):
        expected += [
            ("init", "maps", run_id, "allow", str(tmp_path), {"lr": 0.1}),
            ("define", "*", "step"),
            ("log", {"step": step + 1, "epoch": 0, "loss": 2.5}),
            ("finish", 0),
        ]
    assert calls == expected


@pytest.mark.parametrize(("experiment", "number"), [("old", "7"), ("new", "8")])
def test_mlflow_gets_every_line_without_being_waited_for(calls, tmp_path, experiment, number):
    config = config_of(tmp_path, mlflow_experiment=experiment)
    for _ in range(2):
        with RunLog(tmp_path, 0, 9, 4, Trackers(config, {"lr": 0.1})) as log:
            log.write(3, 1, {"recall@1": 0.5})
    line = [("log_batch", "m1", [("epoch", 1, 3), ("recall_at_1", 0.5, 3)], 0, False), ("flush",)]
    end = ("set_terminated", "m1", "FINISHED")
    created = [("create_experiment", "new")] if experiment == "new" else []
    first = [*created, ("create_run", number, tmp_path.name), ("log_batch", "m1", [], 1, None), *line, end]
    assert calls == [*first, ("update_run", "m1", "RUNNING"), *line, end]


def test_a_run_that_fails_is_marked_as_failed(calls, tmp_path):
    trackers = Trackers(config_of(tmp_path, wandb_project="maps", mlflow_experiment="old"), {})

    def fail():
        with RunLog(tmp_path, 0, 9, 4, trackers):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert calls[-3:] == [("finish", 1), ("flush",), ("set_terminated", "m1", "FAILED")]


def test_a_service_that_fails_later_is_named_once_and_left_out(calls, tmp_path, monkeypatch, caplog):
    trackers = Trackers(config_of(tmp_path, wandb_project="maps", mlflow_experiment="old"), {})

    def fail(*_, **__):
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(sys.modules["mlflow"].MlflowClient, "log_batch", fail)
    for step in (1, 2):
        trackers.write(step, {"loss": 1.0})
    trackers.close(failed=False)
    assert caplog.messages == ["mlflow: cannot send metrics (no route): it gets no more of this run"]
    assert [call for call in calls if call[0] == "log"] == [("log", {"step": step, "loss": 1.0}) for step in (1, 2)]


def test_a_service_that_cannot_start_is_one_line_and_ends_the_others(calls, tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("no key")

    monkeypatch.setattr(sys.modules["mlflow"].MlflowClient, "__init__", fail)
    with pytest.raises(UsageError, match=r"mlflow: cannot start a run \(no key\): check its settings, or remove"):
        Trackers(config_of(tmp_path, wandb_project="maps", mlflow_experiment="old"), {})
    assert calls[-1] == ("finish", 1)
    assert not (tmp_path / "trackers.json").exists()


@pytest.mark.parametrize(("name", "key"), [("wandb", "wandb_project"), ("mlflow", "mlflow_experiment")])
def test_a_missing_package_is_one_line_before_training(tmp_path, monkeypatch, name, key):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"{name}: the package cannot be imported \(.*\): pip install 'worldcurate\["):
        check_packages(config_of(tmp_path, **{key: "x"}))
    check_packages(config_of(tmp_path))


def test_without_keys_there_is_no_tracker_and_no_file(calls, tmp_path):
    Trackers(config_of(tmp_path), {}).write(1, {"loss": 1.0})
    assert calls == []
    assert not list(tmp_path.iterdir())


def test_ids_of_both_services_are_stored(calls, tmp_path):
    Trackers(config_of(tmp_path, wandb_project="maps", mlflow_experiment="old"), {})
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "w1", "mlflow": "m1"}


@pytest.mark.parametrize("content", ["", '{"wandb": "w', "[]", '{"wandb": 1}'])
def test_a_broken_file_of_ids_starts_new_runs_with_one_line(calls, tmp_path, caplog, content):
    (tmp_path / "trackers.json").write_text(content)
    Trackers(config_of(tmp_path, wandb_project="maps"), {})
    assert [call[2] for call in calls if call[0] == "init"] == [None]
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "w1"}
    assert [message.partition(" (")[0] for message in caplog.messages] == [f"{tmp_path / 'trackers.json'} is broken"]


def test_a_kill_while_ids_are_stored_keeps_the_earlier_ones(calls, tmp_path, monkeypatch):
    (tmp_path / "trackers.json").write_text('{"wandb": "w7"}')

    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        Trackers(config_of(tmp_path, wandb_project="maps"), {})
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": "w7"}
