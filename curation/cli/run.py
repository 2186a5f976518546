"""Run a command: set up logging and turn errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from curation.cli.interruption import Terminated, interruption_of, raise_on_sigterm
from curation.cli.log import LogOptions, report_error, set_up_logging
from curation.errors import WorldcurateError
from curation.io.failures import storage_full

INTERRUPTED = 130  # as shells count: 128 + SIGINT
TERMINATED = 143  # 128 + SIGTERM


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with an error."""
    if stop := interruption_of(error):
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    if isinstance(error, WorldcurateError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    full = storage_full(error)
    return full.exit_code if full else 1


def run_command(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    The code is 0 if the command is done, that of its WorldcurateError, 130 or 143 if Ctrl-C or SIGTERM stopped it, and
    1 for a bug.
    """
    arguments = sys.argv[1:] if argv is None else argv
    options = LogOptions.read(arguments)
    set_up_logging(options)
    try:
        options.check()
        with raise_on_sigterm():
            main(arguments)
    except (KeyboardInterrupt, Exception) as error:
        return _report(error, options)
    return 0


def _report(error: BaseException, options: LogOptions) -> int:
    """Print the error that ends a command, and return its exit code."""
    if stop := interruption_of(error):
        report_error(options, "terminated" if isinstance(stop, Terminated) else "interrupted")
        return exit_code_of(stop)
    if isinstance(error, WorldcurateError):
        report_error(options, str(error))
        return exit_code_of(error)
    if full := storage_full(error):
        report_error(options, str(full))
        return full.exit_code
    report_error(options, "this is a bug in worldcurate; the traceback above shows where", bug=error)
    return 1
