"""What a check of the doctor finds, and how a failed check is told from an error of the doctor itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from curation.errors import WorldcurateError

GIB = 1 << 30
SET_UP = 2  # exit code of a set-up that a retry cannot mend

State = Literal["ok", "warning", "failed", "skipped"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        check: its name.
        state: `warning` if jobs may still work, `skipped` if it could not be made.
        found: what it saw.
        remedy: what to do; empty unless the state is `warning` or `failed`.
        exit_code: the exit code with which jobs would end if it failed.
    """

    check: str
    state: State
    found: str
    remedy: str = ""
    exit_code: int = 0


Check = Callable[[], Finding]


def failed(check: str, found: str, remedy: str, exit_code: int = SET_UP) -> Finding:
    """Return the finding of a failed check."""
    return Finding(check, "failed", found, remedy, exit_code)


def run_check(name: str, check: Check) -> Finding:
    """Return what a check finds; an expected error is a failure, and its message has the remedy."""
    try:
        return check()
    except WorldcurateError as error:
        found, _, remedy = str(error).rpartition(": ")
        return failed(name, found or str(error), remedy, error.exit_code)
    except OSError as error:
        return failed(name, str(error), "look at the permissions and the disk", SET_UP)
