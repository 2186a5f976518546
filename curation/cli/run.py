"""Run a command: set up logging and turn errors into exit codes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Sequence

from curation.errors import WorldcurateError
from curation.redaction import redact, redact_logs

CHATTY_LIBRARIES = ("py4j", "botocore", "boto3", "urllib3", "httpx", "wikipediaapi")


INTERRUPTED = 130  # as shells count: 128 + SIGINT


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with an error."""
    if isinstance(error, WorldcurateError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def run_command(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    The code is 0 if the command is done, that of its WorldcurateError, 130 if it was interrupted, and 1 for a bug.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    redact_logs()
    for library in CHATTY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        main(sys.argv[1:] if argv is None else argv)
    except WorldcurateError as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)  # noqa: T201 - the line that the user reads
        return exit_code_of(error)
    except KeyboardInterrupt as error:
        print("error: interrupted", file=sys.stderr)  # noqa: T201
        return exit_code_of(error)
    except Exception:
        print(redact(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        print("error: this is a bug in worldcurate; the traceback above shows where", file=sys.stderr)  # noqa: T201
        return 1
    return 0
