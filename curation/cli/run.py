"""Run a command: set up logging and turn errors into exit codes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Sequence

from curation.errors import WorldcurateError
from curation.redaction import redact, redact_logs

CHATTY_LIBRARIES = ("py4j", "botocore", "boto3", "urllib3", "httpx", "wikipediaapi")


def run_command(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 bug, otherwise the code of its WorldcurateError."""
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
        return error.exit_code
    except Exception:
        print(redact(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        print("error: this is a bug in worldcurate; the traceback above shows where", file=sys.stderr)  # noqa: T201
        return 1
    return 0
