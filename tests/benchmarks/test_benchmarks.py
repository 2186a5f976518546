"""Every benchmark runs at a tiny size, and its comparisons have floors that a slowdown breaks."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("bench_*.py"))
FLOORS = yaml.safe_load((ROOT / "benchmarks" / "floors.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def common():
    spec = importlib.util.spec_from_file_location("benchmarks_common", ROOT / "benchmarks" / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_runs_at_a_tiny_size(path, fixtures_dir, shared_data):
    environment = {**os.environ, "FIXTURES": str(shared_data), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, path, "--tiny"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("| --") > 0, "it prints a table"
    assert "Replacing spaces" not in done.stderr, "a library's remarks are counted"


def test_every_floor_belongs_to_a_benchmark_and_is_a_ratio():
    assert set(FLOORS) <= {path.stem for path in BENCHMARKS}
    for tables in FLOORS.values():
        for rows in tables.values():
            for floor in rows.values():
                assert floor.keys() - {"needs"} == {"min_ratio"}
                assert floor["min_ratio"] > 0


def test_a_row_below_its_floor_is_named(common):
    floors = {"speed": {"ours": {"min_ratio": 2.0}, "ours, 2 cores": {"min_ratio": 3.0}}}
    measured = {"speed": {"ours": 1.994, "ours, 2 cores": 3.0}}
    assert common.check("bench_x", floors, measured) == ["bench_x: speed: ours: ratio 1.99 is below its floor 2.0"]
    assert common.check("bench_x", floors, measured, compare=False) == []


def test_a_floor_without_a_row_and_a_row_without_a_floor_are_named(common):
    problems = common.check("bench_x", {"speed": {"old": {"min_ratio": 2.0}}}, {"speed": {"new": 5.0}}, compare=False)
    assert [problem.split(": ")[2:4] for problem in problems] == [
        ["old", "has a floor but was not measured"],
        ["new", "has no floor"],
    ]


def test_a_floor_that_needs_a_peer_is_compared_only_where_the_peer_is(common, monkeypatch):
    floors = {"speed": {"peer": {"min_ratio": 2.0, "needs": "THE_PEER"}}}
    monkeypatch.delenv("THE_PEER", raising=False)
    assert common.check("bench_x", floors, {}) == []
    assert common.check("bench_x", floors, {"speed": {"peer": 1.0}}) != []
    monkeypatch.setenv("THE_PEER", "/bin/python")
    assert "was not measured" in common.check("bench_x", floors, {})[0]


def test_the_server_of_pictures_ends_with_the_process_that_started_it():
    """That process is killed, and has no time to tell the server."""
    starts = (
        "import subprocess, sys\n"
        f"command = [sys.executable, {str(ROOT / 'benchmarks' / 'image_site.py')!r}, '0', '0']\n"
        "server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "server.stdout.readline()\n"
        "print(server.pid, flush=True)\n"
        "server.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    for _ in range(600):
        if not is_running(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the server is still running")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(("ratio", "code"), [(1.0, 1), (4.0, 0)])
def test_a_benchmark_below_its_floor_exits_with_1(tmp_path, ratio, code):
    (tmp_path / "common.py").write_bytes((ROOT / "benchmarks" / "common.py").read_bytes())
    (tmp_path / "floors.yaml").write_text("bench_x: {speed: {ours: {min_ratio: 2.0}}}\n")
    table = f"table('T', ['a'], [['b']], name='speed', ratios={{'ours': {ratio}}})"
    (tmp_path / "bench_x.py").write_text(f"from common import run, table\nrun(lambda: {table})\n")
    environment = {key: value for key, value in os.environ.items() if key != "BENCH_TINY"}
    done = subprocess.run(
        [sys.executable, tmp_path / "bench_x.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr.splitlines() == (["bench_x: speed: ours: ratio 1.00 is below its floor 2.0"] if code else [])


def test_a_benchmark_of_another_size_is_not_compared_with_the_floors(tmp_path):
    (tmp_path / "common.py").write_bytes((ROOT / "benchmarks" / "common.py").read_bytes())
    (tmp_path / "floors.yaml").write_text("bench_x: {speed: {ours: {min_ratio: 2.0}}}\n")
    table = "table('T', ['a'], [['b']], name='other', ratios={'new': 1.0})"
    (tmp_path / "bench_x.py").write_text(f"from common import run, table\nrun(lambda: {table})\n")
    done = subprocess.run([sys.executable, tmp_path / "bench_x.py", "10"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
