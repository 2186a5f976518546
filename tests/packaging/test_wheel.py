"""The built wheel contains every module and data file, and every command starts from it alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from jobs.worldcurate import find_commands

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("curation", "jobs", "metadata", "training")
# Runs `--help` of every command in one process; prints its exit code, output and the file it was loaded from.
HELP = """
import contextlib, importlib.util, io, json, runpy, sys

results = {}
for module in sys.argv[1:]:
    out, sys.argv = io.StringIO(), [module, "--help"]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = None
    except SystemExit as end:
        code = end.code
    results[module] = [code, out.getvalue(), importlib.util.find_spec(module).origin]
print(json.dumps(results))
"""


def tracked(*patterns: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [path for path in listed if (ROOT / path).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the tracked files, so that nothing left in the checkout can slip in."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked(*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / "source" / path)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=folder / "source", check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel; the libraries are those of the tests, without what is installed as editable."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    # A checkout on PYTHONPATH, as PySpark sets it, would count as an installed worldcurate.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)]
    subprocess.run(command, env=environment, check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_contains_every_module_and_data_file(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert not set(tracked(*PACKAGES)) - packed


def test_every_command_prints_its_help_from_the_installed_wheel(python, tmp_path):
    commands = ["jobs.worldcurate", *sorted(find_commands().values())]
    assert len(commands) > 15
    done = subprocess.run(
        [python, "-I", "-c", HELP, *commands], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    for command, (code, output, origin) in json.loads(done.stdout).items():
        assert (code, "usage:" in output.lower()) == (0, True), command
        assert Path(origin).is_relative_to(python.parents[1]), f"{command} is not the wheel's"


def test_the_installed_console_script_starts(python, tmp_path):
    done = subprocess.run(
        [python.with_name("worldcurate"), "gc"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "key `lake` is missing" in done.stderr
