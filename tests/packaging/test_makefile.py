"""`make help` lists every target, and each target is defined once."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^\.PHONY: (.+)$", TEXT, re.MULTILINE)
# Without the options that a `make test` around this test passes on to every make that it starts.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}


def make(*arguments):
    return subprocess.run(["make", *arguments], cwd=ROOT, check=True, capture_output=True, text=True, env=ENVIRONMENT)


def test_help_lists_every_target():
    shown = make("help").stdout
    assert len(TARGETS) > 10
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_every_target_is_defined_once():
    defined = re.findall(r"^([\w-]+):(?!=)", TEXT, re.MULTILINE)
    assert sorted(defined) == sorted(set(defined)) == sorted(TARGETS)


def test_make_warns_of_nothing():
    assert make("--dry-run", *TARGETS).stderr == ""
