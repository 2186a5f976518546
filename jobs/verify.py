"""Compares a lake with what was published: names, sizes, checksums and counters, and names the job to run again.

    python -m jobs.verify --config c.yaml               every problem, one line each; exit code 4 if there are any
    python -m jobs.verify --config c.yaml --decode 0.01         and decodes one picture in a hundred of the shards
    python -m jobs.verify --config c.yaml --repair      marks damaged partitions, so that the next run rebuilds them

Every published file is read and compared with the SHA-256 in the commit that published it, or with its own checksums.
The rows of each partition are compared with the counters of the run that wrote it and of the runs that read it. Files
that belong to no published version are counted; `jobs.gc` removes them. `--repair` also restores damaged batch and
recipe files from the runs, and removes damaged matchers, which the next build compiles again. A picture that does not
decode cannot be repaired; it can be taken down.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.run import run_command
from curation.errors import DamagedLakeError
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.verify.pictures import CheckedPictures, check_pictures
from jobs.tasks.verify.problems import Problem
from jobs.tasks.verify.records import check_records
from jobs.tasks.verify.repair import only_jobs_are_left, repair
from jobs.tasks.verify.tables import Inventory, check_tables


class VerifyOptions(CommandOptions):
    """How much to check, and whether to repair."""

    quick: bool = Field(False, description="compare names, sizes and counters only, without reading the files")
    decode: float = Field(0.0, ge=0, le=1, description="share of the pictures in shards to decode; 1 decodes all")
    repair: bool = Field(False, description="mark damaged partitions incomplete and restore small files")
    json_: bool = Field(False, alias="json", description="print JSON instead of lines")


COMMAND = Command("python -m jobs.verify", __doc__ or "", VerifyOptions, Config, required=("lake",))


def verify(argv: Sequence[str]) -> None:
    """Check the lake, write the problems to stdout and repair it if asked to.

    Raises DamagedLakeError if problems remain.
    """
    options, config = COMMAND.parse(argv)
    context = Context(config, "verify")
    problems = check_records(context, read=not options.quick)
    inventory = check_tables(context, read=not options.quick)
    problems += inventory.problems
    pictures, undecodable = _check_pictures(context, inventory, options.decode)
    problems += undecodable
    done, left = repair(context, problems) if options.repair else ([], problems)
    report = _as_json if options.json_ else _as_text
    sys.stdout.write(report(inventory, pictures, problems, done) + "\n")
    if not left:
        return
    counted = count(len(left), "problem")
    if options.repair:
        raise DamagedLakeError(f"{config.lake}: {counted} left, such as {left[0].line()}")
    if len(left) == len(undecodable):
        damaged = count(len(left), "picture")
        raise DamagedLakeError(f"{config.lake}: not decodable: {damaged}: take them down with jobs.takedown")
    others = [problem for problem in left if not problem.remedy]
    if only_jobs_are_left(context.lake, others):
        raise DamagedLakeError(f"{config.lake}: {counted}: run the jobs that they name, such as {others[0].job}")
    raise DamagedLakeError(f"{config.lake}: {counted}: run `{COMMAND.prog} {shlex.join([*argv, '--repair'])}`")


def _check_pictures(context: Context, inventory: Inventory, share: float) -> tuple[CheckedPictures, list[Problem]]:
    """Decode a share of the pictures in those shards that have no other problem; return what was done, and problems."""
    damaged = {problem.where for problem in inventory.problems}
    tables = [inventory.snapshots[name] for name in ("shards", "compacted") if share and name in inventory.snapshots]
    files = [file for table in tables for file in table.files]
    return check_pictures(context, [file for file in files if file.path not in damaged], share)


def _as_text(inventory: Inventory, pictures: CheckedPictures, problems: Sequence[Problem], done: Sequence[str]) -> str:
    orphans, orphan_bytes = len(inventory.orphans), sum(inventory.orphans.values())
    summary = (
        f"published: {count(inventory.files, 'file')} ({inventory.size:,} bytes), {count(len(problems), 'problem')}; "
        f"of no published version: {count(orphans, 'file')} ({orphan_bytes:,} bytes)"
        + (f"; decoded: {count(pictures.decoded, 'picture')}" if pictures.decoded else "")
    )
    if pictures.unread:
        summary += f"; not checked: {count(pictures.unread, 'HEIC picture')}: install worldcurate[heif]"
    return "\n".join([*(problem.line() for problem in problems), *(f"repair: {line}" for line in done), summary])


def _as_json(inventory: Inventory, pictures: CheckedPictures, problems: Sequence[Problem], done: Sequence[str]) -> str:
    report = {
        "problems": [asdict(problem) for problem in problems],
        "repairs": list(done),
        "files": inventory.files,
        "bytes": inventory.size,
        "orphans": inventory.orphans,
        "pictures_decoded": pictures.decoded,
        "pictures_not_checked": pictures.unread,
    }
    return json.dumps(report, ensure_ascii=False, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(verify, argv)


if __name__ == "__main__":
    sys.exit(main())
