"""The schedulers of examples/schedulers run nights as written, and try again only what a retry can mend."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from curation.io.lease import hold_lease
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.nights import NIGHT, publish_metadata, write_night

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "schedulers"
SERVICE = (EXAMPLES / "systemd" / "worldcurate-nightly.service").read_text(encoding="utf-8")
CRON = (EXAMPLES / "cron" / "worldcurate").read_text(encoding="utf-8")
RETRIED, FINAL = {3, 130, 137, 143}, {1, 2, 4, 5}  # the exit codes of docs/operations.md
KEYS = {"sparkoperator.k8s.io/v1beta2": "template", "batch/v1": "jobTemplate"}


@pytest.fixture
def nights(tmp_path) -> Context:
    """A context over an empty lake with metadata; the inputs of today, and of tomorrow, are there."""
    ingest = {**NIGHT["ingest"], "inputs": [str(tmp_path / "in" / "{batch}" / "*.jsonl")]}
    keys = {**NIGHT, "lake": str(tmp_path / "lake"), "ingest": ingest, "spark": {"master": "local[1]"}}
    context = Context(Config(**keys), "nightly")
    publish_metadata(context)
    for day in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)):
        write_night(tmp_path / "in" / f"{day:%F}", 12, files=1)
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(keys))
    return context


def run(command: str, tmp_path: Path, **keys: str) -> tuple[int, list[str]]:
    """Run a command line of a scheduler on this machine; return its exit code and the lines of its errors."""
    places = {
        "/opt/worldcurate/bin/python": sys.executable,
        "/etc/worldcurate/night.yaml": str(tmp_path / "night.yaml"),
        "/etc/worldcurate/nightly.sh": str(EXAMPLES / "cron" / "nightly.sh"),
        "/tmp/worldcurate.lock": str(tmp_path / "lock"),
        " 6 900 ": " 3 0 ",
    }
    for place, here in places.items():
        command = command.replace(place, here)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **keys})
    return done.returncode, [
        line for line in done.stderr.splitlines() if line.startswith("error:") or '"level": "ERROR"' in line
    ]


def cron_line() -> str:
    [line] = [line for line in CRON.splitlines() if re.match(r"\d", line)]
    _, command = line.split(" worldcurate ", 1)
    return command.replace(r"\%", "%")  # as cron does


def exec_start() -> str:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(SERVICE)
    return unit["Service"]["ExecStart"]


def is_restarted(code: int) -> bool:
    """Return whether systemd starts the service again after an exit code, by its documentation."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(SERVICE)
    assert unit["Service"]["Restart"] == "on-failure"
    return code != 0 and str(code) not in unit["Service"]["RestartPreventExitStatus"].split()


@pytest.mark.slow
@pytest.mark.spark
def test_cron_and_systemd_run_a_night_and_then_have_nothing_to_do(nights, tmp_path):
    assert run(cron_line(), tmp_path) == (0, [])
    [batch] = nights.lake.batches()
    for other in (path for path in (tmp_path / "in").iterdir() if path.name != batch):
        shutil.rmtree(other)  # so that there is nothing to catch up
    for command in (cron_line(), exec_start()):
        before = nights.lake.version("shards")
        assert run(command, tmp_path) == (0, []), "nothing to do is a success"
        assert nights.lake.version("shards") == before


@pytest.mark.slow
def test_a_lease_that_another_process_holds_is_tried_again_and_a_refused_config_is_not(nights, tmp_path):
    with hold_lease(nights.storage, nights.lake.layout.lease("default"), "another night"):
        code, errors = run(cron_line(), tmp_path)
        assert (code, len(errors)) == (3, 3), "cron's script tries it three times"
        assert "in use by" in errors[0]
        code, errors = run(exec_start(), tmp_path)
        assert (code, len(errors), is_restarted(code)) == (3, 1, True)
    for command in (cron_line(), exec_start()):
        code, errors = run(command, tmp_path, WORLDCURATE_BALANCE__T_EN="many")
        assert (code, len(errors), is_restarted(code)) == (2, 1, False)


def test_flock_ends_with_75_while_the_last_night_runs(tmp_path):
    with subprocess.Popen(["flock", str(tmp_path / "lock"), "cat"], stdin=subprocess.PIPE) as holder:
        taken = ["flock", "-n", "-E", "75", str(tmp_path / "lock"), "true"]
        while subprocess.run(taken, check=False).returncode == 0:
            pass
        assert run(cron_line(), tmp_path) == (75, [])
        holder.communicate()


@pytest.mark.parametrize("code", sorted({0, *RETRIED, *FINAL}))
def test_every_scheduler_tries_again_what_the_documented_codes_allow(code, monkeypatch, tmp_path):
    assert is_restarted(code) == (code in RETRIED)
    script = tmp_path / "job.sh"
    script.write_text(f"echo try >> {tmp_path}/tries\nexit {code}\n")
    done = subprocess.run([EXAMPLES / "cron" / "nightly.sh", "3", "0", "sh", script], check=False)
    assert done.returncode == code
    assert len((tmp_path / "tries").read_text().split()) == (3 if code == 3 else 1)
    [rules] = [part["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"] for part in kubernetes("cronjob")]
    action = next((rule["action"] for rule in rules if code in rule["onExitCodes"]["values"]), None)
    assert action == ("FailJob" if code in FINAL else "Count" if code in RETRIED else None)
    assert airflow_outcome(code, monkeypatch) == ("fails" if code in FINAL else "again" if code in RETRIED else "done")


def airflow_outcome(code: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the task of the DAG, whose decorators do nothing, with a command that ends with a code."""
    fails = type("AirflowFailException", (Exception,), {})
    tasks: list = []
    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    sdk.dag = lambda **keys: lambda function: function
    sdk.task = lambda function: tasks.append(function) or (lambda: None)
    exceptions.AirflowFailException = fails
    for name, module in (("airflow", ModuleType("airflow")), ("airflow.sdk", sdk), (exceptions.__name__, exceptions)):
        monkeypatch.setitem(sys.modules, name, module)
    source = (EXAMPLES / "airflow" / "worldcurate_nightly.py").read_text(encoding="utf-8")
    exec(compile(source, "dag", "exec"), {"__name__": "dag"})
    returned = -(code - 128) if code > 128 else code
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=returned))
    try:
        tasks[0]("2024-05-31")
    except fails:
        return "fails"
    except RuntimeError:
        return "again"
    return "done"


def kubernetes(name: str) -> list[dict]:
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["cronjob", "scheduled-spark-application"])
def test_kubernetes_starts_no_night_while_the_last_one_runs(name):
    [resource] = kubernetes(name)
    assert resource["spec"]["concurrencyPolicy"] == "Forbid"
    assert KEYS[resource["apiVersion"]] in resource["spec"]
    text = (EXAMPLES / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "[--config, /config/night.yaml, --catch_up, --log_format, json]" in text
    assert 'name: PYTHONHASHSEED, value: "0"' in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path):
    here = SERVICE.replace("/opt/worldcurate/bin/python", sys.executable).replace("User=worldcurate\n", "")
    (tmp_path / "worldcurate-nightly.service").write_text(here)
    shutil.copy(EXAMPLES / "systemd" / "worldcurate-nightly.timer", tmp_path)
    units = [str(path) for path in sorted(tmp_path.glob("worldcurate-nightly.*"))]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "worldcurate" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_commands_of_the_schedulers_are_the_documented_ones():
    assert shlex.split(exec_start())[1:3] == ["-m", "jobs.nightly"]
    assert "flock -n -E 75 " in cron_line()
