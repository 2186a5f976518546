"""Machine code is cached for exactly the sources that it was compiled from."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import curation
from curation.jit import compiler
from curation.matching.precompile import precompile

PACKAGE = Path(curation.__file__).parent
HELPER = """
from curation.jit.compiler import jit_inline
from curation.numbers import ADDED

@jit_inline
def inner(v):
    return v + ADDED
"""
SCRIPT = """
from curation.jit.compiler import jit, jit_inline
from curation import helper

@jit
def outer(value):
    return helper.inner(value)

print(outer(1))

import fcntl, os
from curation.jit.compiler import code_folder

lock = os.open(f"{code_folder()}.lock", os.O_RDONLY)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("held")
"""
# Matches, builds and identifies more than the jobs do; prints which functions were loaded and which compiled.
USE = """
import json, sys
import pyarrow as pa
from numba.core.dispatcher import Dispatcher
from curation.lid.identifier import LanguageIdentifier, labels_of
from curation.matching.matcher import Matcher
from curation.models import default_model_path

for rules in ("worldwide", "reference"):
    matcher = Matcher.build(["a", "b c", "ab", "C++", "犬", "カ"], rules)
    matcher.match_batch(pa.array(["a b c C++", None, "犬と猫", "é́ " * 300]))
LanguageIdentifier(default_model_path(), dict.fromkeys(labels_of(default_model_path()), "en")).identify(["a", "猫"])
found = {}
for module in [module for name, module in sys.modules.items() if name.startswith("curation.")]:
    found |= {str(each.py_func): each.stats for each in vars(module).values() if isinstance(each, Dispatcher)}
hits = sum(len(stats.cache_hits) for stats in found.values())
print(json.dumps([hits, [name for name, stats in found.items() if stats.cache_misses]]))
"""


def run(folder, cache, **environment):
    """Run a script that calls a compiled function of another file and holds its folder; return its result."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, str(folder / "script.py")], env=environment, capture_output=True, text=True, check=True
    )
    result, held = done.stdout.split()
    assert held == "held"
    return result


@pytest.fixture
def package(tmp_path):
    """Create a package like ours, whose compiled code uses a function of one file and a constant of a second."""
    folder = tmp_path / "curation"
    folder.mkdir()
    (folder / "jit").mkdir()
    (folder / "io").mkdir()
    for name in ("__init__", "errors", "io/__init__", "io/cache_dir", "jit/__init__", "jit/compiler"):
        shutil.copy(PACKAGE / f"{name}.py", folder / f"{name}.py")
    (folder / "numbers.py").write_text("ADDED = 10\n")
    (folder / "helper.py").write_text(HELPER)
    (folder / "other.py").write_text("")
    (tmp_path / "script.py").write_text(SCRIPT)
    return folder


def folders(cache):
    return {path for path in cache.iterdir() if path.is_dir()}


def test_only_changes_to_sources_of_compiled_code_cause_recompilation(package, tmp_path):
    cache = tmp_path / "cache"
    assert run(tmp_path, cache) == "11"
    [kept] = folders(cache)
    code = set(kept.rglob("*.nbc"))
    assert code
    os.utime(kept, (0, 0))
    (package / "other.py").write_text("ADDED = 5\n")
    assert run(tmp_path, cache) == "11"
    assert folders(cache) == {kept}
    assert set(kept.rglob("*.nbc")) == code
    assert kept.stat().st_mtime > time.time() - 600, "a use is noted"
    (package / "helper.py").write_text(HELPER.replace("return v", "return 2 * v"))
    assert run(tmp_path, cache) == "12"
    (package / "numbers.py").write_text("ADDED = 20\n")
    assert run(tmp_path, cache) == "22"
    assert len(folders(cache)) == 3


def test_precompiled_code_is_used_if_the_sources_are_the_same(package, tmp_path):
    ahead, cache = tmp_path / "ahead", tmp_path / "cache"
    assert run(tmp_path, ahead) == "11"
    [built] = folders(ahead)
    for path in built.rglob("*.nbc"):
        path.chmod(0o444)
    before = {path.relative_to(ahead): path.read_bytes() for path in ahead.rglob("*.nb?")}
    assert run(tmp_path, cache, WORLDCURATE_COMPILED=str(ahead)) == "11"
    assert {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*.nb?")} == before
    (package / "numbers.py").write_text("ADDED = 20\n")
    assert run(tmp_path, cache, WORLDCURATE_COMPILED=str(ahead)) == "21"
    assert {path.relative_to(ahead): path.read_bytes() for path in ahead.rglob("*.nb?")} == before


def test_a_moved_compiled_module_is_recompiled_and_followed_at_its_new_location(package, tmp_path):
    cache = tmp_path / "cache"
    assert run(tmp_path, cache) == "11"
    deep = package / "deep" / "deeper"
    deep.mkdir(parents=True)
    (package / "deep" / "__init__.py").write_text("")
    (deep / "__init__.py").write_text("")
    (package / "helper.py").rename(deep / "helper.py")
    (package / "numbers.py").rename(deep / "numbers.py")
    moved = HELPER.replace("curation.numbers", "curation.deep.deeper.numbers")
    (deep / "helper.py").write_text(moved)
    script = SCRIPT.replace("from curation import helper", "from curation.deep.deeper import helper")
    (tmp_path / "script.py").write_text(script)
    assert run(tmp_path, cache) == "11"
    assert len(folders(cache)) == 2, "the same code at another location is other code"
    (deep / "numbers.py").write_text("ADDED = 20\n")
    assert run(tmp_path, cache) == "21"
    (deep / "helper.py").write_text(moved.replace("curation.deep.deeper.numbers", ".numbers"))
    assert run(tmp_path, cache) == "21"
    (deep / "numbers.py").write_text("ADDED = 30\n")
    assert run(tmp_path, cache) == "31", "relative imports are followed too"
    assert len(folders(cache)) == 5


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from curation.a import x\n", {"a"}),
        ("from curation import a\nfrom curation.sub.b import y\n", {"a", "sub", "sub.b"}),
        ("from curation import (\n    a,  # why\n    sub as c,\n)\n", {"a", "sub"}),
        ("from curation.sub import b\n", {"sub", "sub.b"}),
        ("def f():\n    from curation.a import x\n", {"a"}),
        ("import curation.sub.b\n", {"sub", "sub.b"}),
        ("import numpy, curation.a as z\n", {"a"}),
        ("from curation import (\n    a,  # why (not)\n    sub,\n)\n", {"a", "sub"}),
        ('"""Text.\n\nimport what it needs\n"""\nfrom curation import a\n', {"a"}),
        ("from . import a\n", {"a"}),
        ("from .sub.b import y\n", {"sub", "sub.b"}),
        ("from curation import \\\n    a\n", {"a"}),
        ("import numpy\nfrom metadata.a import x\n", set()),
    ],
)
def test_imports_are_followed_however_they_are_written(text, names):
    root = f"from curation.jit.compiler import jit_inline\n{text}"
    sources = {"curation.root": root, "curation.a": "1", "curation.sub": "", "curation.sub.b": "2"}
    digest = compiler.digest_of(sources, "curation.jit.compiler")
    for name in ("a", "sub", "sub.b"):
        changed = {**sources, f"curation.{name}": "from curation.far import x"}
        assert (compiler.digest_of(changed, "curation.jit.compiler") != digest) == (name in names)
        far = compiler.digest_of({**changed, "curation.far": "3"}, "curation.jit.compiler")
        followed = far != compiler.digest_of(changed, "curation.jit.compiler")
        assert followed == (name in names), "imports of imported modules are followed"


def test_every_import_of_the_package_is_seen():
    for name, text in compiler.package_sources("curation").items():
        parsed = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert sorted(map(ast.unparse, compiler._imports(text))) == sorted(map(ast.unparse, parsed)), name


def test_every_module_of_the_package_that_compiles_is_in_the_digest():
    sources = compiler.package_sources("curation")
    digest = compiler.digest_of(sources)
    for name in (
        "curation.matching.trie_search",
        "curation.lid.fasttext_features",
        "curation.matching.char_classes",
        "curation",
    ):
        assert compiler.digest_of({**sources, name: sources[name] + "\n"}) != digest, name
    for name in ("curation.images.fetch", "curation.report.night_page"):
        assert compiler.digest_of({**sources, name: sources[name] + "\n"}) == digest, name


def test_folders_unused_for_a_month_are_removed_unless_a_process_holds_them(tmp_path):
    old, new, held, foreign = (tmp_path / name for name in ("0" * 16, "1" * 16, "2" * 16, "not-ours"))
    unfinished = tmp_path / f"{'3' * 16}.a_c1e2f3"
    for folder in (old, new, held, foreign, unfinished):
        (folder / "code").mkdir(parents=True)
        if folder != new:
            os.utime(folder, (0, 0))
    lock = compiler._lock(held, fcntl.LOCK_SH)
    compiler.prune(tmp_path)
    assert folders(tmp_path) == {new, held, foreign}
    os.close(lock)
    compiler.prune(tmp_path)
    assert folders(tmp_path) == {new, foreign}


def test_everything_the_jobs_use_is_precompiled(tmp_path):
    precompile()
    ours = compiler.code_folder()
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "WORLDCURATE_COMPILED": str(ours.parent)}
    done = subprocess.run(
        [sys.executable, "-c", USE], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    hits, misses = json.loads(done.stdout)
    assert hits
    assert not misses
    assert folders(tmp_path) == {tmp_path / ours.name}


def test_a_cache_that_is_not_writable_is_not_required(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    script = "from curation.matching.matcher import Matcher; print(Matcher.build.__name__)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "build\n"
