"""The folder of files that any run can fetch or build again: models, machine code, copies of remote files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$WORLDCURATE_CACHE`, or `worldcurate` below `$XDG_CACHE_HOME` or `~/.cache`; it need not exist."""
    if folder := os.environ.get("WORLDCURATE_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldcurate"
