"""Check that this machine, the storage and the executors have what jobs need, and say what to do where they have not.

    python -m jobs.doctor --config c.yaml
    python -m jobs.doctor --config c.yaml --quick     # without starting Spark
    python -m jobs.doctor --config c.yaml --json

Without a lake in the config only the machine is checked. Nothing is changed: the files that the checks write are
deleted. The exit code is 0, or that with which jobs would end because of the first check that failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import msgspec
from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.run import run_command
from curation.errors import WorldcurateError
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.doctor.executors import check_executors
from jobs.tasks.doctor.findings import Finding, run_check
from jobs.tasks.doctor.lake import lake_checks
from jobs.tasks.doctor.machine import machine_checks


class DoctorOptions(CommandOptions):
    """What is checked, and how it is printed."""

    quick: bool = Field(False, description="do not start Spark, and so do not look at the executors")
    json_: bool = Field(False, alias="json", description="print JSON instead of a table")


COMMAND = Command("python -m jobs.doctor", __doc__ or "", DoctorOptions, Config)


def examine(context: Context, *, quick: bool) -> list[Finding]:
    """Make all checks in their order; the executors are looked at last, and not if Java is missing."""
    checks = [*machine_checks(context.config), *lake_checks(context.config)]
    findings = [run_check(name, check) for name, check in checks]
    if quick:
        return [*findings, Finding("executors", "skipped", "--quick")]
    if any(finding.check == "java" and finding.state == "failed" for finding in findings):
        return [*findings, Finding("executors", "skipped", "Spark needs Java")]
    return [*findings, run_check("executors", lambda: check_executors(context))]


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line per finding, with the remedy on one of its own."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        yield f"{finding.state:<7}  {finding.check:<{width}}  {finding.found}"
        if finding.remedy:
            yield f"{'':<7}  {'':<{width}}  → {finding.remedy}"


def doctor(argv: Sequence[str]) -> None:
    """Write the findings to stdout. Raises WorldcurateError with the exit code of the first failed check, if any."""
    options, config = COMMAND.parse(argv)
    findings = examine(Context(config, "doctor"), quick=options.quick)
    if options.json_:
        sys.stdout.write(
            json.dumps([msgspec.to_builtins(each) for each in findings], ensure_ascii=False, indent=1) + "\n"
        )
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(findings))
    if problems := [finding for finding in findings if finding.state == "failed"]:
        first = problems[0]
        error = WorldcurateError(
            f"doctor: {count(len(problems), 'check')} failed, {first.check}: {first.found}: {first.remedy}"
        )
        error.exit_code = first.exit_code
        raise error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(doctor, argv)


if __name__ == "__main__":
    sys.exit(main())
