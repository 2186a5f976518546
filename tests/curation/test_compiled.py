"""Machine code is kept for exactly the sources it was made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import curation

PACKAGE = Path(curation.__file__).parent
SCRIPT = """
from curation.compiled import compiled, inlined
import helper

@compiled
def outer(value):
    return helper.inner(value)

print(outer(1))
"""


def run(folder, cache):
    """Run a script whose compiled function calls that of another file; return what it prints."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, str(folder / "script.py")], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_change_in_a_called_function_of_another_file_is_noticed(tmp_path):
    package = tmp_path / "curation"
    package.mkdir()
    for name in ("__init__", "compiled", "errors", "models"):
        shutil.copy(PACKAGE / f"{name}.py", package)
    (package / "helper.py").write_text(
        "from curation.compiled import inlined\n\n@inlined\ndef inner(v):\n    return v\n"
    )
    (tmp_path / "script.py").write_text(SCRIPT.replace("import helper", "from curation import helper"))
    cache = tmp_path / "cache"
    assert run(tmp_path, cache) == "1"
    assert run(tmp_path, cache) == "1"
    [kept] = cache.iterdir()
    assert list(kept.rglob("*.nbc"))
    (package / "helper.py").write_text(
        "from curation.compiled import inlined\n\n@inlined\ndef inner(v):\n    return 2 * v\n"
    )
    assert run(tmp_path, cache) == "2"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    script = "from curation.matching import Matcher; print(Matcher.build.__name__)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "build\n"
