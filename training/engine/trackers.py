"""Optional sinks of metrics: Weights & Biases and MLflow, whose packages are imported only where a key asks for them.

Their own settings are in the environment: `WANDB_MODE`, `WANDB_API_KEY`, `MLFLOW_TRACKING_URI` and others. The ids of
their runs are in `OUTPUT/trackers.json`, so a resumed run continues them.
"""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from curation.errors import UsageError
from curation.io.failures import first_line
from curation.io.local_files import LocalFiles
from training.config import TrainConfig

log = logging.getLogger(__name__)

IDS_FILE = "trackers.json"
IDS = TypeAdapter(dict[str, str])


class Tracker(Protocol):
    """A service that shows the metrics of runs.

    Attributes:
        run_id: the id that the service gave the run.
    """

    run_id: str

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step, without waiting for an answer."""

    def close(self, *, failed: bool) -> None:
        """Send what is left and end the run."""


class WandbTracker:
    """A run of Weights & Biases."""

    def __init__(self, config: TrainConfig, settings: Mapping[str, Any], run_id: str | None) -> None:
        wandb: Any = importlib.import_module("wandb")
        folder = str(config.output_folder)
        self._run = wandb.init(
            project=config.wandb_project, id=run_id, resume="allow", dir=folder, config=dict(settings)
        )
        # its own count of steps would drop the steps that a resumed run does again
        self._run.define_metric("*", step_metric="step")
        self.run_id = str(self._run.id)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step; the package queues them."""
        self._run.log({"step": step, **metrics})

    def close(self, *, failed: bool) -> None:
        """Send what is left and end the run."""
        self._run.finish(exit_code=int(failed))


class MlflowTracker:
    """A run of MLflow."""

    def __init__(self, config: TrainConfig, settings: Mapping[str, Any], run_id: str | None) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        self._client = self._mlflow.MlflowClient()
        if run_id is None:
            name = config.mlflow_experiment
            experiment = self._client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
            run_id = self._client.create_run(experiment_id, run_name=config.output_folder.name).info.run_id
            parameters = [self._entities.Param(key, json.dumps(value)) for key, value in settings.items()]
            self._client.log_batch(run_id, params=parameters)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self.run_id = str(run_id)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step; the package queues them."""
        now = int(time.time() * 1000)
        values = [self._entities.Metric(name.replace("@", "_at_"), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=values, synchronous=False)

    def close(self, *, failed: bool) -> None:
        """Send what is left and end the run."""
        self._mlflow.flush_async_logging()
        self._client.set_terminated(self.run_id, status="FAILED" if failed else "FINISHED")


KINDS: dict[str, type[WandbTracker | MlflowTracker]] = {"wandb": WandbTracker, "mlflow": MlflowTracker}


def _chosen(config: TrainConfig) -> dict[str, type[WandbTracker | MlflowTracker]]:
    keys = {"wandb": config.wandb_project, "mlflow": config.mlflow_experiment}
    return {name: KINDS[name] for name, key in keys.items() if key is not None}


def check_packages(config: TrainConfig) -> None:
    """Raise UsageError if a key asks for a tracker whose package is not installed."""
    for name in _chosen(config):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(
                f"{name}: the package cannot be imported ({first_line(error)}): pip install 'worldcurate[track]'"
            ) from error


def _read_ids(path: Path) -> dict[str, str]:
    """Return the ids of the services' runs; none, and a line in the log, if the file is broken."""
    try:
        return IDS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        log.warning("%s is broken (%s): the trackers start new runs", path, error.errors()[0]["msg"])
        return {}


class Trackers:
    """The trackers of a run. One that fails while the run goes on is named in the log and left out from then on.

    Args:
        config: the configuration of the run.
        settings: the values of all keys, without secrets, which the services show.
    """

    def __init__(self, config: TrainConfig, settings: Mapping[str, Any]) -> None:
        path = config.output_folder / IDS_FILE
        ids = _read_ids(path)
        self._trackers: dict[str, Tracker] = {}
        for name, kind in _chosen(config).items():
            try:
                self._trackers[name] = kind(config, settings, ids.get(name))
            except Exception as error:  # each package has its own errors, and network libraries under it
                self.close(failed=True)
                raise UsageError(
                    f"{name}: cannot start a run ({first_line(error)}): check its settings, or remove the key"
                ) from error
        if self._trackers:
            ids |= {name: tracker.run_id for name, tracker in self._trackers.items()}
            LocalFiles().write_bytes(str(path), json.dumps(ids).encode())

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step to every tracker."""
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.write(step, metrics)
            except Exception as error:
                self._leave_out(name, error)

    def close(self, *, failed: bool) -> None:
        """End the runs of all trackers."""
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.close(failed=failed)
            except Exception as error:
                self._leave_out(name, error)

    def _leave_out(self, name: str, error: Exception) -> None:
        log.warning("%s: cannot send metrics (%s): it gets no more of this run", name, first_line(error))
        del self._trackers[name]
