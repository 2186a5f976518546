"""One process at a time holds a lease, and the lease of a killed process ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from curation.errors import InputError
from curation.io.lease import hold_lease
from curation.io.storage import Storage

ROOT = Path(__file__).resolve().parents[3]


def holders(folder: Path) -> list[dict]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


def leave(folder: Path, until: float) -> None:
    """Leave the file of a process that was killed."""
    folder.mkdir()
    record = {"holder": "process 7 of ann on h1", "since": time.time() - 300, "until": until}
    (folder / "00000004.json").write_text(json.dumps(record))


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path):
    leave(tmp_path / "l", time.time() + 600)
    message = r"^recipe x is in use by process 7 of ann on h1, for 5 min: wait .* its lease ends in 10 min$"
    with pytest.raises(InputError, match=message), hold_lease(Storage(), str(tmp_path / "l"), "recipe x"):
        pass
    assert holders(tmp_path / "l")[0]["holder"] == "process 7 of ann on h1"


def test_a_lease_that_expired_or_is_damaged_is_taken_over_and_released(tmp_path):
    leave(tmp_path / "l", time.time() - 1)
    with hold_lease(Storage(), str(tmp_path / "l"), "recipe x"):
        assert [path.name for path in (tmp_path / "l").iterdir()] == ["00000005.json"]
    (tmp_path / "l" / "00000005.json").write_bytes(b"{")
    with hold_lease(Storage(), str(tmp_path / "l"), "recipe x"):
        [record] = holders(tmp_path / "l")
        assert record["until"] > time.time()
    assert holders(tmp_path / "l")[0]["until"] == 0


@pytest.mark.parametrize("other_machine", [False, True])
def test_the_lease_of_a_process_that_was_killed_on_this_machine_is_taken_over_at_once(tmp_path, other_machine):
    folder = tmp_path / "l"
    script = (
        "import sys, time\nfrom curation.io.lease import hold_lease\nfrom curation.io.storage import Storage\n"
        "with hold_lease(Storage(), sys.argv[1], 'recipe x'):\n    print(flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        holder.stdout.readline()
        with pytest.raises(InputError, match="in use"), hold_lease(Storage(), str(folder), "recipe x"):
            pass
        holder.kill()
    if other_machine:
        [path] = folder.glob("*.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"namespace": "another"}))
    with pytest.raises(InputError, match="in use") if other_machine else nullcontext():  # noqa: SIM117
        with hold_lease(Storage(), str(folder), "recipe x"):
            pass


def test_a_lease_is_renewed_while_it_is_held(tmp_path):
    with hold_lease(Storage(), str(tmp_path / "l"), "recipe x", term_s=0.5):
        first = holders(tmp_path / "l")[0]["until"]
        while holders(tmp_path / "l")[0]["until"] == first:
            time.sleep(0.01)


@pytest.mark.parametrize("expired", [False, True])
def test_one_of_several_processes_gets_it(tmp_path, expired):
    if expired:
        leave(tmp_path / "l", time.time() - 1)
    start, over, got = threading.Barrier(6), threading.Event(), []

    def work(number: int) -> None:
        start.wait()
        try:
            with hold_lease(Storage(), str(tmp_path / "l"), "recipe x"):
                got.append(number)
                over.wait()
        except InputError:
            got.append(None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while len(got) < 6:
        time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join()
    assert sum(number is not None for number in got) == 1
