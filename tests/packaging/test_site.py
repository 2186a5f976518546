"""The documentation site builds without a broken link and contains the pages, the reference and the linked files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [path.stem for path in (ROOT / "docs").glob("*.md") if path.stem not in ("index", "README")]
    assert {"architecture", "benchmarks", "operations"} <= set(pages)
    for page in ["", *pages, "reference", "reference/jobs", "reference/curation/matching", "repository"]:
        assert (tmp_path / page / "index.html").exists(), page
    matching = (tmp_path / "reference" / "curation" / "matching" / "index.html").read_text(encoding="utf-8")
    assert 'id="curation.matching.matcher.Matcher"' in matching
