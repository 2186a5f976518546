"""Make requests to S3 again after failures that pass, for the lake's small objects, listings and deletions.

Throttling (503 SlowDown, 429), server errors, resets and time-outs are retried with growing pauses, up to a total
deadline. botocore makes one attempt: its own retries have a budget per process, which an outage of a minute uses up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from curation.errors import InputError
from curation.io.retry import TRANSIENT_STATUSES, GaveUpError, RetryPolicy, TransientError, retry

REQUEST_TIMEOUT_S: Final = 30.0  # without a byte
CONNECT_TIMEOUT_S: Final = 10.0
DEADLINE_S: Final = 180.0  # for a request and all of its repetitions
ATTEMPTS: Final = 10
POLICY: Final = RetryPolicy(retries=ATTEMPTS - 1, backoff_s=0.5, timeout_s=REQUEST_TIMEOUT_S, max_wait_s=30.0)
THROTTLED: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}
)

Result = TypeVar("Result")


def request(path: str, send: Callable[[], Result], action: str = "read") -> Result:
    """Return the answer to a request about an object, which is sent again after failures that pass.

    Raises InputError (exit 3) if they do not pass within the deadline; other errors of botocore as they are.
    """
    return attempts(path, lambda _: send(), action)


def attempts(path: str, send: Callable[[bool], Result], action: str = "read") -> Result:
    """Return an answer as `request` does; `send` is told whether an earlier attempt may have succeeded unheard."""
    uncertain = False

    def attempt() -> Result:
        nonlocal uncertain
        try:
            return send(uncertain)
        except Exception as error:
            if not (reason := passing_failure(error)):
                raise
            uncertain = True
            raise TransientError(reason) from error

    return patiently(path, attempt, action)


def patiently(path: str, attempt: Callable[[], Result], action: str = "read") -> Result:
    """Return the result of `attempt`, calling it again after each TransientError. Raises InputError in the end."""
    try:
        return retry(path, POLICY, attempt, deadline=time.monotonic() + DEADLINE_S)
    except GaveUpError as error:
        raise InputError(f"cannot {action} {path}: {error.detail}") from error


def status_of(error: Exception) -> tuple[int, str]:
    """Return the status and the code of an answer that botocore raised as an error; (0, "") for other errors."""
    response: dict[str, Any] = getattr(error, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), response.get("Error", {}).get("Code", "")


def passing_failure(error: Exception) -> str | None:
    """Return what failed if another attempt may succeed; None for errors that it would meet again."""
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as NoConnectionError
    from urllib3.exceptions import HTTPError

    if isinstance(error, ClientError):
        status, code = status_of(error)
        return f"the server answers {status} {code}" if status in TRANSIENT_STATUSES or code in THROTTLED else None
    broken = (NoConnectionError, HTTPClientError, IncompleteReadError, HTTPError, ConnectionError, TimeoutError)
    if isinstance(error, broken):
        return str(error) or type(error).__name__
    return None
