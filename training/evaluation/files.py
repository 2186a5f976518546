"""Read the text files of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curation.errors import InputError


def read_text(path: Path) -> str:
    """Return the text of a file. Raises InputError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. Raises InputError if it cannot be read or is not JSON."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def text_list(value: Any) -> list[str]:
    """Return a value that is a list of texts. Raises TypeError if it is not; a text is not a list of its letters."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("not a list of texts")
    return value
