"""The ledger: one row per input file with rows read, kept and dropped, and the limits of failed files."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from curation.errors import InputError
from curation.io.backend import FileStat
from curation.lake.schemas import SCHEMAS
from curation.redaction import redact
from jobs.runtime.config import Config

log = logging.getLogger(__name__)

ERRORS_SHOWN = 3


class LedgerRow(msgspec.Struct, frozen=True):
    """The row of one input file; `status` is ok, partial or failed."""

    path: str
    etag: str
    size: int
    read: int
    kept: int
    drops: dict[str, int]
    seconds: float
    status: str
    error: str | None


def ledger_row(
    file: FileStat,
    error: str | None,
    *,
    read: int,
    kept: int,
    drops: Mapping[str, int],
    started: float,
    status: str | None = None,
) -> LedgerRow:
    """Return the row of an input file.

    Unless given, the status follows from the error and the number of rows read: ok, partial, or failed without any
    row. `started` is the monotonic time at which reading started.
    """
    status = status or (("partial" if read else "failed") if error else "ok")
    seconds = round(time.monotonic() - started, 3)
    return LedgerRow(file.path, file.etag, file.size, read, kept, dict(drops), seconds, status, error)


def failed_row(file: FileStat, error: str, started: float) -> LedgerRow:
    """Return the row of an input file that could not be read."""
    return ledger_row(file, error, read=0, kept=0, drops={}, started=started)


def merge_rows(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Return one row per file from the rows of files and of parts of files: sums, and the first error."""
    files: dict[str, LedgerRow] = {}
    for row in rows:
        whole = files.get(row.path)
        files[row.path] = _add(whole, row) if whole else row
    return list(files.values())


def _add(whole: LedgerRow, part: LedgerRow) -> LedgerRow:
    read, both_ok = whole.read + part.read, whole.status == part.status == "ok"
    changes: dict[str, Any] = {
        "read": read,
        "kept": whole.kept + part.kept,
        "seconds": whole.seconds + part.seconds,
        "drops": dict(Counter(whole.drops) + Counter(part.drops)),
        "status": "ok" if both_ok else "partial" if read else "failed",
        "error": whole.error or part.error,
    }
    return msgspec.structs.replace(whole, **changes)


def failed_files(stage: str, ledger: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the rows of the input files that failed, wholly or in part, and log each."""
    failed = [row for row in ledger if row.status != "ok"]
    for row in failed:
        log.warning("%s: %s: %s: %s", stage, row.status, row.path, row.error)
    return failed


def too_many_failed(stage: str, failed: Sequence[LedgerRow], files: int, config: Config) -> InputError | None:
    """Return the error of a run of whose files a larger share or number failed than the config allows, or None."""
    if len(failed) > config.max_failed_inputs * files:
        limit = f"max_failed_inputs {config.max_failed_inputs:g}"
    elif config.max_failed_files is not None and len(failed) > config.max_failed_files:
        limit = f"max_failed_files {config.max_failed_files}"
    else:
        return None
    named = "; ".join(f"{row.path} ({row.error})" for row in failed[:ERRORS_SHOWN])
    more = f" and {len(failed) - ERRORS_SHOWN} more" if len(failed) > ERRORS_SHOWN else ""
    return InputError(
        f"{stage}: {len(failed)} of {files} input files failed, more than {limit} allows: {named}{more}; nothing was "
        f"published"
    )


def ledger_table(rows: Iterable[LedgerRow], run_id: str, batch: str) -> pa.Table:
    """Return the rows of a run as they are stored, without secrets in paths and errors."""
    stored = [{"run_id": run_id, "batch": batch, **_columns(row)} for row in rows]
    return pa.Table.from_pylist(stored, schema=SCHEMAS["ledger"])


def _columns(row: LedgerRow) -> dict[str, Any]:
    texts = {"path": redact(row.path), "error": row.error and redact(row.error)}
    return {**msgspec.structs.asdict(row), **texts, "drops": json.dumps(dict(sorted(row.drops.items())))}
