"""How a command logs: as text or as JSON lines, and whether it is quiet; the options that every command has."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from curation import __version__
from curation.cli.interruption import is_noise
from curation.errors import UsageError
from curation.redaction import redact, redact_logs

CHATTY_LIBRARIES = ("py4j", "botocore", "boto3", "urllib3", "httpx", "wikipediaapi")
FORMATS = ("text", "json")
VARIABLES = ("LOG_FORMAT", "QUIET")  # of the environment, after WORLDCURATE_


@dataclass(frozen=True)
class LogOptions:
    """How a command logs.

    Attributes:
        quiet: whether only warnings and errors are logged.
        format: `text`, or `json` for one JSON object per line.
    """

    quiet: bool = False
    format: str = "text"

    @classmethod
    def read(cls, argv: Sequence[str]) -> LogOptions:
        """Read the options from a command line, before its own parser reads it, and from the environment."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.add_argument("--quiet", action="store_true", default=_is_true(os.environ.get("WORLDCURATE_QUIET", "")))
        parser.add_argument("--log_format", default=os.environ.get("WORLDCURATE_LOG_FORMAT") or "text")
        try:
            given, _ = parser.parse_known_args(argv)
        except (argparse.ArgumentError, SystemExit):  # the parser of the command reports it
            return cls()
        return cls(given.quiet, given.log_format)

    def check(self) -> None:
        """Raise UsageError for an unknown format."""
        if self.format not in FORMATS:
            raise UsageError(f"--log_format: {self.format!r} is unknown: use {' or '.join(FORMATS)}")


def add_standard_options(parser: argparse.ArgumentParser, *, version: bool = True) -> set[str]:
    """Add the options that every command has, and return their names; `version` is left out where it has a meaning."""
    parser.add_argument("--quiet", action="store_true", help="log only warnings and errors, and show no progress")
    parser.add_argument(
        "--log_format", metavar="{text,json}", help="text, or json for one JSON object per line (default: text)"
    )
    if version:
        parser.add_argument(
            "--version", action="version", version=f"worldcurate {__version__}", help="print the version and exit"
        )
    return {"quiet", "log_format", "version"} if version else {"quiet", "log_format"}


def set_up_logging(options: LogOptions) -> None:
    """Log to stderr as the options say, without secrets."""
    logging.basicConfig(
        level=logging.WARNING if options.quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    if options.format == "json":
        logging.captureWarnings(True)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())
    redact_logs()
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not is_noise(record))
    logging.getLogger("__main__").name = command_name()  # of the module that runs as a script
    for library in CHATTY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


def command_name() -> str:
    """Return the name of the module that this process runs, such as `jobs.takedown`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    script = Path(sys.argv[0])
    return spec.name if spec else f"{script.parent.name}.{script.stem}"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, without secrets."""

    redacts: ClassVar[bool] = True

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        error = self.formatException(record.exc_info) if record.exc_info else None
        return json_line(record.levelname, record.name, record.getMessage(), error, created=record.created)


def json_line(level: str, name: str, message: str, error: str | None = None, *, created: float | None = None) -> str:
    """Return a log line as JSON in ASCII; `error` is a traceback."""
    moment = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
    fields = {"time": moment.isoformat(), "level": level, "logger": name, "message": redact(message)}
    return json.dumps({**fields, **({"traceback": redact(error)} if error else {})})


def report_error(options: LogOptions, message: str, *, bug: BaseException | None = None) -> None:
    """Write the line with which a failed command ends, after the traceback of a bug."""
    trace = "".join(traceback.format_exception(bug)) if bug else None
    if options.format == "json":
        print(json_line("ERROR", "worldcurate", message, trace), file=sys.stderr)  # noqa: T201
        return
    if trace:
        print(redact(trace), end="", file=sys.stderr)  # noqa: T201
    print(f"error: {redact(message)}", file=sys.stderr)  # noqa: T201 - the line that the user reads


def shows_progress_bar() -> bool:
    """Return whether progress is shown as a bar: on a terminal, unless the log is quiet or JSON."""
    return sys.stderr.isatty() and logs_text()


def logs_text() -> bool:
    """Return whether the log is text for a reader: neither quiet nor JSON."""
    handlers = logging.getLogger().handlers
    is_json = any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)
    return not is_json and logging.getLogger().isEnabledFor(logging.INFO)


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "on")
