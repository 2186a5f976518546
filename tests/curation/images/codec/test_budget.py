from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from curation.images.codec.budget import BudgetedProcess, CpuTimeError, DeadlineError, KilledError


def behave(request: bytes) -> bytes:
    """What the child does in these tests."""
    action, _, rest = request.partition(b" ")
    if action == b"spin":
        end = time.process_time() + float(rest)
        while time.process_time() < end:
            pass
    if action == b"allocate":
        try:
            return str(len(bytearray(int(rest)))).encode()
        except MemoryError:
            return b"out of memory"
    if action == b"die":
        os.kill(os.getpid(), int(rest))
    if action == b"sleep":
        time.sleep(float(rest))
    if action == b"print":
        print("noise")  # noqa: T201 - what a library might do
    if action == b"variable":
        return os.environ.get(rest.decode(), "").encode()
    if action == b"pid":
        return str(os.getpid()).encode()
    return rest


@pytest.fixture
def process(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120
    with_budget = BudgetedProcess("test_budget:behave", cpu_s=0.5, memory=256 << 20)
    yield with_budget
    with_budget.close()


def test_calls_are_answered_by_one_child_other_than_this_process(process):
    pids = {process.call(b"pid") for _ in range(5)}
    assert len(pids) == 1
    assert pids != {str(os.getpid()).encode()}


@pytest.mark.parametrize("length", [0, 1, 65_537, 5_000_000])
def test_bytes_of_any_length_return_unchanged(process, length):
    data = os.urandom(length)
    assert process.call(b"echo " + data) == data


def test_a_call_beyond_its_cpu_time_is_killed_and_the_next_ones_are_answered(process):
    with pytest.raises(CpuTimeError):
        process.call(b"spin 60")
    assert process.call(b"echo a") == b"a"
    with pytest.raises(CpuTimeError):
        process.call(b"spin 60")
    assert process.call(b"echo b") == b"b"


def test_many_calls_that_each_meet_the_budget_may_exceed_it_together(process):
    assert [process.call(b"spin 0.2") for _ in range(5)] == [b"0.2"] * 5


def test_memory_beyond_the_budget_is_refused_and_the_child_lives_on(process):
    pid = process.call(b"pid")
    assert process.call(b"allocate %d" % (100 << 20)) == b"%d" % (100 << 20)
    assert process.call(b"allocate %d" % (300 << 20)) == b"out of memory"
    assert process.call(b"pid") == pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_costs_the_call_alone(process, number):
    with pytest.raises(KilledError) as caught:
        process.call(b"die %d" % number)
    assert not isinstance(caught.value, CpuTimeError)
    assert process.call(b"echo c") == b"c"


def test_a_child_that_hangs_without_using_cpu_time_is_killed(process):
    assert process.call(b"echo d") == b"d"
    process.wait_s = 0.5
    with pytest.raises(KilledError):
        process.call(b"die %d" % signal.SIGSTOP)
    process.wait_s = 60
    assert process.call(b"echo e") == b"e"


def test_a_call_that_is_not_finished_at_the_deadline_of_its_caller_is_killed(process):
    assert process.call(b"echo d", time.monotonic() + 600) == b"d"
    with pytest.raises(DeadlineError):
        process.call(b"sleep 600", time.monotonic() + 0.2)
    with pytest.raises(DeadlineError):
        process.call(b"sleep 600", time.monotonic() - 1)
    assert process.call(b"echo e", time.monotonic() + 600) == b"e"


def test_a_child_that_does_not_read_its_call_is_killed_at_the_deadline(process):
    assert process.call(b"echo d") == b"d"
    os.kill(process._child.pid, signal.SIGSTOP)
    rescue = threading.Timer(10, process._child.kill)  # of a call without a deadline
    rescue.start()
    with pytest.raises(DeadlineError):
        process.call(bytes(5_000_000), time.monotonic() + 0.2)
    rescue.cancel()
    assert process.call(b"echo e") == b"e"


def test_the_child_does_not_inherit_secrets(process, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert process.call(b"variable AWS_SECRET_ACCESS_KEY") == b""
    assert process.call(b"variable LANG") == b"C.UTF-8"


def test_a_crash_before_the_deadline_is_told_from_a_late_answer(process):
    with pytest.raises(KilledError) as caught:
        process.call(b"die %d" % signal.SIGKILL, time.monotonic() + 600)
    assert not isinstance(caught.value, DeadlineError)


def test_what_the_child_prints_is_no_answer(process):
    assert process.call(b"print f") == b"f"
    assert process.call(b"echo g") == b"g"


def test_threads_share_the_child_and_get_their_own_answers(process):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: process.call(b"echo %d" % i), range(200)))
    assert answers == [b"%d" % i for i in range(200)]


def test_a_forked_process_starts_its_own_child(process):
    pid = process.call(b"pid")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, process.call(b"pid"))
            process.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) not in {pid, b""}
    assert process.call(b"pid") == pid


def test_the_child_ends_with_its_parent(process):
    process.call(b"echo h")
    child = process._child
    threading.Timer(0, child.stdin.close).start()
    assert child.wait(timeout=20) == 0
    process._child = None
