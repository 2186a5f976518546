"""The doctor names what is missing with the remedy, ends with the code of the first failure, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from curation.io.storage import Storage
from jobs import doctor
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.doctor import executors, lake, machine
from jobs.tasks.doctor.findings import GIB, run_check
from support.in_process import files_below


def findings(config: Config, checks) -> dict:
    return {name: run_check(name, check) for name, check in checks(config)}


def of_lake(tmp_path: Path, storage: type[Storage] = Storage) -> dict:
    config = Config(lake=str(tmp_path / "lake"))
    Context(config.model_copy(update={"create": True}), "test").lake  # noqa: B018 - creates it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "open_storage", lambda _: storage())
        return findings(config, lake.lake_checks)


@pytest.mark.spark
def test_a_ready_machine_passes_every_check_and_the_lake_stays_as_it_was(night_here, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # of `night_here`: with Spark
    root = night_here.config.lake
    before = list(files_below(root))
    assert doctor.main(["--lake", root, "--json", "--quiet"]) == 0
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert {each["state"] for each in found.values()} <= {"ok", "warning"}, found
    assert {"java", "clock", "storage: conditional write", "language-ID model", "segmenters"} < found.keys()
    assert found["executors"]["state"] == "ok"
    assert found["executors"]["found"].startswith("1 hosts (")
    assert list(files_below(root)) == before


def test_without_a_lake_only_the_machine_is_checked(capsys):
    assert doctor.main(["--quick", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "java" in out
    assert "storage" not in out
    assert out.splitlines()[-1].endswith("--quick")


def test_what_is_missing_is_named_with_the_remedy_and_gives_the_exit_code(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert doctor.main(["--lake", str(tmp_path / "laek"), "--match.lid_model", str(tmp_path / "m.bin")]) == 2
    out, err = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in out.splitlines() if line.startswith("failed")]
    assert [line[1] for line in lines] == ["java", "language-ID", "lake"]
    assert "install openjdk-17-jre-headless (or newer), or set JAVA_HOME" in out
    assert "→ correct the path, or create a lake with jobs.build_metadata or --create" in out
    assert "skipped  executors" in out
    [line] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: doctor: 3 checks failed, java: ")
    assert not (tmp_path / "laek").exists()


def test_a_storage_that_does_what_jobs_need_passes(tmp_path):
    assert {name: each.state for name, each in of_lake(tmp_path).items()} == {
        "lake": "ok", "storage: write, read and list": "ok", "storage: conditional write": "ok", "clock": "ok"
    }  # fmt: skip


class Overwriting(Storage):
    def put_if_absent(self, path, data):
        self.write_bytes(path, data)
        return True


class Forgetting(Storage):
    def list_files(self, prefix):
        return iter(())


class ReadOnly(Storage):
    def write_bytes(self, path, data):
        super().write_bytes("/proc/worldcurate/x", data)


class Late(Storage):
    behind = 3600

    def write_bytes(self, path, data):
        super().write_bytes(path, data)
        os.utime(path, (0, Path(path).stat().st_mtime - self.behind))


class Early(Late):
    behind = -3600


@pytest.mark.parametrize(
    ("storage", "check", "found", "remedy", "code"),
    [
        (Overwriting, "storage: conditional write", "two jobs could both publish", "If-None-Match", 2),
        (Forgetting, "storage: write, read and list", "is not listed", "consistent listings", 4),
        (ReadOnly, "storage: write, read and list", "cannot write", "", 2),
        (Late, "clock", "more than 60 s behind that of this machine", "synchronize", 2),
        (Early, "clock", "more than 60 s ahead of that of this machine", "synchronize", 2),
    ],
)
def test_a_storage_that_does_not_fails_the_check_of_what_it_lacks(tmp_path, storage, check, found, remedy, code):
    finding = of_lake(tmp_path, storage)[check]
    assert finding.state == "failed"
    assert found in f"{finding.found}: {finding.remedy}"
    assert remedy in finding.remedy
    assert finding.exit_code == code
    assert not [path for path in (tmp_path / "lake").rglob("*doctor*/*") if path.is_file()]


def test_s3_passes_the_same_checks(s3):
    config = Config(lake="s3://lake/doctor", create=True)
    Context(config, "test").lake  # noqa: B018 - creates it
    assert {each.state for each in findings(config, lake.lake_checks).values()} == {"ok"}
    assert not list(config.open_storage().list_files("s3://lake/doctor/_staging"))


def test_a_folder_that_cannot_be_written_or_is_full_is_named_with_its_variable(tmp_path, monkeypatch):
    finding = machine.check_folder("cache folder", Path("/proc/worldcurate"), creates=True)
    assert (finding.state, finding.exit_code) == ("failed", 2)
    assert finding.remedy == "set WORLDCURATE_CACHE to another folder"
    for free, state, code in ((GIB // 2, "failed", 5), (2 * GIB, "warning", 0), (20 * GIB, "ok", 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        finding = machine.check_folder("temporary files", tmp_path)
        assert (finding.state, finding.exit_code) == (state, code)
        assert ("TMPDIR" in finding.remedy) == (state != "ok")
    assert not list(tmp_path.iterdir())


def test_memory_is_the_least_of_machine_and_container_and_is_compared_with_the_cores(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4194304 kB\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 2 * GIB
    monkeypatch.setattr(machine, "available_memory", lambda: 4 * GIB)
    states = {
        master: findings(Config(spark={"master": master}), machine.machine_checks)["memory"].state
        for master in ("local[1]", "local[4,4]", "local[40]", "spark://h:7077")
    }
    assert states == {"local[1]": "ok", "local[4,4]": "ok", "local[40]": "warning", "spark://h:7077": "skipped"}


def test_segmenters_that_are_missing_are_a_warning_because_only_metadata_needs_them(monkeypatch):
    monkeypatch.setattr("metadata.ngrams.segmenters.import_module", lambda _: (_ for _ in ()).throw(ImportError))
    found = findings(Config(metadata={"languages": ["th", "de"]}), machine.machine_checks)["segmenters"]
    assert (found.state, found.remedy) == ("warning", "pip install 'worldcurate[segment]'")
    assert findings(Config(metadata={"languages": ["de"]}), machine.machine_checks)["segmenters"].state == "ok"


def test_an_executor_with_another_version_or_without_a_file_is_named(night_here, monkeypatch):
    assert executors.check_executors(night_here).state == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(executors, "lid_model", lambda _: Path("/nowhere/lid.bin"))
        finding = executors.check_executors(night_here)
    assert "no language-ID model at /nowhere/lid.bin" in finding.found
    assert finding.remedy == "put it there on every machine"
    calls = iter(range(99))
    monkeypatch.setattr(executors, "versions", lambda: {"pyarrow": "26" if next(calls) == 2 else "27"})
    finding = executors.check_executors(night_here)
    assert "has pyarrow 2" in finding.found
    assert "PYSPARK_PYTHON" in finding.remedy
