"""A night is repeated exactly after the exit codes that docs/operations.md allows to repeat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos import scheduler
from chaos.scheduler import AGAIN, NO_ROOM, FailedNightError, Scheduler

ROOT = Path(__file__).resolve().parents[2]
# Ends with the first code of a file, and removes it from there.
CODES = """
import os, signal, sys
path = sys.argv[1]
first, *rest = open(path).read().split()
open(path, "w").write(" ".join(rest))
os.kill(os.getpid(), signal.SIGKILL) if first == "137" else sys.exit(int(first))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PAUSE_S", 0.0)
    (tmp_path / "ends_with.py").write_text(CODES)
    rooms = list[int]()
    made = Scheduler(tmp_path / "log", {"PYTHONPATH": str(tmp_path)}, lambda: rooms.append(1))

    def end_with(*codes: int) -> int:
        (tmp_path / "codes").write_text(" ".join(map(str, codes)))
        return made.run("ends_with", str(tmp_path / "codes"))

    end_with.rooms, end_with.codes = rooms, made.codes
    return end_with


def test_a_night_is_repeated_until_it_succeeds(run):
    assert run(3, 137, 143, NO_ROOM, 130, 0) == 5
    assert run.codes == {3: 1, 137: 1, 143: 1, 5: 1, 130: 1, 0: 1}
    assert len(run.rooms) == 5


@pytest.mark.parametrize("code", [1, 2, 4])
def test_a_night_that_must_not_be_repeated_is_not(run, code):
    with pytest.raises(FailedNightError, match=f"ended with {code}"):
        run(code, 0)


def test_the_codes_that_are_repeated_are_those_of_the_manual():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    rows = re.findall(r"^\| (\d+) \|.*\| (yes|no|–|after[^|]*)\b[^|]*\|$", page, re.MULTILINE)
    assert {int(code) for code, retry in rows if retry == "yes"} == AGAIN
    assert {int(code) for code, retry in rows if retry.startswith("after making room")} == {NO_ROOM}


def test_a_night_that_fails_for_ever_is_given_up(run, monkeypatch):
    monkeypatch.setattr(scheduler, "ATTEMPTS", 3)
    with pytest.raises(FailedNightError, match="was repeated 3 times"):
        run(3, 3, 3, 3)
