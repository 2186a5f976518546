"""Run commands of the project as a user would, each with its log in a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_module(log: Path, module: str, *arguments: str, **environment: str) -> str:
    """Run a Python module with its log in a file, and return its standard output.

    A module that fails ends this process with the end of the log. `environment` overrides variables of this process.
    """
    command = [sys.executable, "-m", module, *arguments]
    with log.open("w") as log_file:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log_file, text=True, check=False, env={**os.environ, **environment}
        )
    if done.returncode:
        sys.stderr.write(log.read_text()[-3000:])
        sys.exit(f"error: {' '.join(command)} exited with {done.returncode}: see {log}")
    return done.stdout
