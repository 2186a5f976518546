"""Fixtures every test can ask for: the real data beside the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `$FIXTURES`, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("FIXTURES") or ROOT.parent / "shared" / "data")
    if not (folder / "unpack.sh").exists():
        pytest.skip(f"real data not found: neither $FIXTURES nor {folder} holds unpack.sh")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir(shared_data: Path) -> Path:
    """The real data's archives, unpacked once."""
    done = subprocess.run([str(shared_data / "unpack.sh")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())
