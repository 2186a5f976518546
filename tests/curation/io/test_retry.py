"""Failed attempts are repeated after growing pauses, until they succeed or a limit is reached."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from curation.errors import InputError
from curation.io.retry import GaveUpError, RetryPolicy, TransientError, retry, retry_after


def failing(*waits):
    """An attempt that fails once per wait, then returns `done`."""
    pending = list(waits)

    def attempt():
        if pending:
            raise TransientError("busy", pending.pop(0))
        return "done"

    return attempt


def test_pauses_double_with_a_jitter_and_are_as_long_as_the_server_asks():
    pauses, waits = [], iter([0.0, 0.0, 50.0, 0.0])

    def attempt():
        for wait_s in waits:
            raise TransientError("busy", wait_s)
        return "done"

    assert retry("x", RetryPolicy(retries=5, backoff_s=1.0), attempt, sleep=pauses.append) == "done"
    assert pauses[2] == 50.0
    assert all(0.5 * 2**n <= pauses[n] <= 2**n for n in (0, 1, 3))
    with pytest.raises(InputError, match="asks for a pause of 4000 s"):
        retry("x", RetryPolicy(), lambda: (_ for _ in ()).throw(TransientError("busy", 4000)), sleep=pauses.append)


def test_without_jitter_pauses_double_exactly_and_are_capped():
    pauses = []
    policy = RetryPolicy(retries=5, backoff_s=1.0, max_wait_s=5.0, jitter=False)
    assert retry("x", policy, failing(0, 0, 0, 0), sleep=pauses.append) == "done"
    assert pauses == [1.0, 2.0, 4.0, 5.0]


def test_the_error_of_the_last_attempt_is_named_and_kept():
    with pytest.raises(GaveUpError, match=r"^cannot read x: busy; gave up after 3 tries$") as caught:
        retry("x", RetryPolicy(retries=2), failing(0, 0, 7), sleep=lambda _: None)
    assert caught.value.last.wait_s == 7
    assert caught.value.detail == "busy; gave up after 3 tries"


def test_progress_restarts_the_count_of_failures():
    pauses, received = [], iter(range(9))
    policy = RetryPolicy(retries=1, backoff_s=1.0, jitter=False)
    assert retry("x", policy, failing(0, 0, 0), progress=lambda: next(received), sleep=pauses.append) == "done"
    assert pauses == [1.0, 1.0, 1.0]


def test_no_attempt_starts_after_the_deadline():
    pauses = []
    with pytest.raises(GaveUpError, match="no time left"):
        retry("x", RetryPolicy(), failing(9), deadline=time.monotonic() + 5, sleep=pauses.append)
    assert pauses == []


def test_other_errors_end_the_loop_at_once():
    with pytest.raises(ZeroDivisionError):
        retry("x", RetryPolicy(), lambda: 1 // 0, sleep=lambda _: pytest.fail("it waited"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("", 0), ("7", 7), ("-1", 0), ("soon", 0), ("9" * 5000, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_read_or_ignored(header, seconds):
    assert retry_after(header) == seconds


def test_retry_after_can_be_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < retry_after(date) <= 100
