"""The ledger: what became of each input file, and when too many failed."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation.errors import InputError
from curation.io.storage import FileStat
from jobs.runtime.run_tasks import Result
from jobs.runtime.stage import Stage

log = logging.getLogger(__name__)

ERRORS_SHOWN = 3


def ledger_row(
    file: FileStat, status: str, *, read: int, kept: int, drops: Mapping[str, int], error: str | None, started: float
) -> dict[str, Any]:
    """Return the ledger's row of one input file; `started` is the monotonic time its reading began."""
    return {
        "path": file.path,
        "etag": file.etag,
        "size": file.size,
        "read": read,
        "kept": kept,
        "drops": json.dumps(dict(sorted(drops.items()))),
        "seconds": round(time.monotonic() - started, 3),
        "status": status,
        "error": error,
    }


def failed_row(file: FileStat, error: str, started: float) -> dict[str, Any]:
    """Return the ledger's row of an input file that gave nothing."""
    return ledger_row(file, "failed", read=0, kept=0, drops={}, error=error, started=started)


def ledger_result(
    file: FileStat, error: str | None, read: int, kept: int, drops: Mapping[str, int], started: float
) -> Result:
    """Return the ledger's row of an input file as a unit's result: failed, partial or ok by what was read of it."""
    if error and not read:
        return Result("ledger", stats=failed_row(file, error, started))
    status = "partial" if error else "ok"
    row = ledger_row(file, status, read=read, kept=kept, drops=drops, error=error, started=started)
    return Result("ledger", stats=row)


def whole_files(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a file from rows of files and pieces of files: what they read added up, the first error kept."""
    files: dict[str, dict[str, Any]] = {}
    for row in rows:
        whole = files.setdefault(row["path"], row)
        if whole is row:
            continue
        drops = Counter(json.loads(whole["drops"])) + Counter(json.loads(row["drops"]))
        both_ok = whole["status"] == row["status"] == "ok"
        whole = {**whole, **{key: whole[key] + row[key] for key in ("read", "kept", "seconds")}}
        whole["drops"] = json.dumps(dict(sorted(drops.items())))
        whole["status"] = "ok" if both_ok else "partial" if whole["read"] else "failed"
        whole["error"] = whole["error"] or row["error"]
        files[row["path"]] = whole
    return list(files.values())


def check_failed(stage: Stage, ledger: Sequence[dict[str, Any]], limit: float) -> list[dict[str, Any]]:
    """Return the inputs that failed, after naming them.

    Raises InputError when their share is over the limit; the ledger then keeps what was found, and nothing else is
    published.
    """
    failed = [row for row in ledger if row["status"] != "ok"]
    for row in failed:
        log.warning("%s: %s: %s: %s", stage.name, row["status"], row["path"], row["error"])
    if len(failed) > limit * len(ledger):
        stage.append_ledger(ledger)
        stage.clean()
        named = "; ".join(f"{row['path']} ({row['error']})" for row in failed[:ERRORS_SHOWN])
        more = f" and {len(failed) - ERRORS_SHOWN} more" if len(failed) > ERRORS_SHOWN else ""
        raise InputError(
            f"{stage.name}: {len(failed)} of {len(ledger)} input files failed, more than max_failed_inputs {limit:g} "
            f"allows: {named}{more}; nothing was published"
        )
    return failed
