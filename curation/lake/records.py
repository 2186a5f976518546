"""Small JSON files of the lake: batches, recipes and manifests. Each contains a checksum of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from curation.errors import DamagedLakeError
from curation.io.storage import Storage

CHECKSUM: Final = "sha256"
REPAIR: Final = "run `python -m jobs.verify --config c.yaml --repair`, or restore the file from a copy"


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return the bytes of a record: JSON with its checksum."""
    return json.dumps({**record, CHECKSUM: _checksum(record)}, sort_keys=True, indent=1).encode()


def read_record(
    storage: Storage, path: str, kinds: Mapping[str, type | tuple[type, ...]], remedy: str = REPAIR
) -> dict[str, Any]:
    """Return a record, without its checksum.

    Raises DamagedLakeError if the file is not a JSON object with values of these types, or if its checksum differs.
    Files of earlier versions have no checksum. Raises InputError if the file is missing or cannot be read.
    """
    data = storage.read_bytes(path)
    try:
        record = json.loads(data)
    except ValueError as error:
        problem = "empty" if not data.strip() else f"not JSON, or cut short ({error})"
        raise DamagedLakeError(f"{path}: damaged: {problem}: {remedy}") from error
    if not isinstance(record, dict):
        raise DamagedLakeError(f"{path}: damaged: it is not a JSON object: {remedy}")
    checksum = record.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(record):
        raise DamagedLakeError(f"{path}: damaged: its checksum does not match: {remedy}")
    for key, kind in kinds.items():
        if not isinstance(record.get(key), kind):
            raise DamagedLakeError(f"{path}: damaged: it has no valid {key!r}: {remedy}")
    return record


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
