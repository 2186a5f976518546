"""Two nights, disturbed without a cluster, leave what undisturbed ones leave; `make chaos` runs ten on a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_disturbed_nights_end_like_undisturbed_ones(tmp_path):
    command = [sys.executable, "-m", "chaos.run", "--out", str(tmp_path / "chaos"), "--nights", "2", "--local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified, equal" in done.stdout
