"""The launcher of the processes, torchrun: the variables that it sets, and the store that all ranks share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # exported only where torch has them

from curation.errors import UsageError, WorldcurateError

LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STORE_TIMEOUT = timedelta(seconds=20)
REPORT_TIMEOUT = timedelta(seconds=5)  # an error is rather reported twice than late


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise UsageError unless the variables describe a single process or one that torchrun started."""
    given = [name for name in LAUNCHER_VARIABLES if environment.get(name)]
    missing = [name for name in LAUNCHER_VARIABLES if not environment.get(name)]
    many = (environment.get("WORLD_SIZE") or "1") != "1"
    if ("RANK" in given or many) and missing:
        raise UsageError(
            f"environment: {', '.join(given)} without {', '.join(missing)}: start the processes with torchrun, or "
            f"unset these variables to train in a single process"
        )
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        if "RANK" in given and not environment[name].isdecimal():
            raise UsageError(f"environment: {name}={environment[name]!r} is not a number: start with torchrun")


def open_store(timeout: timedelta = STORE_TIMEOUT) -> PrefixStore:
    """Return a new connection to the store of the launcher, with keys of this start of the ranks only."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives a restart of the ranks
    return PrefixStore(f"worldcurate-{attempt}", TCPStore(address, port, is_master=False, timeout=timeout))


def is_first_to_report(problem: str) -> bool:
    """Return whether this rank is the first one that reports a problem; True if the store does not answer."""
    if not all(os.environ.get(name) for name in LAUNCHER_VARIABLES):
        return True
    try:
        count = open_store(REPORT_TIMEOUT).add(f"reports-{hashlib.sha256(problem.encode()).hexdigest()}", 1)
    except (RuntimeError, ValueError):
        return True
    return bool(count == 1)


@contextmanager
def reported_once() -> Iterator[None]:
    """Let one rank end with an error that several ranks found; the others end with its exit code, without a line."""
    try:
        yield
    except WorldcurateError as error:
        if not is_first_to_report(str(error)):
            raise SystemExit(error.exit_code) from error
        raise
